/* SPDX-License-Identifier: MIT */
/*
 * Why something cannot be written, by what it lies on, and what to do: a mount that is read-only for all or
 * for this service alone, a device that is write-protected. Reads /proc and /sys only; any thread.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

enum { READ_ONLY_TEXT_SIZE = 256 };

/* After an attempt to open or write `path` failed with `code` (EROFS, EACCES, EPERM): a clause. */
void read_only_explain(const char *path, int code, char ret_text[READ_ONLY_TEXT_SIZE]);

/* Whether `path` may be written as far as that can be told without opening it (which would make udev look at
 * a device anew). False says why, and what to do. */
bool read_only_check(const char *path, struct error *error);
