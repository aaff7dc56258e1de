/*
 * watch: see watch.h.
 *
 * A screen is made in memory and written at once, each line at its place, so
 * that nothing scrolls or flickers.  Signals set a flag; those that end us are
 * caught without SA_RESTART, so that they also end a wait for a daemon that
 * does not answer.  The others come only while we wait for the next look.
 */
#include "tools/watch.h"

#include <sys/ioctl.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "tools/client.h"
#include "tools/output.h"
#include "tools/screen.h"

static volatile sig_atomic_t end_signal, stop_signal;

struct watch {
	struct tool	*t;
	int64_t		 interval;	/* ns */
	bool		 terminal;
	bool		 raw;		/* saved is to be restored */
	struct termios	 saved;
	sigset_t	 waiting;	/* the mask while we wait */
	unsigned	 nth;		/* of several mounts */
	bool		 quit;
	int		 rc;		/* exit status so far */

	json_t		*before;	/* by mount, its status, with "at" */
};

/* --- signals and the terminal --- */

static void
on_signal(int sig)
{
	if (sig == SIGTSTP)
		stop_signal = sig;
	else if (sig != SIGWINCH)
		end_signal = sig;
}

static void
catch(struct watch *w)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction sa = { .sa_handler = on_signal };
	sigset_t held;
	size_t i;

	sigemptyset(&sa.sa_mask);
	for (i = 0; i < sizeof ends / sizeof ends[0]; i++)
		sigaction(ends[i], &sa, NULL);
	sigaction(SIGTSTP, &sa, NULL);
	sigaction(SIGWINCH, &sa, NULL);
	sigemptyset(&held);
	sigaddset(&held, SIGTSTP);
	sigaddset(&held, SIGWINCH);
	sigprocmask(SIG_BLOCK, &held, &w->waiting);
	sigdelset(&w->waiting, SIGTSTP);
	sigdelset(&w->waiting, SIGWINCH);
}

static void
put(const char *s)
{
	fputs(s, stdout);
	fflush(stdout);
}

/* Keys come one by one and unseen; the screen is another one. */
static void
enter(struct watch *w)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &w->saved) == 0) {
		raw = w->saved;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		w->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	}
	put("\033[?1049h\033[?25l");
}

static void
leave(struct watch *w)
{
	put("\033[?25h\033[?1049l");
	if (w->raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &w->saved);
	w->raw = false;
}

/* ^Z: the terminal is given back for as long as we stand still. */
static void
stand_still(struct watch *w)
{
	stop_signal = 0;
	leave(w);
	kill(getpid(), SIGSTOP);
	enter(w);
}

static void
measure(struct screen *s)
{
	struct winsize ws = { 0 };

	s->rows = 24;
	s->cols = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row > 0 &&
	    ws.ws_col > 0) {
		s->rows = ws.ws_row;
		s->cols = ws.ws_col;
	}
	if (s->rows > SCREEN_ROWS_MAX)
		s->rows = SCREEN_ROWS_MAX;
	if (s->cols > SCREEN_COLS_MAX)
		s->cols = SCREEN_COLS_MAX;
}

static void
draw(const struct screen *s)
{
	struct buf b = BUF_INIT;
	unsigned i;

	for (i = 0; i < s->n; i++)
		buf_printf(&b, "\033[%u;1H\033[2K%s", i + 1, s->lines[i]);
	if (s->n < s->rows)
		buf_printf(&b, "\033[%u;1H\033[J", s->n + 1);
	put(buf_cstr(&b));
	buf_done(&b);
}

/* --- one look --- */

/* The status of one mount; where no daemon gives it, what is known. */
static json_t *
ask(struct watch *w, const struct mount_ref *m)
{
	struct why why = { "" };
	json_t *o = NULL;
	int rc;

	rc = client_call(m, "status", NULL, NULL, &o, &why);
	w->rc = rc != 0 && m->mounted ? EXIT_FAILED : EXIT_DONE;
	if (o == NULL)
		o = json_pack("{s:s, s:s, s:s, s:s}", "name", m->name, "url",
		    m->url, "write_state", client_state(m, rc),
		    "why", why_text(&why, rc));
	return o;
}

