/* SPDX-License-Identifier: MIT */
/*
 * Who holds a block device that cannot be opened exclusively: a mount, swap, device-mapper or another
 * program, and which loop device stands on a file, as /proc and /sys tell. May block as procfs may; any
 * thread.
 */
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

/* A phrase such as "it is mounted at /boot", "it is held by dm-0" or "process 812 (fsck) has it open";
 * "another program has it open exclusively" where the kernel does not tell. Owned by the caller. */
char *holder_describe(dev_t device);

/* "it backs /dev/loop0, and it is mounted at /mnt", or NULL where no loop device stands on the file. Nothing
 * but this keeps one from writing under a mounted file system there: the kernel does not. Owned by the
 * caller. */
char *holder_describe_loop(const struct stat *file);
