/* SPDX-License-Identifier: MIT */
/*
 * Finds out in /proc and /sys what holds a block device that cannot be opened exclusively (a mount, swap,
 * device-mapper or another program), and which loop device uses a file. May block on procfs; any thread.
 */
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

/* A phrase such as "it is mounted at /boot", "it is held by dm-0" or "process 812 (fsck) has it open";
 * "another program has it open exclusively" where the kernel does not tell. Owned by the caller. */
char *holder_describe(dev_t device);

/* "it backs /dev/loop0, and it is mounted at /mnt", or NULL if no loop device uses the file. The kernel does
 * not stop anybody from writing to a file under a file system that is mounted from it, so this check must.
 * Owned by the caller. */
char *holder_describe_loop(const struct stat *file);
