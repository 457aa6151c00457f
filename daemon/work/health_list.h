/* SPDX-License-Identifier: MIT */
/*
 * The programs of [Health] Checks=: the executable files of a folder, in order of their names, provided that
 * nobody but root (or who runs this) may change them. Reads the folder, so pool threads, or before the loop
 * runs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum {
    HEALTH_PROGRAMS_MAX = 64,
};

struct health_list {
    char *paths[HEALTH_PROGRAMS_MAX]; /* in order */
    size_t count;
    char *not_executable; /* the path of a file that may not be executed, where there is one; else NULL */
};

/* Names that begin with a dot, and what is no regular file or may not be executed, are passed over. What
 * others may write is an error, and so are too many programs and, but for `optional`, a folder that is not
 * there. Freed with health_list_finish(); untouched on failure. */
bool health_list_read(const char *folder, bool optional, struct health_list *ret_list, struct error *error);

/* Frees what the list holds and empties it. */
void health_list_finish(struct health_list *list);

/* The program's name without its folder. */
const char *health_program_name(const char *path);
