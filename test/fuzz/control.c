/*
 * control: hostile lines on the control socket of a mount: what is asked,
 * with what arguments, by its owner or by another user (the first byte odd).
 *
 * Whatever was asked is answered by one line of JSON that says whether it went
 * well, after lines of progress and items.  So that a request does the same
 * whatever came before, the mount is made anew after some that changed it.
 */
#include <sys/socket.h>
#include <sys/syscall.h>

#include <jansson.h>

#include "fuzz.h"
#include "host.h"

#include "fs/control_impl.h"

int	LLVMFuzzerInitialize(int *argc, char ***argv);

enum { AGAIN = 256, ROOM = 4 << 20 };

static unsigned asked;

static void
up(void)
{
	const struct op tag = { .kind = OP_TAG, .name = "k", .value = "v",
	    .nvalue = 1, .ctime = 1000 };
	struct op op;
	uint64_t dir;

	host_up();
	dir = host_make(META_ROOT, "d", NULL, 0);
	(void)host_make(META_ROOT, "a", "bytes", 5);
	(void)host_make(dir, "b\xff", "more bytes", 10);
	op = tag;
	op.ino = dir;
	host_journal(&op, NULL, 0);
	op = (struct op){ .kind = OP_SETATTR, .ino = META_ROOT,
	    .mask = ATTR_MODE, .mode = 0711, .ctime = 1000 };
	host_journal(&op, NULL, 0);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	up();
	atexit(host_down);
	return 0;
}

/* Two ends, that this thread made as who asks. */
static void
pair(bool other, int fd[2])
{
	int room = ROOM;

	if (other)
		(void)syscall(SYS_setresuid, -1, 65534, -1);
	HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
	if (other)
		(void)syscall(SYS_setresuid, -1, 0, -1);
	for (int i = 0; i < 2; i++)
		(void)setsockopt(fd[i], SOL_SOCKET, SO_SNDBUFFORCE, &room,
		    sizeof room);
}

/* The last line of what came says ok, and nothing else does. */
static void
answered(int fd)
{
	static char text[ROOM];
	size_t n = 0;
	ssize_t got;
	char *line, *next = text;
	json_t *o, *ok = NULL;

	while (n < sizeof text - 1 &&
	    (got = recv(fd, text + n, sizeof text - 1 - n, 0)) > 0)
		n += (size_t)got;
	HOLDS(n > 0 && text[n - 1] == '\n');
	text[n - 1] = '\0';
	while ((line = strsep(&next, "\n")) != NULL) {
		HOLDS(ok == NULL);
		o = json_loads(line, 0, NULL);
		HOLDS(json_is_object(o));
		ok = json_object_get(o, "ok");
		HOLDS(ok == NULL || json_is_true(ok) || (json_is_string(
		    json_object_get(o, "error")) && json_integer_value(
		    json_object_get(o, "errno")) > 0));
		json_decref(o);
	}
	HOLDS(ok != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	int fd[2];

	if (n < 2 || n > 64 * 1024)
		return 0;
	if (++asked % AGAIN == 0) {
		host_down();
		up();
	}
	pair((p[0] & 1) != 0 && geteuid() == 0, fd);
	HOLDS(send(fd[0], p + 1, n - 1, MSG_NOSIGNAL) == (ssize_t)n - 1);
	HOLDS(send(fd[0], "\n", 1, MSG_NOSIGNAL) == 1);
	ctl_serve(host.f, fd[1]);
	close(fd[1]);
	answered(fd[0]);
	close(fd[0]);
	return 0;
}
