/*
 * syscall_shim.c
 *	  Preloaded into a server (LD_PRELOAD): makes its disk slow, or full, and counts
 *	  what it flushes and sends.
 *
 *		SHIM_SYNC_DELAY_US		each fsync and fdatasync takes so much longer
 *		SHIM_COUNTS				file in the data directory with two counters of
 *								64 bits: fdatasync calls (flushes of the write-ahead
 *								log), and send calls (messages to clients and to
 *								other servers)
 *
 *		SHIM_FULL				file; while it is there, with a part of a path in it,
 *								no file whose path has that part can be made longer
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
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
static ssize_t (*real_write)(int fd, const void *buf, size_t n);
static ssize_t (*real_pwrite)(int fd, const void *buf, size_t n, off_t offset);
static ssize_t (*real_pwritev)(int fd, const struct iovec *iov, int count, off_t offset);
static int (*real_fallocate)(int fd, off_t offset, off_t n);
static bool in_server;
static long delay_us;
static const char *counts_file;
static const char *full_file;
static Counts *counts;

__attribute__((constructor)) static void
load(void)
{
	const char *delay = getenv("SHIM_SYNC_DELAY_US");
	const char *file = getenv("SHIM_COUNTS");
	const char *full = getenv("SHIM_FULL");

	*(void **) &real_fsync = dlsym(RTLD_NEXT, "fsync");
	*(void **) &real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	*(void **) &real_send = dlsym(RTLD_NEXT, "send");
	*(void **) &real_write = dlsym(RTLD_NEXT, "write");
	*(void **) &real_pwrite = dlsym(RTLD_NEXT, "pwrite");
	*(void **) &real_pwritev = dlsym(RTLD_NEXT, "pwritev");
	*(void **) &real_fallocate = dlsym(RTLD_NEXT, "posix_fallocate");

	/* Now, and copied: later the server overwrites its arguments and environment. */
	in_server = strcmp(program_invocation_short_name, "postgres") == 0;
	delay_us = delay && in_server ? atol(delay) : 0;
	counts_file = file ? strdup(file) : NULL;
	full_file = full && in_server ? strdup(full) : NULL;
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

/* ---------------------------------------------------------------- a full disk */

/* Whether the file cannot be made as long; leaves errno alone if it can. */
static bool
is_full(int fd, off_t end)
{
	int saved_errno = errno;
	char link[64];
	char part[256];
	char path[4096];
	ssize_t length;
	struct stat st;
	FILE *f = full_file ? fopen(full_file, "r") : NULL;
	bool full = false;

	if (f && fgets(part, sizeof(part), f))
	{
		part[strcspn(part, "\n")] = '\0';
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		length = readlink(link, path, sizeof(path) - 1);
		path[length > 0 ? length : 0] = '\0';
		full = part[0] != '\0' && strstr(path, part) && fstat(fd, &st) == 0 && end > st.st_size;
	}
	if (f)
		fclose(f);
	errno = full ? ENOSPC : saved_errno;
	return full;
}

ssize_t
write(int fd, const void *buf, size_t n)
{
	off_t offset = full_file ? lseek(fd, 0, SEEK_CUR) : -1;

	return offset >= 0 && is_full(fd, offset + n) ? -1 : real_write(fd, buf, n);
}

ssize_t
pwrite(int fd, const void *buf, size_t n, off_t offset)
{
	return is_full(fd, offset + n) ? -1 : real_pwrite(fd, buf, n, offset);
}

ssize_t
pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	off_t n = 0;

	for (int i = 0; i < count; i++)
		n += iov[i].iov_len;
	return is_full(fd, offset + n) ? -1 : real_pwritev(fd, iov, count, offset);
}

/* Says what is wrong by its result, not by errno. */
int
posix_fallocate(int fd, off_t offset, off_t n)
{
	return is_full(fd, offset + n) ? ENOSPC : real_fallocate(fd, offset, n);
}

/* On 64 bits these are other names of the same. */
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
int posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));
