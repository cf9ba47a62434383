/* Faults at chosen system calls of the program that this library is preloaded into.
 *
 *     arm(BELOW, FAULT, NUMBER, LEAST, AT, LOG)
 *
 * From then on calls are counted that touch what lies below the directory BELOW, by path or by
 * descriptor, and do at least what LEAST says: 0 look, 1 change something, 2 need room, 3 move
 * bytes. At number AT (the first is 1) there is the FAULT, and its name and place go to the
 * descriptor LOG:
 *
 *     n  none: every call is only written down
 *     k  the program is killed before the call
 *     t  the program is killed after it, or when half of its bytes are moved
 *     s  half of its bytes are moved, which is no error
 *     o  it fails with the errno NUMBER, once
 *     l  it fails with that, and so does every one after it
 *
 * What the C library does within one call, and static programs, are not seen.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LOOK, CHANGE, GROW, MOVE };
enum { GO_ON, FAIL, HALF, LAST };

static const char *below;
static char fault;
static int number, least, said;
static long at;
static atomic_long count;

__attribute__((constructor)) static void alone(void)
{
    unsetenv("LD_PRELOAD"); /* programs that this one starts have no faults */
}

void arm(const char *directory, char kind, int error, int grade, long when, int log)
{
    below = strdup(directory);
    number = error, least = grade, at = when, said = log;
    count = 0;
    fault = kind;
}

