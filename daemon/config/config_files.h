/* SPDX-License-Identifier: MIT */
/*
 * The files that settings come from: which ones, in which order, and their lines. INI as systemd writes it:
 * comments are whole lines, a backslash at the end of a line continues it, nothing follows a value. Knows no
 * keys. Reads small local files: before the loop runs, or on SIGHUP.
 */
#pragma once

#include <stdbool.h>

#include "daemon/config/config.h"

/* One "Key=value" as it stands in a file; everything lives until the call returns. */
struct config_assignment {
    const char *section; /* "" before the first */
    const char *key;
    const char *value; /* without blanks around it */
    const char *file;
    unsigned line; /* where it begins, from 1 */
};

typedef void (*config_assignment_fn)(void *owner, const struct config_assignment *assignment);

/* Reads all files of `request` in order and hands over their assignments; what is wrong goes into `problems`.
 * `assignment` may add to the same list. */
void config_files_read(const struct config_request *request, config_assignment_fn assignment, void *owner,
                       struct config_problems *problems);

/* Adds one sentence to the list. */
void config_problems_add(struct config_problems *problems, bool is_error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
