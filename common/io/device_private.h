/* SPDX-License-Identifier: MIT */
/*
 * The inside of a device. Only for common/io/device*.c. Any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/io/device.h"

/* Counts what could not be read, by all threads together. */
struct device_damage {
    atomic_uint_fast64_t failures, spent_ms; /* reads that failed, and how long they took together */
    atomic_uint_fast64_t first_offset;       /* of the first failure; valid once `code` is set */
    atomic_int code;                         /* errno value of the first failure */
    atomic_flag mending;                     /* a thread looks at a block that could not be written */
};

struct device {
    int fd;
    char *path;
    bool is_block;
    dev_t device; /* the block device's own number, or the file system's */
    ino_t inode;  /* 0 for block devices, which have many names */
    struct device_damage *damage;
};
