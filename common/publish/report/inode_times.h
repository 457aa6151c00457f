/* SPDX-License-Identifier: MIT */
/*
 * Inodes of two ext4 images that differ in nothing but their times: a build that does not fix them changes
 * every inode of every release. Blocks on the medium.
 */
#pragma once

#include <stdint.h>

struct device;
struct superblock;

struct inode_times {
    uint64_t used;       /* inodes that both images use, 0 where their tables cannot be compared */
    uint64_t times_only; /* of them, those that differ and would not if their times were alike */
};

/* Counts. Images of different geometry, and what cannot be read, count as nothing. */
void inode_times_count(const struct device *new_device, const struct superblock *new_superblock,
                       const struct device *old_device, const struct superblock *old_superblock,
                       struct inode_times *ret_times);
