/*
 * The inside of a device. A part of common/io/device*.c, and of no use to others. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "common/io/device.h"

struct device {
    int fd;
    char *path;
    bool is_block;
    dev_t device; /* the block device's own number, or the file system's */
    ino_t inode;  /* 0 for block devices, which have many names */
};
