/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <unistd.h>

#include "common/io/device_private.h"

enum {
    /* At most so many stretches of data are measured; the rest of a file with more counts as data. */
    MEASURE_STRETCHES_MAX = 64 * 1024,
};

uint64_t device_find_data(const struct device *device, uint64_t offset, uint64_t end)
{
    if (device->is_block || offset >= end)
        return offset;
    /* This moves the descriptor's position, which nothing here uses. */
    off_t data = lseek(device->fd, (off_t)offset, SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? end : offset;
    return (uint64_t)data < end ? (uint64_t)data : end;
}

/* The end of the data that begins at `offset`. */
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
