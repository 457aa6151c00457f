/* SPDX-License-Identifier: MIT */
/*
 * Checks for `clone` and `plan` before anything is done: where the standard streams lead, whether the outputs
 * of a set can be written, and how many files the process may open. Does not block, but opens the outputs.
 */
#pragma once

#include <stdbool.h>

#include "cli/session_images.h"
#include "common/base/error.h"

/* Refuses a target that is standard output or standard error, because events or sentences would be written
 * into it. */
bool session_check_target(const char *target, struct error *error);

/* Checks that enough files may be open at the same time; raises RLIMIT_NOFILE if that helps. `seeds` is
 * NULL-terminated; 0 `connections` means the default. */
bool session_check_open_files(char *const *seeds, unsigned connections, struct error *error);

/* Refuses a set of which one output cannot be written, before the others are. Block devices are tried all at
 * the same time, as one may be a part of another. */
bool session_check_outputs(const struct session_images *images, struct error *error);
