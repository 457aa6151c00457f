/* SPDX-License-Identifier: MIT */
/*
 * Whether a slot has modules for the kernel that runs now, for boot loaders that start the same kernel with
 * either slot. The slot was verified and is held, so it cannot be mounted, and the service could not mount it
 * anyway: the file system's own tool looks into it, read-only, in a child (debugfs, unsquashfs, dump.erofs,
 * where they are installed). May block: pool threads.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

/* False (refused) if the running system has modules for its kernel and the file system that begins at `fd`
 * certainly has none. If that cannot be found out (another file system, no tool), true. `root` is put before
 * the running system's paths. */
bool kernel_modules_check(const char *root, int fd, struct error *error);

/* kernel_modules_check() for a kernel release named by the caller. */
bool kernel_modules_check_release(const char *root, const char *release, int fd, struct error *error);
