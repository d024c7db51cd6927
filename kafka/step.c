/*
 * step.c
 *	  Places where tests end or stop the program; nothing in a release build.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "step.h"

#ifdef BRAID_FAILPOINTS

void
step(const char *name)
{
	static int passed;
	const char *wanted = getenv("BRAID_KAFKA_STEP");
	size_t n = strlen(name);
	char *rest;

	if (!wanted || strncmp(wanted, name, n) != 0 || wanted[n] != ':')
		return;
	if (++passed != strtol(wanted + n + 1, &rest, 10))
		return;
	log_line(LOG_LEVEL_INFO, "at step \"%s\"", name);
	kill(getpid(), strcmp(rest, ":stop") == 0 ? SIGSTOP : SIGKILL);
}

#endif
