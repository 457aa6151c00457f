/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/io/device_private.h"

enum {
    READBACK_BUFFER_SIZE = 1024 * 1024,
    READBACK_ALIGNMENT = 4096, /* no common device has larger logical blocks */
};

struct device_readback {
    const struct device *device;
    uint64_t offset;
    uint8_t *buffer; /* READBACK_BUFFER_SIZE, aligned for O_DIRECT */
    int cached_code; /* errno value that says why reading goes through the page cache; 0 if it does not */
};

/* Switches O_DIRECT on or off for the open descriptor. To open a second one would need /proc, which an
 * initramfs may not have, or the path, which may lead elsewhere by now. Returns 0 or -errno. */
static int set_direct(int fd, bool direct)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) < 0)
        return -errno;
    return 0;
}

/* Sets the error for a block device that cannot be read past the page cache: such a one is refused. Returns
 * false. */
static bool refuse_cached(const struct device *device, int code, struct error *error)
{
    return error_set_errno(error, code,
                           "%s cannot be read past the page cache, so nobody could tell what of a write has "
                           "reached its medium; use another device",
                           device->path);
}

/* For file systems without O_DIRECT, such as tmpfs, and those that accept it and then refuse to read. All
 * that can be done there is to drop the file's cached pages, after a sync, as dirty pages are not dropped. */
static void read_through_cache(struct device_readback *readback, int code)
{
    int fd = readback->device->fd;

    readback->cached_code = code;
    set_direct(fd, false);
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* Whether reading failed because O_DIRECT is not supported there. */
static bool is_unsupported(int code)
{
    return code == EINVAL || code == EOPNOTSUPP;
}

bool device_readback_check(const struct device *device, struct error *error)
{
    uint64_t size;
    int result;

    if (!device->is_block)
        return true;
    if (!device_size(device, &size, error))
        return false;
    CLEANUP_FREE uint8_t *block = aligned_alloc(READBACK_ALIGNMENT, READBACK_ALIGNMENT);
    if (!block)
        return error_set_errno(error, ENOMEM, "cannot read %s", device->path);
    result = set_direct(device->fd, true);
    if (result == 0 && size >= READBACK_ALIGNMENT && pread(device->fd, block, READBACK_ALIGNMENT, 0) < 0)
        result = -errno;
    set_direct(device->fd, false);
    /* Any other failure is no reason to refuse: writing may mend a bad block. */
    return !is_unsupported(-result) || refuse_cached(device, result, error);
}

bool device_readback_open(const struct device *device, struct device_readback **ret_readback,
                          struct error *error)
{
    CLEANUP_FREE uint8_t *buffer = aligned_alloc(READBACK_ALIGNMENT, READBACK_BUFFER_SIZE);
    int result = set_direct(device->fd, true);

    if (!buffer)
        return error_set_errno(error, ENOMEM, "cannot read %s back", device->path);
    if (result < 0 && device->is_block)
        return refuse_cached(device, result, error);

    struct device_readback *readback = alloc_zeroed(sizeof(*readback));
    readback->device = device;
    readback->buffer = buffer;
    buffer = NULL;
    if (result < 0)
        read_through_cache(readback, -result);
    *ret_readback = readback;
    return true;
}

struct device_readback *device_readback_close(struct device_readback *readback)
{
    if (!readback)
        return NULL;
    set_direct(readback->device->fd, false);
    free(readback->buffer);
    free(readback);
    return NULL;
}

bool device_readback_is_cached(const struct device_readback *readback, struct error *ret_why)
{
    if (!readback->cached_code)
        return false;
    error_set_errno(ret_why, readback->cached_code,
                    "%s was read back through the page cache, for its file system cannot be read past it",
                    readback->device->path);
    return true;
}

bool device_readback_next(struct device_readback *readback, uint64_t image_size, const uint8_t **ret_data,
                          size_t *ret_size, struct error *error)
{
    const struct device *device = readback->device;
    uint64_t left = image_size - readback->offset;
    size_t want = left < READBACK_BUFFER_SIZE ? (size_t)left : READBACK_BUFFER_SIZE;
    /* O_DIRECT needs whole blocks; the last read of a file may be short, which is fine. */
    size_t ask = (want + READBACK_ALIGNMENT - 1) / READBACK_ALIGNMENT * READBACK_ALIGNMENT;
    size_t got = 0;

    assert(readback->offset <= image_size);
    while (got < want) {
        ssize_t count = pread(device->fd, readback->buffer + got, ask - got, (off_t)(readback->offset + got));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && is_unsupported(errno) && !readback->cached_code) {
            if (device->is_block)
                return refuse_cached(device, errno, error);
            read_through_cache(readback, errno);
            continue;
        }
        if (count <= 0)
            return error_set_errno(error, count < 0 ? errno : ENODATA, "cannot read %s back at %" PRIu64,
                                   device->path, readback->offset + got);
        got += (size_t)count;
        if (got < want && got % READBACK_ALIGNMENT)
            return error_set_errno(error, ENODATA, "cannot read %s back at %" PRIu64, device->path,
                                   readback->offset + got);
    }
    readback->offset += want;
    *ret_data = readback->buffer;
    *ret_size = want;
    return true;
}
