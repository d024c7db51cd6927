/*
 * syscall_shim.c
 *	  Preloaded into a server (LD_PRELOAD): makes its disk slow, and counts what
 *	  it flushes and sends.
 *
 *		SHIM_SYNC_DELAY_US		each fsync and fdatasync takes so much longer
 *		SHIM_COUNTS				file in the data directory with two counters of
 *								64 bits: fdatasync calls (flushes of the write-ahead
 *								log), and send calls (messages to clients and to
 *								other servers)
 *
 * A process maps the file when it first counts: the server's processes are by
 * then in the data directory.  Nothing is counted in other programs, which
 * inherit the environment as well.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct Counts
{
	_Atomic unsigned long flushes;
	_Atomic unsigned long messages;
} Counts;

static int (*real_fsync)(int fd);
static int (*real_fdatasync)(int fd);
static ssize_t (*real_send)(int fd, const void *buf, size_t n, int flags);
static bool in_server;
static long delay_us;
static const char *counts_file;
static Counts *counts;

__attribute__((constructor)) static void
load(void)
{
	const char *delay = getenv("SHIM_SYNC_DELAY_US");
	const char *file = getenv("SHIM_COUNTS");

	*(void **) &real_fsync = dlsym(RTLD_NEXT, "fsync");
	*(void **) &real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	*(void **) &real_send = dlsym(RTLD_NEXT, "send");

	/* Now, and copied: later the server overwrites its arguments and environment. */
	in_server = strcmp(program_invocation_short_name, "postgres") == 0;
	delay_us = delay && in_server ? atol(delay) : 0;
	counts_file = file ? strdup(file) : NULL;
}

/* NULL if nothing is to be counted; leaves errno alone. */
static Counts *
get_counts(void)
{
	int saved_errno = errno;
	int fd;

	if (counts || !in_server || !counts_file)
		return counts;
	fd = open(counts_file, O_RDWR | O_CREAT, 0600);
	if (fd >= 0)
	{
		void *map = MAP_FAILED;

		if (ftruncate(fd, sizeof(Counts)) == 0)
			map = mmap(NULL, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		counts = map == MAP_FAILED ? NULL : map;
		close(fd);
	}
	errno = saved_errno;
	return counts;
}

/* A signal does not make it shorter. */
static void
wait_for_disk(void)
{
	struct timespec left = {delay_us / 1000000, delay_us % 1000000 * 1000};

	while (delay_us > 0 && nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

int
fsync(int fd)
{
	wait_for_disk();
	return real_fsync(fd);
}

int
fdatasync(int fd)
{
	Counts *c = get_counts();

	if (c)
		c->flushes++;
	wait_for_disk();
	return real_fdatasync(fd);
}

ssize_t
send(int fd, const void *buf, size_t n, int flags)
{
	Counts *c = get_counts();

	if (c)
		c->messages++;
	return real_send(fd, buf, n, flags);
}
