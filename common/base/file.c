/* SPDX-License-Identifier: MIT */
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file_status.h"

void file_close_pointer(int *fd)
{
    int saved_errno = errno;

    if (*fd >= 0)
        close(*fd);
    errno = saved_errno;
}

int file_take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* O_NONBLOCK is for pipes: without it open() would wait for a writer. */
static int open_for_reading(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static bool read_whole(int fd, const char *path, size_t max_size, char **ret_data, size_t *ret_size,
                       struct error *error)
{
    /* Files in /proc and /sys have size 0, so only reading tells how much there is. */
    size_t size = 0, room = 4096;
    CLEANUP_FREE char *data = malloc(room + 1);
    if (!data)
        return error_set_errno(error, ENOMEM, "cannot read %s", path);
    for (;;) {
        if (size == room) {
            room = room * 2;
            char *larger = realloc(data, room + 1);
            if (!larger)
                return error_set_errno(error, ENOMEM, "cannot read %s", path);
            data = larger;
        }
        ssize_t got = read(fd, data + size, room - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, errno, "cannot read %s", path);
        if (got == 0)
            break;
        size += (size_t)got;
        if (size > max_size)
            return error_set(error, ERROR_REFUSED, "%s is larger than the %zu bytes allowed here", path,
                             max_size);
    }
    data[size] = 0;
    *ret_data = data;
    *ret_size = size;
    data = NULL;
    return true;
}

bool file_read(const char *path, size_t max_size, char **ret_data, size_t *ret_size, struct error *error)
{
    CLEANUP_FD int fd = open_for_reading(path);

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    return read_whole(fd, path, max_size, ret_data, ret_size, error);
}

char *file_read_text(size_t max_size, const char *format, ...)
{
    CLEANUP_FREE char *path = NULL;
    char *text = NULL;
    size_t size;
    va_list args;

    va_start(args, format);
    int length = vasprintf(&path, format, args);
    va_end(args);
    if (length < 0)
        abort();
    if (!file_read(path, max_size, &text, &size, NULL))
        return NULL;
    if (size && text[size - 1] == '\n')
        text[size - 1] = 0;
    return text;
}

bool file_read_secret(const char *path, size_t max_size, char **ret_data, size_t *ret_size,
                      struct error *error)
{
    CLEANUP_FD int fd = open_for_reading(path);
    struct stat info;

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    if (file_status_fd(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot look at %s", path);
    if (!S_ISREG(info.st_mode))
        return error_set(error, ERROR_REFUSED, "%s is no regular file", path);
    if (info.st_uid != 0 && info.st_uid != geteuid())
        return error_set(error, ERROR_REFUSED, "%s belongs to another user; chown root %s", path, path);
    if (info.st_mode & 077)
        return error_set(error, ERROR_REFUSED,
                         "%s may be read by others than its owner (mode %04o); chmod 600 %s", path,
                         (unsigned)info.st_mode & 07777, path);
    return read_whole(fd, path, max_size, ret_data, ret_size, error);
}

char *file_folder(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return alloc_string(".");
    return slash == path ? alloc_string("/") : alloc_printf("%.*s", (int)(slash - path), path);
}

int file_sync_folder_of(const char *path)
{
    CLEANUP_FREE char *folder = file_folder(path);
    CLEANUP_FD int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* EINVAL means that the file system cannot sync a folder, as with folders that virtual machines share and
     * with some of FUSE. Nothing can be done about that. */
    return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

enum { TEMPORARY_TRIES = 16 };

struct file_writer {
    char *path;
    char *temporary;
    atomic_bool gone; /* `temporary` was renamed or removed; the name may be another writer's by now */
    int fd;
    uint64_t size;
};

/* Opens the temporary file and locks it. The lock is on the file and not on its name: between opening and
 * locking, its owner may have renamed or removed it. Then the name leads to another file or to none, and
 * opening is tried again; not without end, as a network file system may report another inode each time. On a
 * file system without locks the file is used unlocked. */
static int open_temporary(const char *path, mode_t mode, int *ret_fd)
{
    struct stat opened, named;

    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        CLEANUP_FD int fd =
            open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, mode);
        if (fd < 0 || file_status_fd(fd, &opened) < 0)
            return -errno;
        if (!S_ISREG(opened.st_mode))
            return -EEXIST;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
            return -EBUSY;
        if (file_status_link(path, &named) < 0 || named.st_ino != opened.st_ino ||
            named.st_dev != opened.st_dev)
            continue;
        if (ftruncate(fd, 0) < 0)
            return -errno;
        *ret_fd = file_take_fd(&fd);
        return 0;
    }
    return -ESTALE;
}

bool file_writer_new(const char *path, mode_t mode, struct file_writer **ret_writer, struct error *error)
{
    CLEANUP_FREE char *temporary = alloc_printf("%s.new", path);
    int fd = -1, result = open_temporary(temporary, mode, &fd);

    if (result == -EBUSY)
        return error_set_errno(error, EBUSY, "another process is writing %s; wait until it has ended",
                               temporary);
    if (result < 0)
        return error_set_errno(error, result, "cannot create %s", temporary);
    struct file_writer *writer = alloc_zeroed(sizeof(*writer));
    writer->path = alloc_string(path);
    writer->temporary = alloc_string(temporary);
    writer->fd = fd;
    *ret_writer = writer;
    return true;
}

bool file_writer_add(struct file_writer *writer, const void *data, size_t size, struct error *error)
{
    int result = file_pwrite_full(writer->fd, data, size, writer->size);

    if (result < 0)
        return error_set_errno(error, result, "cannot write %s", writer->path);
    writer->size += size;
    return true;
}

uint64_t file_writer_size(const struct file_writer *writer)
{
    return writer->size;
}

bool file_writer_sync(struct file_writer *writer, struct error *error)
{
    if (fsync(writer->fd) < 0)
        return error_set_errno(error, errno, "cannot write %s", writer->path);
    return true;
}

bool file_writer_commit(struct file_writer *writer, struct error *error)
{
    if (!file_writer_sync(writer, error))
        return false;
    if (rename(writer->temporary, writer->path) < 0)
        return error_set_errno(error, errno, "cannot write %s", writer->path);
    atomic_store(&writer->gone, true);
    int result = file_sync_folder_of(writer->path);
    if (result < 0)
        return error_set_errno(error, result, "cannot sync the folder of %s", writer->path);
    return true;
}

void file_writer_remove(struct file_writer *writer)
{
    if (!atomic_exchange(&writer->gone, true))
        unlink(writer->temporary);
}

struct file_writer *file_writer_free(struct file_writer *writer)
{
    if (!writer)
        return NULL;
    file_writer_remove(writer);
    close(writer->fd);
    free(writer->temporary);
    free(writer->path);
    free(writer);
    return NULL;
}

bool file_replace(const char *path, const void *data, size_t size, mode_t mode, struct error *error)
{
    struct file_writer *writer = NULL;

    bool ok = file_writer_new(path, mode, &writer, error) && file_writer_add(writer, data, size, error) &&
              file_writer_commit(writer, error);
    file_writer_free(writer);
    return ok;
}

int file_pread_full(int fd, void *data, size_t size, uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(fd, (char *)data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -ENODATA;
        done += (size_t)got;
    }
    return 0;
}

int file_pwrite_full(int fd, const void *data, size_t size, uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(fd, (const char *)data + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        if (put == 0)
            return -ENOSPC;
        done += (size_t)put;
    }
    return 0;
}

int file_make_folders(const char *path)
{
    CLEANUP_FREE char *folder = alloc_string(path);

    for (char *slash = strchr(folder + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = 0;
        if (mkdir(folder, 0755) < 0 && errno != EEXIST)
            return -errno;
        if (!slash)
            return 0;
        *slash = '/';
    }
}

bool file_make_parent(const char *path, struct error *error)
{
    CLEANUP_FREE char *folder = file_folder(path);

    int result = file_make_folders(folder);
    return result == 0 || error_set_errno(error, result, "cannot make the folder %s", folder);
}
