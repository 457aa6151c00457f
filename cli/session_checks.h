/* SPDX-License-Identifier: MIT */
/*
 * Checks for `clone` and `plan` before anything is done: where the standard streams lead, and how many files
 * the process may open. Does not block, except that outputs are looked at.
 */
#pragma once

#include <stdbool.h>

#include "cli/session_images.h"
#include "common/base/error.h"

/* Refuses a target that is standard output or standard error, because events or sentences would be written
 * into it. */
bool session_check_target(const char *target, struct error *error);

/* Checks that the files of all images may be open at the same time; raises RLIMIT_NOFILE if that helps. 0
 * `connections` means the default. */
bool session_check_open_files(const struct session_images *images, unsigned connections, struct error *error);
