/* SPDX-License-Identifier: MIT */
/* Laid over a program, this makes the files that MEDIA_FAULTS names bad media. Each fault is PATH=FAULT, and
 * they are separated by ':'. The faults:
 * - no-direct: opens nothing with O_DIRECT
 * - refuse-direct: takes O_DIRECT, and then cannot read with it
 * - bad@OFFSET+SIZE: those bytes cannot be read until they are written
 * - dead: nothing can be read
 * - hang@OTHER: fsync() does not return as long as the file OTHER is there
 * - hang-read@OTHER, hang-close@OTHER: the same of pread() and close(); a byte is added to OTHER when one
 * begins to wait
 *
 * Files are known by device and inode, at each call, for they may not be there yet. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 1 << 16 };

static _Atomic bool mended[BLOCKS]; /* of the one file that has bad bytes */

static bool is_file(int fd, const char *path)
{
    struct stat have, want;

    return fstat(fd, &have) == 0 && stat(path, &want) == 0 &&
           (S_ISBLK(have.st_mode) ? have.st_rdev == want.st_rdev
                                  : have.st_dev == want.st_dev && have.st_ino == want.st_ino);
}

/* The file's fault that begins with `name`: what follows it, or NULL. */
static const char *find_fault(int fd, const char *name, char *room, size_t size)
{
    const char *faults = getenv("MEDIA_FAULTS");
    char *rest = room, *fault;

    if (!faults)
        return NULL;
    snprintf(room, size, "%s", faults);
    while ((fault = strsep(&rest, ":"))) {
        char *equals = strrchr(fault, '=');
        *equals = 0;
        if (strncmp(equals + 1, name, strlen(name)) == 0 && is_file(fd, fault))
            return equals + 1 + strlen(name);
    }
    return NULL;
}

static bool is_direct(int fd)
{
    return syscall(SYS_fcntl, fd, F_GETFL) & O_DIRECT;
}

static void hang(int fd, const char *fault)
{
    char room[4096];
    const char *other = find_fault(fd, fault, room, sizeof(room));
    int told = other ? open(other, O_WRONLY | O_APPEND) : -1;

    if (told < 0)
        return;
    syscall(SYS_write, told, "", 1);
    syscall(SYS_close, told);
    while (access(other, F_OK) == 0)
        usleep(10000);
}

int close(int fd)
{
    hang(fd, "hang-close@");
    return (int)syscall(SYS_close, fd);
}

static ssize_t fault_pread(int fd, void *data, size_t size, off_t offset)
{
    char room[4096];
    int saved_errno = errno;

    hang(fd, "hang-read@");
    if ((is_direct(fd) && find_fault(fd, "refuse-direct", room, sizeof(room)))) {
        errno = EINVAL;
        return -1;
    }
    if (find_fault(fd, "dead", room, sizeof(room))) {
        errno = EIO;
        return -1;
    }
    const char *bad = find_fault(fd, "bad@", room, sizeof(room));
    if (bad) {
        long long from = strtoll(bad, (char **)&bad, 10), to = from + strtoll(bad + 1, NULL, 10);
        for (long long block = from / BLOCK; block * BLOCK < to; block++) {
            long long start = block * BLOCK;
            if (mended[block] || start + BLOCK <= offset || start >= offset + (long long)size)
                continue;
            if (start <= offset) {
                errno = EIO;
                return -1;
            }
            size = (size_t)(start - offset);
            break;
        }
    }
    errno = saved_errno;
    return syscall(SYS_pread64, fd, data, size, offset);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    return fault_pread(fd, data, size, offset);
}

ssize_t pread64(int fd, void *data, size_t size, off_t offset)
{
    return fault_pread(fd, data, size, offset);
}

static ssize_t fault_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    char room[4096];
    const char *bad = find_fault(fd, "bad@", room, sizeof(room));

    if (bad) {
        long long from = strtoll(bad, (char **)&bad, 10), to = from + strtoll(bad + 1, NULL, 10);
        long long end = offset + (long long)size;
        for (long long block = from / BLOCK; block * BLOCK < to; block++) {
            long long start = block * BLOCK;
            if (mended[block] || start + BLOCK <= offset || start >= end)
                continue;
            /* Of which a part is written, that is read first. */
            mended[block] = start >= offset && start + BLOCK <= end;
            if (!mended[block] && start <= offset) {
                errno = EIO;
                return -1;
            }
            if (!mended[block]) {
                size = (size_t)(start - offset);
                break;
            }
        }
    }
    return syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return fault_pwrite(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return fault_pwrite(fd, data, size, offset);
}

int fsync(int fd)
{
    char room[4096];
    const char *other = find_fault(fd, "hang@", room, sizeof(room));

    while (other && access(other, F_OK) == 0)
        usleep(10000);
    return (int)syscall(SYS_fsync, fd);
}

static int fault_fcntl(int fd, int command, unsigned long argument)
{
    char room[4096];

    if (command == F_SETFL && (argument & O_DIRECT) && find_fault(fd, "no-direct", room, sizeof(room))) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

int fcntl(int fd, int command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    unsigned long argument = va_arg(arguments, unsigned long);
    va_end(arguments);
    return fault_fcntl(fd, command, argument);
}

int fcntl64(int fd, int command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    unsigned long argument = va_arg(arguments, unsigned long);
    va_end(arguments);
    return fault_fcntl(fd, command, argument);
}
