/* SPDX-License-Identifier: MIT */
/*
 * What can be said of a command line of `clone` or `plan` before anything is done, beyond its words: where
 * its streams lead, and what the process may open. Does not block.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

/* What is said must not get into what is written: refuses a target that standard output or standard error is.
 */
bool session_check_target(const char *target, struct error *error);

/* What is opened at the same time has to be allowed; raises RLIMIT_NOFILE where that suffices. `seeds` ends
 * with NULL; 0 `connections` are the default. */
bool session_check_open_files(char *const *seeds, unsigned connections, struct error *error);
