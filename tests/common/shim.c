/* A machine that misbehaves, for one program: LD_PRELOAD of this library.
 *
 * SHIM_DIR     a folder. What is written below it, and what is made, renamed and removed there, is told:
 * SHIM_LOG     a file of records (struct record and its bytes), in the order in which it was done. One operation at a time, so
 *              that the order is that of the disk, also among several processes.
 * SHIM_SWITCH  a folder of switches: `readonly` (writes below SHIM_DIR fail with EROFS), `no-threads` (none can be made),
 *              `clock` (holds the seconds that the wall clock is ahead of the real one).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct record {
	uint64_t kind, inode, at, length;
};

static char dir[PATH_MAX], switches[PATH_MAX];
static size_t dir_length;
static int log_fd = -1;
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void)
{
	const char *d = getenv("SHIM_DIR"), *l = getenv("SHIM_LOG"), *s = getenv("SHIM_SWITCH");
	if (d) {
		snprintf(dir, sizeof dir, "%s/", d);
		dir_length = strlen(dir);
	}
	if (s)
		snprintf(switches, sizeof switches, "%s", s);
	if (d && l) {
		int fd = syscall(SYS_openat, AT_FDCWD, l, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 700);
		syscall(SYS_close, fd);
	}
}

static int is_on(const char *name)
{
	char path[PATH_MAX + 32];
	if (!switches[0])
		return 0;
	snprintf(path, sizeof path, "%s/%s", switches, name);
	return syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
}

static int ends(const char *path, const char *end)
{
	size_t p = strlen(path), e = strlen(end);
	return p >= e && strcmp(path + p - e, end) == 0;
}

/* Below the folder, but not what holds no data: sockets, locks, the index of a write-ahead log, kept-back space. */
static int is_ours(const char *path)
{
	return dir_length && strncmp(path, dir, dir_length) == 0 && strncmp(path + dir_length, "run", 3) != 0;
}

static int is_told(const char *path)
{
	return log_fd >= 0 && is_ours(path) && !ends(path, "-shm") && !ends(path, ".lock") && !ends(path, "/reserve");
}

static void absolute(int at, const char *path, char *out)
{
	char link[64], folder[PATH_MAX];
	ssize_t n;
	if (path[0] == '/' || at == AT_FDCWD) {
		snprintf(out, PATH_MAX, "%s", path);
		return;
	}
	snprintf(link, sizeof link, "/proc/self/fd/%d", at);
	n = readlink(link, folder, sizeof folder - 1);
	folder[n < 0 ? 0 : n] = 0;
	if (snprintf(out, PATH_MAX, "%s/%s", folder, path) >= PATH_MAX)
		abort();
}

static void path_of(int fd, char *out)
{
	absolute(fd, ".", out);
	out[strlen(out) - 2] = 0;
	if (ends(out, " (deleted)"))
		out[strlen(out) - 10] = 0;
}

static uint64_t inode_of(int fd, int *is_folder)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		abort();
	if (is_folder)
		*is_folder = S_ISDIR(st.st_mode);
	return st.st_ino;
}

static void hold(void)
{
	pthread_mutex_lock(&one);
	while (flock(log_fd, LOCK_EX) != 0)
		if (errno != EINTR)
			abort();
}

static void let_go(void)
{
	int kept = errno;
	flock(log_fd, LOCK_UN);
	pthread_mutex_unlock(&one);
	errno = kept;
}

static void tell(char kind, uint64_t inode, uint64_t at, const void *bytes, uint64_t length)
{
	struct record head = { kind, inode, at, length };
	struct iovec parts[2] = { { &head, sizeof head }, { (void *)bytes, length } };
	if (syscall(SYS_writev, log_fd, parts, 2) != (long)(sizeof head + length))
		abort();
}

static void tell_path(char kind, uint64_t inode, const char *path)
{
	tell(kind, inode, 0, path, strlen(path));
}

static void tell_paths(char kind, const char *from, const char *to)
{
	char both[2 * PATH_MAX];
	int n = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
	tell(kind, 0, 0, both, n);
}

#define REFUSE_IF_READONLY(path)                \
	if (is_ours(path) && is_on("readonly")) { \
		errno = EROFS;                  \
		return -1;                      \
	}

static int open_at(int at, const char *given, int flags, mode_t mode)
{
	char path[PATH_MAX];
	int fd, existed;
	if ((flags & (O_CREAT | O_TRUNC | O_ACCMODE)) == 0)
		return syscall(SYS_openat, at, given, flags, mode);
	absolute(at, given, path);
	REFUSE_IF_READONLY(path)
	if (!is_told(path))
		return syscall(SYS_openat, at, given, flags, mode);
	hold();
	existed = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
	fd = syscall(SYS_openat, at, given, flags, mode);
	if (fd >= 0 && !existed)
		tell_path('C', inode_of(fd, NULL), path);
	else if (fd >= 0 && (flags & O_TRUNC))
		tell('T', inode_of(fd, NULL), 0, "", 0);
	let_go();
	return fd;
}

#define OPEN_MODE(flags)                                           \
	mode_t mode = 0;                                           \
	if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
		va_list more;                                      \
		va_start(more, flags);                             \
		mode = va_arg(more, int);                          \
		va_end(more);                                      \
	}

