/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "common/base/wall_clock.h"
#include "common/io/device_private.h"

enum {
    /* The least that is passed over: the page cache reads this much at once, and no medium has smaller blocks
     * that fail alone. */
    READ_BLOCK_SIZE = 4096,
    /* A device is given up after so many reads that failed, or when they took so long together. A disk may
     * try for half a minute before it says that a block is bad. */
    READ_FAILURES_MAX = 4096,
    READ_FAILURES_MS_MAX = 2 * 60 * 1000,
};

static void note_failure(const struct device *device, int code, uint64_t offset, uint64_t took_ms)
{
    struct device_damage *damage = device->damage;

    /* If two threads fail at once, the offset is the first one's; at worst a message names the code of the
     * other. */
    if (atomic_fetch_add(&damage->failures, 1) == 0) {
        atomic_store(&damage->first_offset, offset);
        atomic_store(&damage->code, code);
    }
    atomic_fetch_add(&damage->spent_ms, took_ms);
}

static bool is_given_up(const struct device *device)
{
    return atomic_load(&device->damage->failures) >= READ_FAILURES_MAX ||
           atomic_load(&device->damage->spent_ms) >= READ_FAILURES_MS_MAX;
}

bool device_is_damaged(const struct device *device, struct error *ret_what)
{
    const struct device_damage *damage = device->damage;
    int code = atomic_load(&damage->code);
    uint64_t failures = atomic_load(&damage->failures), offset = atomic_load(&damage->first_offset);

    if (!code)
        return false;
    error_set_errno(ret_what, code,
                    is_given_up(device) ? "%" PRIu64 " reads of %s failed, the first at %" PRIu64
                                          ", so the rest of it is not looked at"
                                        : "%" PRIu64 " reads of %s failed, the first at %" PRIu64
                                          "; what lies there is passed over",
                    failures, device->path, offset);
    return true;
}

/* One read of at most `size` bytes: what came, 0 at the end of a file, or -errno. */
static ssize_t read_once(const struct device *device, void *buffer, size_t size, uint64_t offset)
{
    if (is_given_up(device))
        return -atomic_load(&device->damage->code);
    uint64_t before = wall_clock_steady_ms();
    for (;;) {
        ssize_t got = pread(device->fd, buffer, size, (off_t)offset);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            break;
    }
    int code = errno;
    note_failure(device, code, offset, wall_clock_steady_ms() - before);
    return -code;
}

bool device_read(const struct device *device, void *buffer, size_t size, uint64_t offset, struct error *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read_once(device, (char *)buffer + done, size - done, offset + done);
        if (got <= 0)
            return error_set_errno(error, got < 0 ? (int)got : ENODATA,
                                   "cannot read %zu bytes of %s at %" PRIu64, size, device->path, offset);
        done += (size_t)got;
    }
    return true;
}

bool device_read_around(const struct device *device, void *buffer, size_t size, uint64_t offset,
                        size_t *ret_good, size_t *ret_bad, struct error *error)
{
    size_t done = 0, step = size, bad = 0;

    while (done < size && !bad) {
        /* The rest of the block: the smallest part that can be reported as bad. */
        size_t least = READ_BLOCK_SIZE - (offset + done) % READ_BLOCK_SIZE;
        size_t left = size - done, ask = step < left ? step : left;
        ssize_t got = read_once(device, (char *)buffer + done, ask, offset + done);
        if (got == 0 || (got < 0 && is_given_up(device)))
            return error_set_errno(error, got < 0 ? (int)got : ENODATA, "cannot read %s from %" PRIu64 " on",
                                   device->path, offset + done);
        if (got < 0 && ask <= least) {
            bad = ask;
        } else if (got < 0) {
            step = least;
        } else {
            /* Less than was asked for: what follows is probably bad, so the next read is the smallest
             * possible. */
            done += (size_t)got;
            if ((size_t)got < ask)
                step = READ_BLOCK_SIZE - (offset + done) % READ_BLOCK_SIZE;
            else
                step = step < READ_BLOCK_SIZE ? READ_BLOCK_SIZE : step * 2;
        }
    }
    *ret_good = done;
    *ret_bad = bad;
    return true;
}
