/* Mount options as fstab and mount(8) hand them on, and sizes and times. */
#include "fuzz.h"

#include "base/clock.h"
#include "fs/options.h"

#define HOLDS(x)	do { if (!(x)) abort(); } while (0)

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fs_options o;
	struct why why = { "" };
	char *text = malloc(n + 1);
	uint64_t size;
	int64_t time;

	if (text == NULL)
		abort();
	memcpy(text, p, n);
	text[n] = '\0';
	options_init(&o);
	if (options_parse(&o, text, &why) == 0) {
		HOLDS(o.lag >= 0 && o.poll > 0 && o.io_timeout > 0);
		HOLDS(o.lag <= 24 * 3600 * NSEC_PER_SEC);
		HOLDS(o.uid >= -1 && o.uid < UINT32_MAX);
		HOLDS(o.gid >= -1 && o.gid < UINT32_MAX);
		HOLDS(o.umask >= -1 && o.umask <= 0777);
		HOLDS(o.memory >= 64u << 20);
		HOLDS(o.cache == NULL || *o.cache == '/');
		HOLDS(o.state == NULL || *o.state == '/');
		HOLDS(o.log == NULL || *o.log == '/');
	} else
		HOLDS(why.text[0] != '\0');
	options_done(&o);
	if (parse_duration(text, &time) == 0)
		HOLDS(time >= 0);
	(void)parse_size(text, &size);
	free(text);
	return 0;
}
