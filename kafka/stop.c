/*
 * stop.c
 *	  When the program is asked to end.
 *
 * NOTES
 *	  The signal handler writes into a pipe, which all waits of the program include.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stop.h"

/* How long a batch may still take when the program is asked to end. */
#define PATIENCE_MS 10000

static volatile sig_atomic_t requested;
static int wake_pipe[2] = {-1, -1};

static void
on_signal(int signal_number)
{
	if (requested)
		_exit(128 + signal_number);
	requested = 1;
	/* A full pipe wakes as well. */
	(void) !write(wake_pipe[1], "", 1);
}

void
stop_install(void)
{
	struct sigaction action;

	if (pipe(wake_pipe) != 0 || fcntl(wake_pipe[1], F_SETFL, O_NONBLOCK) != 0)
		abort();
	memset(&action, 0, sizeof(action));
	action.sa_handler = on_signal;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool
stop_requested(void)
{
	return requested;
}

int64_t
stop_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool
stop_is_overdue(void)
{
	static int64_t noticed;

	if (!requested)
		return false;
	if (noticed == 0)
		noticed = stop_clock();
	return stop_clock() - noticed > PATIENCE_MS;
}

void
stop_wait(int fd, int milliseconds)
{
	/* Once the program is to end, the pipe stays readable and is no reason to wake any more. */
	struct pollfd fds[2] = {{fd, POLLIN, 0}, {requested ? -1 : wake_pipe[0], POLLIN, 0}};

	poll(fds, 2, milliseconds);
}
