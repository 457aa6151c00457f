/* SPDX-License-Identifier: MIT */
/*
 * The parts of a report for which the images are read again: what other ways of sending an image would cost,
 * and their superblocks. Blocks on the medium: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/publish/report/superblock.h"

struct device;

enum { DIFF_ESTIMATE_BLOCK_SIZE = 4096 };

/* How many bytes the image would have, compressed by zstd at level 19. If it is larger than 32 MiB, that is
 * estimated (*ret_estimated) from 8 samples of 4 MiB, spread evenly. */
bool diff_estimate_whole(const struct device *device, uint64_t size, uint64_t *ret_bytes, bool *ret_estimated,
                         struct error *error);

/* How many bytes are in NEW's blocks of DIFF_ESTIMATE_BLOCK_SIZE that OLD has nowhere; equal blocks count
 * once. Takes 8 bytes of memory for each block of both images. */
bool diff_estimate_blocks(const struct device *new_device, uint64_t new_size, const struct device *old_device,
                          uint64_t old_size, uint64_t *ret_bytes, struct error *error);

/* Reads the superblock of an image of `size` bytes. */
bool diff_estimate_superblock(const struct device *device, uint64_t size, struct superblock *ret_superblock,
                              struct error *error);