/* Where a path leads, as far as the directory it begins at; the place of a descriptor if it is NULL. */
static void find(int directory, const char *path, char *found, size_t size)
{
    char link[64];
    long length = 0;
    if (!path || path[0] != '/') {
        if (directory == AT_FDCWD)
            strcpy(link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        length = syscall(SYS_readlinkat, AT_FDCWD, link, found, PATH_MAX);
        length = length < 0 ? 0 : length;
    }
    snprintf(found + length, size - length, "%s%s", length && path ? "/" : "", path ? path : "");
}

static _Noreturn void die(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* What is to be done about this call. */
static int met(const char *call, int grade, int directory, const char *path)
{
    char place[2 * PATH_MAX], line[3 * PATH_MAX];
    if (!fault || grade < least)
        return GO_ON;
    int error = errno;
    find(directory, path, place, sizeof place);
    errno = error;
    if (strncmp(place, below, strlen(below)))
        return GO_ON;
    long now = ++count;
    if (fault != 'n' && now != at && !(fault == 'l' && now > at))
        return GO_ON;
    int length = snprintf(line, sizeof line, "%s %s\n", call, place);
    if (fault == 'n' || now == at)
        syscall(SYS_write, said, line, length);
    errno = error;
    switch (fault) {
    case 'k':
        die();
    case 't':
        return LAST;
    case 's':
        return HALF;
    case 'o':
    case 'l':
        errno = number;
        return FAIL;
    }
    return GO_ON;
}

#define OTHER(type, failed, name, parameters, arguments, grade, directory, path) \
    type name parameters                                                         \
    {                                                                            \
        static type(*real) parameters;                                           \
        if (!real)                                                               \
            real = dlsym(RTLD_NEXT, #name);                                      \
        int todo = met(#name, grade, directory, path);                           \
        if (todo == FAIL)                                                        \
            return failed;                                                       \
        type result = real arguments;                                            \
        if (todo == LAST)                                                        \
            die();                                                               \
        return result;                                                           \
    }

#define CALL(name, parameters, arguments, grade, directory, path) \
    OTHER(int, -1, name, parameters, arguments, grade, directory, path)

#define MOVES(name, parameters, arguments, size, grade, descriptor)               \
    ssize_t name parameters                                                      \
    {                                                                            \
        static ssize_t(*real) parameters;                                        \
        if (!real)                                                               \
            real = dlsym(RTLD_NEXT, #name);                                      \
        /* One byte cannot be halved. */                                         \
        int enough = least < MOVE ? grade : size > 1 ? MOVE : LOOK;               \
        int todo = met(#name, enough, descriptor, NULL);                         \
        if (todo == FAIL)                                                        \
            return -1;                                                           \
        if (todo != GO_ON && size > 1)                                           \
            size /= 2;                                                           \
        ssize_t result = real arguments;                                         \
        if (todo == LAST)                                                        \
            die();                                                               \
        return result;                                                           \
    }

#define OPENS(name, parameters, arguments, directory)                          \
    int name parameters                                                          \
    {                                                                            \
        static int(*real)(int, const char *, int, ...);                          \
        va_list list;                                                            \
        va_start(list, flags);                                                   \
        int mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, int) : 0;       \
        va_end(list);                                                            \
        if (!real)                                                               \
            real = dlsym(RTLD_NEXT, "openat64");                                 \
        int grade = flags & O_CREAT ? GROW : flags & O_TRUNC ? CHANGE : LOOK;     \
        int todo = met(#name, grade, directory, path);                           \
        if (todo == FAIL)                                                        \
            return -1;                                                           \
        int result = real(directory, path, flags, mode);                         \
        if (todo == LAST)                                                        \
            die();                                                               \
        return result;                                                           \
    }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPENS(openat, (int directory, const char *path, int flags, ...), _, directory)
OPENS(openat64, (int directory, const char *path, int flags, ...), _, directory)
OTHER(DIR *, NULL, opendir, (const char *path), (path), LOOK, AT_FDCWD, path)

MOVES(read, (int fd, void *to, size_t size), (fd, to, size), size, LOOK, fd)
MOVES(pread, (int fd, void *to, size_t size, off_t from), (fd, to, size, from), size, LOOK, fd)
MOVES(pread64, (int fd, void *to, size_t size, off64_t from), (fd, to, size, from), size, LOOK, fd)
MOVES(write, (int fd, const void *of, size_t size), (fd, of, size), size, GROW, fd)
MOVES(pwrite, (int fd, const void *of, size_t size, off_t to), (fd, of, size, to), size, GROW, fd)
MOVES(pwrite64, (int fd, const void *of, size_t size, off64_t to), (fd, of, size, to), size, GROW,
      fd)
MOVES(sendfile64, (int fd, int in, off64_t *from, size_t size), (fd, in, from, size), size, GROW,
      fd)
MOVES(copy_file_range, (int in, off64_t *from, int fd, off64_t *to, size_t size, unsigned flags),
      (in, from, fd, to, size, flags), size, GROW, fd)

CALL(fsync, (int fd), (fd), GROW, fd, NULL)
CALL(fdatasync, (int fd), (fd), GROW, fd, NULL)
CALL(ftruncate, (int fd, off_t size), (fd, size), GROW, fd, NULL)
CALL(ftruncate64, (int fd, off64_t size), (fd, size), GROW, fd, NULL)
CALL(truncate64, (const char *path, off64_t size), (path, size), GROW, AT_FDCWD, path)
CALL(rename, (const char *from, const char *path), (from, path), GROW, AT_FDCWD, path)
CALL(renameat, (int in, const char *from, int fd, const char *path), (in, from, fd, path), GROW, fd,
     path)
CALL(link, (const char *from, const char *path), (from, path), GROW, AT_FDCWD, path)
CALL(linkat, (int in, const char *from, int fd, const char *path, int flags),
     (in, from, fd, path, flags), GROW, fd, path)
CALL(symlink, (const char *to, const char *path), (to, path), GROW, AT_FDCWD, path)
CALL(symlinkat, (const char *to, int fd, const char *path), (to, fd, path), GROW, fd, path)
CALL(mkdir, (const char *path, mode_t mode), (path, mode), GROW, AT_FDCWD, path)
CALL(mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode), GROW, fd, path)
CALL(unlink, (const char *path), (path), CHANGE, AT_FDCWD, path)
CALL(unlinkat, (int fd, const char *path, int flags), (fd, path, flags), CHANGE, fd, path)
CALL(rmdir, (const char *path), (path), CHANGE, AT_FDCWD, path)
CALL(chmod, (const char *path, mode_t mode), (path, mode), CHANGE, AT_FDCWD, path)
CALL(fchmod, (int fd, mode_t mode), (fd, mode), CHANGE, fd, NULL)
CALL(fchmodat, (int fd, const char *path, mode_t mode, int flags), (fd, path, mode, flags), CHANGE,
     fd, path)
CALL(futimens, (int fd, const struct timespec times[2]), (fd, times), CHANGE, fd, NULL)
CALL(utimensat, (int fd, const char *path, const struct timespec times[2], int flags),
     (fd, path, times, flags), CHANGE, fd, path)

CALL(stat64, (const char *path, struct stat64 *to), (path, to), LOOK, AT_FDCWD, path)
CALL(lstat64, (const char *path, struct stat64 *to), (path, to), LOOK, AT_FDCWD, path)
CALL(fstat64, (int fd, struct stat64 *to), (fd, to), LOOK, fd, NULL)
CALL(fstatat64, (int fd, const char *path, struct stat64 *to, int flags), (fd, path, to, flags),
     LOOK, fd, path)
OTHER(ssize_t, -1, readlink, (const char *path, char *to, size_t size), (path, to, size), LOOK,
      AT_FDCWD, path)
OTHER(ssize_t, -1, readlinkat, (int fd, const char *path, char *to, size_t size),
      (fd, path, to, size), LOOK, fd, path)
