/* SPDX-License-Identifier: MIT */
/*
 * The medium: block devices and image files, opened, read, written, synced and read back safely. A target is
 * opened exclusively, so that nothing mounted or held is ever written, and stays open from the first write
 * until after the boot selection changed. Everything here may block on the medium for as long as it likes:
 * pool threads only, or programs before their loop runs. A device is used by several threads at once; reads
 * and writes of separate ranges do not disturb each other.
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

/* Whether an image of `need_bytes` fits: refused with a sentence on a smaller block device; files grow. */
bool device_check_room(const struct device *device, uint64_t need_bytes, struct error *error);

/* Closes without syncing; NULL is fine. Returns NULL. */
struct device *device_close(struct device *device);

/* The path it was opened by. */
const char *device_path(const struct device *device);

bool device_is_block(const struct device *device);

/* The opened descriptor, which stays the device's: for asking the kernel what it is. */
int device_descriptor(const struct device *device);

/* Whether two opened devices are the same file or block device. */
bool device_is_same(const struct device *device, const struct device *other);

/* Bytes: the block device's, or the file's at the moment. */
bool device_size(const struct device *device, uint64_t *ret_bytes, struct error *error);

/* Reads exactly `size` bytes at `offset`; an end before that is an error of kind system with code ENODATA. */
bool device_read(const struct device *device, void *buffer, size_t size, uint64_t offset,
                 struct error *error);

/* Reads on past what cannot be read: *ret_good bytes from `offset` on, at most `size`, and where these are
 * fewer *ret_bad bytes behind them that the medium does not give, which is a block of 4 KiB at most; both may
 * be what is not 0. False where the file ends before, or the device was given up: where thousands of reads
 * failed, or those that did took minutes, none is tried any more by any function here, so that a dead medium
 * costs no more than that. */
bool device_read_around(const struct device *device, void *buffer, size_t size, uint64_t offset,
                        size_t *ret_good, size_t *ret_bad, struct error *error);

/* Whether anything could not be read so far; then `ret_what` (which may be NULL) says what and how much. */
bool device_is_damaged(const struct device *device, struct error *ret_what);

/* The first byte from `offset` on, at most `end`, that may be anything but zero: what lies before is a hole,
 * as far as the file system tells. `offset` itself on block devices. */
uint64_t device_find_data(const struct device *device, uint64_t offset, uint64_t end);

/* How far to read for `bytes` of data, holes not counted; at most the file's end. `bytes` itself, or the end,
 * on block devices. */
bool device_measure_data(const struct device *device, uint64_t bytes, uint64_t *ret_end, struct error *error);

/* Writes exactly `size` bytes at `offset`. Where a block at either end cannot be read, what else is in it
 * becomes zeros. */
bool device_write(const struct device *device, const void *data, size_t size, uint64_t offset,
                  struct error *error);

/* The same, but that a file's holes stay holes: where `data` has a run of zeros and the file reads as zeros
 * already, nothing is written. The file is as long afterwards as if all had been. */
bool device_write_sparse(const struct device *device, const uint8_t *data, size_t size, uint64_t offset,
                         struct error *error);

/* Starts writing a range back without waiting for the medium, so that the final sync is not one giant flush;
 * a hint only. */
void device_start_writeback(const struct device *device, uint64_t offset, uint64_t size);

/* Cuts or extends a regular file to `bytes`; does nothing to a block device. */
bool device_set_size(const struct device *device, uint64_t bytes, struct error *error);

/* Everything written is on the medium when this returns. */
bool device_sync(const struct device *device, struct error *error);

/* Reading back past the page cache, through the very descriptor that was written through: always with
 * O_DIRECT on block devices; on files where the file system has it, else after dropping the file's cached
 * pages. */
struct device_readback;

/* Whether a block device can be read past the page cache, so that this need not be found out after everything
 * was written; true for files. One block is read. Nothing else may use the device meanwhile. */
bool device_readback_check(const struct device *device, struct error *error);

/* Begins. Until it is closed nothing else may read or write the device. */
bool device_readback_open(const struct device *device, struct device_readback **ret_readback,
                          struct error *error);

/* Closes; NULL is fine. Returns NULL. */
struct device_readback *device_readback_close(struct device_readback *readback);

/* Reads the next bytes in order, at most `size` of them from the image of `image_size` bytes; *ret_data
 * points into the readback's own buffer until the next call; *ret_size is 0 at the image's end. */
bool device_readback_next(struct device_readback *readback, uint64_t image_size, const uint8_t **ret_data,
                          size_t *ret_size, struct error *error);

/* Whether the page cache could not be passed by, so that what was read may never have reached the medium, and
 * why. Files only; final after the first successful read, or at the end. */
bool device_readback_is_cached(const struct device_readback *readback, struct error *ret_why);
