/* SPDX-License-Identifier: MIT */
/*
 * The programs of [Health] Checks=: the executable files of a folder, in order of their names, provided
 * that nobody but root (or who runs this) may change them. Reading the folder blocks: pool threads, or
 * before the loop runs.
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
    char *not_executable; /* path of a file that may not be executed; NULL = none */
};

/* Lists the programs. Names that begin with a dot, files that are not regular and files that may not be
 * executed are passed over. A file that others may write is an error; so are too many programs and, unless
 * `optional`, a missing folder. Freed with health_list_finish(); *ret_list is untouched on failure. */
bool health_list_read(const char *folder, bool optional, struct health_list *ret_list, struct error *error);

/* Frees what the list holds and empties it. */
void health_list_finish(struct health_list *list);

/* The program's name without its folder. */
const char *health_program_name(const char *path);
