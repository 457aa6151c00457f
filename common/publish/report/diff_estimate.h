/* SPDX-License-Identifier: MIT */
/*
 * What other ways of sending an image would cost, and what an image says of itself: the parts of a report
 * that read the images once more. Blocks on the medium: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/publish/report/superblock.h"

struct device;

enum { DIFF_ESTIMATE_BLOCK_SIZE = 4096 };

/* Bytes of the image's zstd file at level 19: of all of it up to 32 MiB, else *ret_estimated from 8 samples
 * of 4 MiB that are spread evenly. */
bool diff_estimate_whole(const struct device *device, uint64_t size, uint64_t *ret_bytes, bool *ret_estimated,
                         struct error *error);

/* Bytes of NEW's blocks of DIFF_ESTIMATE_BLOCK_SIZE that are no block of OLD, each counted once. 8 bytes of
 * memory a block. */
bool diff_estimate_blocks(const struct device *new_device, uint64_t new_size, const struct device *old_device,
                          uint64_t old_size, uint64_t *ret_bytes, struct error *error);

/* Reads the superblock of an image of `size` bytes. */
bool diff_estimate_superblock(const struct device *device, uint64_t size, struct superblock *ret_superblock,
                              struct error *error);