static void
show(struct watch *w, const struct mount_ref *m, struct screen_head *h)
{
	const json_t *before = json_object_get(w->before, m->dir);
	struct screen s = { .n = 0 };
	int64_t at;
	json_t *o;
	unsigned i;

	o = ask(w, m);
	at = clock_mono();
	json_object_set_new(o, "at", json_integer(at));
	if (w->terminal)
		measure(&s);
	h->dir = m->dir;
	h->interval = w->interval;
	h->now = clock_real();
	h->keys = w->terminal ? "q: quit" : "";
	screen_fill(&s, h, o, before, at - get_int(before, "at"));
	if (w->terminal)
		draw(&s);
	for (i = 0; !w->terminal && i < s.n; i++)
		puts(s.lines[i]);
	screen_clear(&s);
	json_object_set_new(w->before, m->dir, o);
}

static void
show_none(struct watch *w, const char *text)
{
	struct screen s = { .n = 1 };

	if (!w->terminal) {
		puts(text);
		return;
	}
	measure(&s);
	s.lines[0] = strndup(text, s.cols);
	if (s.lines[0] != NULL)
		draw(&s);
	screen_clear(&s);
}

/* Looks once.  EXIT_DONE, or the status to leave with. */
static int
look(struct watch *w)
{
	const char *n = tool_opt(w->t, "namespace");
	const struct mount_ref *named = NULL;
	struct mount_list l = { NULL, 0 };
	struct screen_head h = { 0 };
	struct why why = { "" };
	unsigned i;
	int rc;

	rc = mounts_read(&l);
	if (rc == 0 && w->t->argc > 0)
		rc = mounts_of_path(&l, w->t->argv[0], &named, NULL, &why);
	else if (rc == 0 && n != NULL)
		rc = mounts_default(&l, n, &named, &why);
	h.of = named != NULL ? 1 : l.n;
	if (rc != 0) {
		w->rc = EXIT_FAILED;
		show_none(w, why_text(&why, rc));
	} else if (h.of == 0) {
		w->rc = EXIT_DONE;
		show_none(w, "no namespace is mounted here");
	}
	w->nth = h.of > 0 ? w->nth % h.of : 0;
	for (i = 0; rc == 0 && i < l.n; i++) {
		if (named != NULL ? named != &l.v[i] : w->terminal &&
		    i != w->nth)
			continue;
		h.nth = named != NULL ? 1 : i + 1;
		show(w, &l.v[i], &h);
	}
	mounts_done(&l);
	return rc;
}

/* --- the time between --- */

static void
read_keys(struct watch *w, bool *retagain)
{
	char keys[64];
	ssize_t n, i;

	n = read(STDIN_FILENO, keys, sizeof keys);
	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		w->raw = false;		/* nobody types any more */
	for (i = 0; i < n; i++) {
		if (keys[i] == 'q' || keys[i] == 'Q')
			w->quit = true;
		else if (keys[i] == 'n' || keys[i] == '\t')
			w->nth++;
		*retagain = true;
	}
}

/* Until the next look, which a key, a new size or ^Z brings forward. */
static void
wait_next(struct watch *w)
{
	int64_t until = clock_mono() + w->interval, left;
	struct pollfd in = { STDIN_FILENO, POLLIN, 0 };
	struct timespec ts;
	bool again = false;
	int n;

	while (!again && !w->quit && end_signal == 0) {
		left = until - clock_mono();
		if (left <= 0)
			return;
		ts.tv_sec = left / NSEC_PER_SEC;
		ts.tv_nsec = left % NSEC_PER_SEC;
		n = ppoll(&in, w->raw ? 1 : 0, &ts, &w->waiting);
		if (n < 0)		/* a signal */
			again = true;
		if (stop_signal != 0)
			stand_still(w);
		if (n > 0)
			read_keys(w, &again);
	}
}

int
status_watch(struct tool *t, int64_t interval, int (*once)(struct tool *t))
{
	struct watch w = { .t = t, .interval = interval,
	    .before = json_object(),
	    .terminal = !t->json && isatty(STDOUT_FILENO) };
	bool first = true;

	catch(&w);
	if (w.terminal)
		enter(&w);
	while (!w.quit && end_signal == 0) {
		if (!w.terminal && !first)
			putchar('\n');
		first = false;
		if (t->json)
			w.rc = once(t);
		else if (look(&w) != 0 && !w.terminal)
			w.quit = true;
		if (fflush(stdout) != 0 || ferror(stdout))
			w.quit = true;
		if (!w.quit && end_signal == 0)
			wait_next(&w);
	}
	if (w.terminal)
		leave(&w);
	json_decref(w.before);
	if (end_signal != 0) {
		signal(end_signal, SIG_DFL);
		raise(end_signal);
	}
	return w.rc;
}