int open(const char *path, int flags, ...)
{
	OPEN_MODE(flags)
	return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	OPEN_MODE(flags)
	return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
	OPEN_MODE(flags)
	return open_at(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...)
{
	OPEN_MODE(flags)
	return open_at(at, path, flags, mode);
}

/* at < 0: where the file's position is. */
static ssize_t write_at(int fd, const void *bytes, size_t length, off_t at)
{
	char path[PATH_MAX];
	ssize_t n;
	int told;
	path_of(fd, path);
	REFUSE_IF_READONLY(path)
	told = is_told(path);
	if (told)
		hold();
	n = at < 0 ? syscall(SYS_write, fd, bytes, length) : syscall(SYS_pwrite64, fd, bytes, length, at);
	if (told) {
		if (n > 0)
			tell('W', inode_of(fd, NULL), at < 0 ? lseek(fd, 0, SEEK_CUR) - n : at, bytes, n);
		let_go();
	}
	return n;
}

ssize_t write(int fd, const void *bytes, size_t length) { return write_at(fd, bytes, length, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return write_at(fd, bytes, length, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { return write_at(fd, bytes, length, at); }

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	char path[PATH_MAX];
	path_of(fd, path);
	if (count > 0 && is_ours(path))
		return write_at(fd, parts[0].iov_base, parts[0].iov_len, -1); /* a part of it is allowed */
	return syscall(SYS_writev, fd, parts, count);
}

/* Callers fall back to reading and writing. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags)
{
	errno = ENOSYS;
	return -1;
}

ssize_t sendfile64(int out, int in, off64_t *at, size_t length)
{
	errno = ENOSYS;
	return -1;
}

static int truncate_to(int fd, off_t length)
{
	char path[PATH_MAX];
	int done;
	path_of(fd, path);
	REFUSE_IF_READONLY(path)
	if (!is_told(path))
		return syscall(SYS_ftruncate, fd, length);
	hold();
	done = syscall(SYS_ftruncate, fd, length);
	if (done == 0)
		tell('T', inode_of(fd, NULL), length, "", 0);
	let_go();
	return done;
}

int ftruncate(int fd, off_t length) { return truncate_to(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_to(fd, length); }

static int sync_of(int fd, long call)
{
	char path[PATH_MAX];
	int done, is_folder;
	uint64_t inode;
	path_of(fd, path);
	strcat(path, "/"); /* the folder itself, too */
	REFUSE_IF_READONLY(path)
	if (!is_told(path))
		return syscall(call, fd);
	path[strlen(path) - 1] = 0;
	hold();
	inode = inode_of(fd, &is_folder);
	done = syscall(call, fd);
	if (done == 0 && is_folder)
		tell_path('D', inode, path);
	else if (done == 0)
		tell('S', inode, 0, "", 0);
	let_go();
	return done;
}

int fsync(int fd) { return sync_of(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_of(fd, SYS_fdatasync); }

int renameat(int from_at, const char *given, int to_at, const char *given_to)
{
	char from[PATH_MAX], to[PATH_MAX];
	int done;
	absolute(from_at, given, from);
	absolute(to_at, given_to, to);
	REFUSE_IF_READONLY(from)
	if (!is_told(from))
		return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
	hold();
	done = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
	if (done == 0)
		tell_paths('R', from, to);
	let_go();
	return done;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int linkat(int from_at, const char *given, int to_at, const char *given_to, int flags)
{
	char from[PATH_MAX], to[PATH_MAX];
	int done;
	absolute(from_at, given, from);
	absolute(to_at, given_to, to);
	REFUSE_IF_READONLY(to)
	if (!is_told(to))
		return syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, flags);
	hold();
	done = syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, flags);
	if (done == 0)
		tell_paths('L', from, to);
	let_go();
	return done;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

static int remove_at(int at, const char *given, int flags)
{
	char path[PATH_MAX];
	int done;
	absolute(at, given, path);
	REFUSE_IF_READONLY(path)
	if (!is_told(path))
		return syscall(SYS_unlinkat, at, given, flags);
	hold();
	done = syscall(SYS_unlinkat, at, given, flags);
	if (done == 0)
		tell_path('U', 0, path);
	let_go();
	return done;
}

int unlinkat(int at, const char *path, int flags) { return remove_at(at, path, flags); }
int unlink(const char *path) { return remove_at(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return remove_at(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdir(const char *path, mode_t mode)
{
	int done;
	REFUSE_IF_READONLY(path)
	if (!is_told(path))
		return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
	hold();
	done = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
	if (done == 0)
		tell_path('M', 0, path);
	let_go();
	return done;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *of)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	if (!real)
		real = dlsym(RTLD_NEXT, "pthread_create");
	return is_on("no-threads") ? EAGAIN : real(thread, attributes, run, of);
}

/* Seconds that the clock is ahead. */
static long ahead(void)
{
	char path[PATH_MAX + 32], text[32];
	long fd, n;
	if (!switches[0])
		return 0;
	snprintf(path, sizeof path, "%s/clock", switches);
	fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = syscall(SYS_read, fd, text, sizeof text - 1);
	syscall(SYS_close, fd);
	text[n > 0 ? n : 0] = 0;
	return atol(text);
}

int clock_gettime(clockid_t which, struct timespec *out)
{
	int kept = errno, done = syscall(SYS_clock_gettime, which, out);
	if (done == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
		out->tv_sec += ahead();
		errno = kept;
	}
	return done;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	out->tv_sec = now.tv_sec;
	out->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
