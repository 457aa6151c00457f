/* SPDX-License-Identifier: MIT */
/*
 * Block devices and image files: safely opened, read, written, synced and read back. A target is opened
 * exclusively, so that nothing mounted or held is ever written, and stays open from the first write until
 * after the boot selection changed. Everything here may block on the medium for any time: pool threads only,
 * or programs before their loop runs. A device is used by several threads at once; reads and writes of
 * separate ranges do not disturb each other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct device;

/* Opens for reading; a folder, a pipe or a missing path is an error. */
bool device_open_source(const char *path, struct device **ret_device, struct error *error);

/* Opens for writing: a block device with O_EXCL (refused, with its holder named, where it is mounted, held or
 * opened exclusively by others), a regular file under an exclusive lock (refused where a loop device stands
 * on it); a missing path is created as a file when `create`. A block device smaller than `need_bytes` is
 * refused. */
bool device_open_target(const char *path, uint64_t need_bytes, bool create, struct device **ret_device,
                        struct error *error);

/* Whether device_open_target() with `create` would take the path, as far as that can be known before its size
 * matters; nothing is made or written. *ret_device holds it against others, itself opened for reading; NULL
 * where it is not there yet. */
bool device_try_target(const char *path, struct device **ret_device, struct error *error);

/* Whether an image of `need_bytes` fits; if not, false with an error. Files grow, so only a block device can
 * be too small. */
bool device_check_room(const struct device *device, uint64_t need_bytes, struct error *error);

/* Closes without syncing; NULL is fine. Returns NULL. */
struct device *device_close(struct device *device);

/* The path it was opened by. */
const char *device_path(const struct device *device);

bool device_is_block(const struct device *device);

/* The opened descriptor, to ask the kernel about it; it stays the device's. */
int device_descriptor(const struct device *device);

/* Whether two opened devices are the same file or block device. */
bool device_is_same(const struct device *device, const struct device *other);

/* The size in bytes of the block device, or of the file at this moment. */
bool device_size(const struct device *device, uint64_t *ret_bytes, struct error *error);

/* Reads exactly `size` bytes at `offset`; if the device ends before, ERROR_SYSTEM with code ENODATA. */
bool device_read(const struct device *device, void *buffer, size_t size, uint64_t offset,
                 struct error *error);

/* Reads at most `size` bytes at `offset` and reports the unreadable part behind them: *ret_good bytes were
 * read, then *ret_bad bytes (4 KiB at most) cannot be read; either may be 0. False if the file ends before,
 * or the device was given up: after thousands of failed reads, or when failed reads took minutes, no function
 * here tries to read it any more, so a dead medium costs no more time than that. */
bool device_read_around(const struct device *device, void *buffer, size_t size, uint64_t offset,
                        size_t *ret_good, size_t *ret_bad, struct error *error);

/* Whether any part could not be read so far; then `ret_what` (may be NULL) says what and how much. */
bool device_is_damaged(const struct device *device, struct error *ret_what);

/* The first byte from `offset` on that may not be zero, at most `end`; what lies before it is a hole, says
 * the file system. On block devices always `offset`. */
uint64_t device_find_data(const struct device *device, uint64_t offset, uint64_t end);

/* Up to which offset one must read to get `bytes` of data, not counting holes; at most the end. On block
 * devices, which have no holes, `bytes` or the end. */
bool device_measure_data(const struct device *device, uint64_t bytes, uint64_t *ret_end, struct error *error);

/* Writes exactly `size` bytes at `offset`. If only a part of a block at either end is written and that block
 * cannot be read, the rest of it becomes zeros. */
bool device_write(const struct device *device, const void *data, size_t size, uint64_t offset,
                  struct error *error);

/* Like device_write(), but holes of a file stay holes: where `data` has a run of zeros and the file reads as
 * zeros already, nothing is written. The file gets as long as if everything had been written. */
bool device_write_sparse(const struct device *device, const uint8_t *data, size_t size, uint64_t offset,
                         struct error *error);

/* Starts writing a range back without waiting for the medium, so that the final sync is not one giant flush;
 * a hint only. */
void device_start_writeback(const struct device *device, uint64_t offset, uint64_t size);

/* Cuts or extends a regular file to `bytes`; does nothing to a block device. */
bool device_set_size(const struct device *device, uint64_t bytes, struct error *error);

/* When this returns true, everything written is on the medium, and so is the name of a file. */
bool device_sync(const struct device *device, struct error *error);

/* Reading back past the page cache, through the very descriptor that was written through: always with
 * O_DIRECT on block devices; on files where the file system has it, else after dropping the file's cached
 * pages. */
struct device_readback;

/* Checks that a block device can be read past the page cache, before everything is written in vain; always
 * true for files. Reads one block. Nothing else may use the device during the call. */
bool device_readback_check(const struct device *device, struct error *error);

/* Begins to read back. Until the readback is closed nothing else may read or write the device. */
bool device_readback_open(const struct device *device, struct device_readback **ret_readback,
                          struct error *error);

/* Closes; NULL is fine. Returns NULL. */
struct device_readback *device_readback_close(struct device_readback *readback);

/* Reads the next bytes in order, at most `size` of them from the image of `image_size` bytes; *ret_data
 * points into the readback's own buffer until the next call; *ret_size is 0 at the image's end. */
bool device_readback_next(struct device_readback *readback, uint64_t image_size, const uint8_t **ret_data,
                          size_t *ret_size, struct error *error);

/* Whether the data came from the page cache, so that it may never have reached the medium, and why. Only true
 * for files; final after the first successful read, or at the end. */
bool device_readback_is_cached(const struct device_readback *readback, struct error *ret_why);
