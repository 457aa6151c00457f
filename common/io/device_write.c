/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/io/device_private.h"

enum {
    /* What the page cache reads and writes at once, and the least that most file systems allocate. */
    BLOCK_SIZE = 4096,
    /* Shorter runs of zeros are simply written: each hole costs a read, a separate write of what lies before
     * it, and an extent of the file. */
    HOLE_MIN = 16 * 1024,
};

/* If the block at `start` cannot be read, overwrites all of it with zeros: that mends a sector which only
 * lost its content, and nothing readable is lost. Two threads may be about to write the two ends of the same
 * block, so only one may look and mend at a time, lest it wipe what the other has written. */
static void mend_block(const struct device *device, uint64_t start)
{
    static const uint8_t zeros[BLOCK_SIZE];
    const struct timespec moment = {.tv_nsec = 1000000};
    uint8_t block[BLOCK_SIZE];
    uint64_t size;

    if (!device_size(device, &size, NULL) || start >= size)
        return;
    size_t length = size - start < BLOCK_SIZE ? (size_t)(size - start) : BLOCK_SIZE;
    while (atomic_flag_test_and_set(&device->damage->mending))
        nanosleep(&moment, NULL);
    if (file_pread_full(device->fd, block, length, start) < 0)
        file_pwrite_full(device->fd, zeros, length, start);
    atomic_flag_clear(&device->damage->mending);
}

/* Writes again after EIO, with unreadable blocks at both ends mended: to write a part of a block the kernel
 * reads it first, so a bad block makes the write fail. */
static int write_over_bad(const struct device *device, const void *data, size_t size, uint64_t offset)
{
    uint64_t end = offset + size;

    if (offset % BLOCK_SIZE)
        mend_block(device, offset - offset % BLOCK_SIZE);
    if (end % BLOCK_SIZE)
        mend_block(device, end - end % BLOCK_SIZE);
    return file_pwrite_full(device->fd, data, size, offset);
}

bool device_write(const struct device *device, const void *data, size_t size, uint64_t offset,
                  struct error *error)
{
    int result = file_pwrite_full(device->fd, data, size, offset);

    if (result == -EIO)
        result = write_over_bad(device, data, size, offset);
    if (result < 0)
        return error_set_errno(error, result, "cannot write %zu bytes of %s at %" PRIu64, size, device->path,
                               offset);
    return true;
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* How many bytes of the file from `offset` on, at most `size`, are known to read as zeros. Those behind its
 * end will, except for the last block, which must be written so that the file gets its length. */
static size_t count_zeros(const struct device *device, uint64_t offset, size_t size)
{
    uint8_t data[BLOCK_SIZE];
    size_t done = 0;

    while (done < size) {
        ssize_t got = pread(device->fd, data, sizeof(data), (off_t)(offset + done));
        if (got < 0 || !is_zero(data, (size_t)got))
            return done;
        if (got < BLOCK_SIZE)
            return size - BLOCK_SIZE;
        done += BLOCK_SIZE;
    }
    return size;
}

bool device_write_sparse(const struct device *device, const uint8_t *data, size_t size, uint64_t offset,
                         struct error *error)
{
    size_t written = 0, at = (BLOCK_SIZE - offset % BLOCK_SIZE) % BLOCK_SIZE;

    while (!device->is_block && at < size) {
        size_t run = 0;
        while (size - at - run >= BLOCK_SIZE && is_zero(data + at + run, BLOCK_SIZE))
            run += BLOCK_SIZE;
        size_t hole = run >= HOLE_MIN ? count_zeros(device, offset + at, run) : 0;
        if (hole >= HOLE_MIN) {
            if (at > written && !device_write(device, data + written, at - written, offset + written, error))
                return false;
            written = at + hole;
        }
        at += run + BLOCK_SIZE;
    }
    return written == size || device_write(device, data + written, size - written, offset + written, error);
}
