#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/io/device_private.h"

enum {
    /* What a file system allocates at the least, mostly. */
    HOLE_BLOCK_SIZE = 4096,
    /* Shorter runs of zeros are written like anything else: each hole costs a read, a write of its own for
     * what lies before it, and the file an extent. */
    HOLE_MIN = 16 * 1024,
    /* So many stretches of data are counted one by one; a file that has more is counted as data from there
       on. */
    MEASURE_STRETCHES_MAX = 64 * 1024,
};

uint64_t device_find_data(const struct device *device, uint64_t offset, uint64_t end)
{
    if (device->is_block || offset >= end)
        return offset;
    /* The position of the descriptor, which this moves, is nobody's. */
    off_t data = lseek(device->fd, (off_t)offset, SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? end : offset;
    return (uint64_t)data < end ? (uint64_t)data : end;
}

/* Where the data ends that begins at `offset`. */
static uint64_t find_hole(const struct device *device, uint64_t offset, uint64_t end)
{
    off_t hole = lseek(device->fd, (off_t)offset, SEEK_HOLE);

    return hole >= 0 && (uint64_t)hole > offset && (uint64_t)hole < end ? (uint64_t)hole : end;
}

bool device_measure_data(const struct device *device, uint64_t bytes, uint64_t *ret_end, struct error *error)
{
    uint64_t size, at = 0, data_end;

    if (!device_size(device, &size, error))
        return false;
    *ret_end = size;
    if (size <= bytes)
        return true;
    for (unsigned i = 0; at < size; i++, at = data_end) {
        at = device_find_data(device, at, size);
        data_end = !device->is_block && i < MEASURE_STRETCHES_MAX ? find_hole(device, at, size) : size;
        if (data_end - at > bytes) {
            *ret_end = at + bytes;
            return true;
        }
        bytes -= data_end - at;
    }
    return true;
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* How many bytes of the file from `offset` on, `size` at most, are known to read as zeros. What lies behind
 * its end will, but the last block of it has to be written, so that the end is where it would be. */
static size_t count_zeros(const struct device *device, uint64_t offset, size_t size)
{
    uint8_t data[HOLE_BLOCK_SIZE];
    size_t done = 0;

    while (done < size) {
        ssize_t got = pread(device->fd, data, sizeof(data), (off_t)(offset + done));
        if (got < 0 || !is_zero(data, (size_t)got))
            return done;
        if (got < HOLE_BLOCK_SIZE)
            return size - HOLE_BLOCK_SIZE;
        done += HOLE_BLOCK_SIZE;
    }
    return size;
}

bool device_write_sparse(const struct device *device, const uint8_t *data, size_t size, uint64_t offset,
                         struct error *error)
{
    size_t written = 0, at = (HOLE_BLOCK_SIZE - offset % HOLE_BLOCK_SIZE) % HOLE_BLOCK_SIZE;

    while (!device->is_block && at < size) {
        size_t run = 0;
        while (size - at - run >= HOLE_BLOCK_SIZE && is_zero(data + at + run, HOLE_BLOCK_SIZE))
            run += HOLE_BLOCK_SIZE;
        size_t hole = run >= HOLE_MIN ? count_zeros(device, offset + at, run) : 0;
        if (hole >= HOLE_MIN) {
            if (at > written && !device_write(device, data + written, at - written, offset + written, error))
                return false;
            written = at + hole;
        }
        at += run + HOLE_BLOCK_SIZE;
    }
    return written == size || device_write(device, data + written, size - written, offset + written, error);
}
