/* SPDX-License-Identifier: MIT */
/*
 * Counts the inodes of two ext4 images that differ only in their times: a build that does not fix the times
 * changes every inode in each release. Blocks on the medium: for programs without a loop.
 */
#pragma once

#include <stdint.h>

struct device;
struct superblock;

struct inode_times {
    uint64_t used;       /* inodes that both images use; 0 if their tables cannot be compared */
    uint64_t times_only; /* those of them that differ, but would not with the same times */
};

/* Counts. Both counts are 0 if an image is no ext4 or cannot be read, or if their layouts differ. */
void inode_times_count(const struct device *new_device, const struct superblock *new_superblock,
                       const struct device *old_device, const struct superblock *old_superblock,
                       struct inode_times *ret_times);
