/* import_name: names for components that cannot be names (import.h). */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "meta/import.h"

#define MARK		"~gns-"
#define HASH_DIGITS	32
#define START_MAX	200

static void
name_long(const char *raw, size_t n, bool beside, char *ret)
{
	uint8_t sum[SHA256_LEN];
	char hex[SHA256_HEX];
	size_t cut = n < START_MAX ? n : START_MAX;

	sha256(raw, n, sum);
	hex_encode(sum, SHA256_LEN, hex);
	/* not within a character of UTF-8, where it is that */
	for (int i = 0; i < 3 && cut < n && cut > 0 &&
	    ((unsigned char)raw[cut] & 0xc0) == 0x80; i++)
		cut--;
	snprintf(ret, META_NAME_MAX + 1, MARK "%s-%.*s-%.*s",
	    beside ? "longfile" : "long", HASH_DIGITS, hex, (int)cut, raw);
}

bool
import_name(const char *raw, size_t n, bool beside, char *ret)
{
	const char *mark = beside ? MARK "file-" : "";

	if (beside)
		;
	else if (n == 0)
		mark = MARK "empty";
	else if (n == 1 && raw[0] == '.') {
		mark = MARK "dot";
		n = 0;
	} else if (n == 2 && memcmp(raw, "..", 2) == 0) {
		mark = MARK "dotdot";
		n = 0;
	} else if (n >= strlen(MARK) && memcmp(raw, MARK, strlen(MARK)) == 0)
		mark = MARK "raw-";
	if (strlen(mark) + n > META_NAME_MAX) {
		name_long(raw, n, beside, ret);
		return true;
	}
	memcpy(ret, mark, strlen(mark));
	memcpy(ret + strlen(mark), raw, n);
	ret[strlen(mark) + n] = '\0';
	return *mark != '\0';
}
