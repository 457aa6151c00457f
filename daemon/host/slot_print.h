/* SPDX-License-Identifier: MIT */
/*
 * A fingerprint of what a slot holds, to tell cheaply at a start whether that is still what the record
 * says: otherwise a slot that was written by other means, a cloned card, or a state folder from a backup
 * would count as up to date for ever.
 *
 * 32 blocks of 4 KiB are hashed, spread over the image, its first and last among them: 128 KiB of reading.
 * A slot that holds squashfs or erofs (told by their magic numbers) is never written by mounting it, so
 * there a single block that differs is another image. Any other slot may be mounted read-write, which
 * changes the superblock, the journal and what files change; there more than half of the blocks have to
 * differ, and what is seen at each start is what the next one compares with, so that slow changes never
 * add up. Blocks of zeros in both are free space and do not count; where fewer than 8 are left, they say
 * nothing. An ext4's UUID stays through all of that, so another one is another image; where an image is
 * built with the same UUID each time, the blocks decide alone. So two releases of such an image that share
 * most of their blocks are not told apart; the same release is never taken for another one.
 *
 * Taking one blocks on the medium. Comparing is pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/io/device.h"

enum { SLOT_PRINT_BLOCKS = 32, SLOT_PRINT_BLOCK_SIZE = 4096 };

struct slot_print {
    uint64_t bytes;    /* length of the image; 0 = no fingerprint was taken */
    bool is_fixed;     /* a read-only file system: only another image changes it */
    uint64_t identity; /* a hash of the file system's UUID; 0 = not known */
    uint64_t blocks[SLOT_PRINT_BLOCKS];
};

/* Takes the fingerprint of the first `bytes` of a device; if the device is shorter, it equals no other one.
 * False, with *ret_print untouched, if it cannot be read. */
bool slot_print_take(const struct device *device, uint64_t bytes, struct slot_print *ret_print);

/* slot_print_take() for the device or file at `path`. */
bool slot_print_take_path(const char *path, uint64_t bytes, struct slot_print *ret_print);

/* Whether `seen` may be of the same image as `known`; both are of the same number of bytes. */
bool slot_print_fits(const struct slot_print *known, const struct slot_print *seen);
