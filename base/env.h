/*
 * env: the environment, less what is secret in it.
 *
 * Credentials come in by variables, which every process that we start would
 * inherit, and which /proc/PID/environ shows.  env_hide() takes them out, as
 * the first thing of a process and for good; env_get() still knows them.
 */
#ifndef BASE_ENV_H
#define BASE_ENV_H

/* Moves the secret variables (a list in env.c) out of the environment, and
 * wipes them where they were.  Before there are threads. */
void	env_hide(void);

/* The value of a variable, hidden or not; NULL where it is not set, or empty.
 * Borrowed; any thread. */
const char *env_get(const char *name);

#endif
