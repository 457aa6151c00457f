/* SPDX-License-Identifier: MIT */
#include "daemon/boot/in_place.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "daemon/host/read_only.h"

/* At least the alignment that O_DIRECT asks for on any medium. */
enum { READBACK_ALIGN = 4096 };
_Static_assert((int)IN_PLACE_SIZE_MAX <= (int)READBACK_ALIGN, "one read gets the whole file");

static bool read_whole(struct in_place *file, size_t size_max, const char *mend, struct error *error)
{
    struct stat status;

    if (file_status_fd(file->fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at %s", file->path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_REFUSED, "%s is not a regular file", file->path);
    if (status.st_size > (off_t)size_max)
        return error_set(error, ERROR_REFUSED, "%s has %lld bytes; over %zu, it cannot be changed safely; %s",
                         file->path, (long long)status.st_size, size_max, mend);
    file->size = (size_t)status.st_size;
    int result = file_pread_full(file->fd, file->data, file->size, 0);
    if (result < 0)
        return error_set_errno(error, result, "cannot read %s", file->path);
    file->data[file->size] = 0;
    if (strlen(file->data) != file->size)
        return error_set(error, ERROR_REFUSED, "%s holds a zero byte; %s", file->path, mend);
    return true;
}

bool in_place_open(struct in_place *file, const char *path, size_t size_max, const char *mend, bool writable,
                   struct error *error)
{
    char why[READ_ONLY_TEXT_SIZE];

    assert(size_max <= IN_PLACE_SIZE_MAX);
    file->path = path;
    file->fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file->fd < 0 && writable && (errno == EROFS || errno == EACCES || errno == EPERM)) {
        int code = errno;
        read_only_explain(path, code, why);
        return error_set_errno(error, code, "cannot write %s; %s", path, why);
    }
    if (file->fd < 0)
        return error_set_errno(error, errno, "cannot open %s; is the boot partition mounted?", path);
    return read_whole(file, size_max, mend, error);
}

void in_place_close(struct in_place *file)
{
    file_close_pointer(&file->fd);
    file->fd = -1;
}

/* Reads the file past the page cache, if the file system can do that, and compares. */
static bool read_back(const struct in_place *file, struct error *error)
{
    posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
    CLEANUP_FD int direct = open(file->path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (direct < 0)
        direct = open(file->path, O_RDONLY | O_CLOEXEC);
    if (direct < 0)
        return error_set_errno(error, errno, "cannot read back %s", file->path);
    CLEANUP_FREE char *buffer = aligned_alloc(READBACK_ALIGN, READBACK_ALIGN);
    if (!buffer)
        return error_set_errno(error, ENOMEM, "cannot read back %s", file->path);
    ssize_t got = read(direct, buffer, READBACK_ALIGN);
    if (got < 0)
        return error_set_errno(error, errno, "cannot read back %s", file->path);
    if ((size_t)got != file->size || memcmp(buffer, file->data, file->size) != 0)
        return error_set(error, ERROR_SYSTEM,
                         "%s does not hold what was just written to it; replace the medium", file->path);
    return true;
}

/* Writes file->data from `begin` to `end`, syncs and reads back. */
static bool write_range(const struct in_place *file, size_t begin, size_t end, struct error *error)
{
    int result = file_pwrite_full(file->fd, file->data + begin, end - begin, begin);

    if (result == 0 && fsync(file->fd) < 0)
        result = -errno;
    if (result < 0)
        return error_set_errno(error, result, "cannot write %s", file->path);
    return read_back(file, error);
}

bool in_place_write(struct in_place *file, const char *data, struct error *error)
{
    size_t begin = file->size, end = 0;

    for (size_t i = 0; i < file->size; i += IN_PLACE_SECTOR) {
        size_t size = file->size - i < IN_PLACE_SECTOR ? file->size - i : IN_PLACE_SECTOR;
        if (memcmp(file->data + i, data + i, size) == 0)
            continue;
        begin = begin < i ? begin : i;
        end = i + size;
    }
    if (!end)
        return read_back(file, NULL) || write_range(file, 0, file->size, error);
    if (end - begin > IN_PLACE_SECTOR)
        return error_set(error, ERROR_REFUSED,
                         "%s would change in more than one sector, which a power cut could tear", file->path);
    memcpy(file->data + begin, data + begin, end - begin);
    return write_range(file, begin, end, error);
}

bool in_place_grow(struct in_place *file, const char *data, size_t size, struct error *error)
{
    assert(size >= file->size && size <= (file->size ? IN_PLACE_SECTOR : IN_PLACE_SIZE_MAX));
    memcpy(file->data, data, size);
    file->data[size] = 0;
    file->size = size;
    return write_range(file, 0, size, error);
}
