/*
 * Who holds a block device that cannot be opened exclusively: a mount, swap, device-mapper or a loop device, as
 * /proc and /sys tell. For messages only: the refusal itself is the kernel's. May block as procfs may; any thread.
 */
#pragma once

#include <sys/types.h>

/* A phrase such as "it is mounted at /boot", "it is held by dm-0" or "process 812 (fsck) has it open"; "another
 * program has it open exclusively" where the kernel does not tell. Owned by the caller. */
char *holder_describe(dev_t device);
