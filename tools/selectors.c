/*
 * selectors: the SELECTORs of a command line (DESIGN.md section 3), turned
 * from paths of this host into paths of the namespace.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/client.h"

/* A filter, not a path: tag:k=v, store:NAME, name:GLOB, size>1G, mtime<7d. */
static bool
is_filter(const char *s)
{
	static const char *const words[] = { "tag:", "store:", "name:", NULL };
	unsigned i;

	for (i = 0; words[i] != NULL; i++)
		if (strncmp(s, words[i], strlen(words[i])) == 0)
			return true;
	if (strncmp(s, "size", 4) == 0)
		return s[4] != '\0' && strchr("<>=", s[4]) != NULL;
	if (strncmp(s, "mtime", 5) == 0)
		return s[5] != '\0' && strchr("<>=", s[5]) != NULL;
	return false;
}

/* WORD:REST that is neither: a filter misspelt, unless there is such a file. */
static bool
is_misspelt(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz");

	return n > 0 && s[n] == ':' && s[n + 1] != '/' &&
	    access(s, F_OK) != 0;
}

struct sel {
	struct tool			*t;
	const struct mount_list		*l;
	const struct mount_ref		*m;
	json_t				*texts;
	struct why			 why;
};

static int
one_path(struct sel *s, const char *path, char **ret)
{
	const struct mount_ref *m = NULL;
	int rc;

	rc = mounts_of_path(s->l, path, &m, ret, &s->why);
	if (rc != 0)
		return rc;
	if (s->m != NULL && s->m != m) {
		free(*ret);
		return why_set(&s->why, -EINVAL, "%s is in another namespace "
		    "than what stands before it", path);
	}
	s->m = m;
	return 0;
}

static int
one_selector(struct sel *s, const char *text)
{
	char *path = NULL;
	int rc = 0;

	if (is_misspelt(text) && !is_filter(text))
		return why_set(&s->why, -EINVAL, "'%s' is no filter: tag:, "
		    "size, mtime, store: and name: are; a path of that name "
		    "is written ./%s", text, text);
	if (!is_filter(text)) {
		rc = one_path(s, text, &path);
		if (rc != 0)
			return rc;
		text = path;
	}
	rc = args_append(s->texts, text, &s->why);
	free(path);
	return rc;
}

/* One selector a line; `-` is standard input. */
static int
from_file(struct sel *s, const char *file)
{
	char *line = NULL;
	size_t cap = 0;
	int rc = 0;
	FILE *f;

	f = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
	if (f == NULL)
		return why_set(&s->why, -errno, "%s: %s", file,
		    strerror(errno));
	while (rc == 0 && getline(&line, &cap, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (*line != '\0')
			rc = one_selector(s, line);
	}
	free(line);
	if (f != stdin)
		fclose(f);
	return rc;
}

int
selectors_args(struct tool *t, const struct mount_list *l, json_t *args,
    const struct mount_ref **ret)
{
	struct sel s = { .t = t, .l = l, .texts = json_array() };
	const char *file = tool_opt(t, "from"), *in = tool_opt(t, "in");
	char *path = NULL;
	int i, rc = 0;

	for (i = 0; rc == 0 && i < t->argc; i++)
		rc = one_selector(&s, t->argv[i]);
	if (rc == 0 && file != NULL)
		rc = from_file(&s, file);
	if (rc == 0 && in != NULL)
		rc = one_path(&s, in, &path);
	if (rc == 0 && s.m == NULL)
		rc = mounts_default(l, tool_opt(t, "namespace"), &s.m, &s.why);
	if (rc == 0 && path != NULL)
		rc = args_text(args, "in", path, &s.why);
	if (rc == 0 && tool_opt(t, "and") != NULL)
		rc = json_object_set_new(args, "and", json_true());
	if (rc == 0)
		rc = json_object_set(args, "selectors", s.texts);
	free(path);
	json_decref(s.texts);
	if (rc != 0)
		return tool_failed(rc == -1 ? -ENOMEM : rc, &s.why);
	*ret = s.m;
	return EXIT_DONE;
}
