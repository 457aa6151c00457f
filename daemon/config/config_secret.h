/* SPDX-License-Identifier: MIT */
/*
 * Which settings hold secrets, how those are shown, and whether a file keeps them. Used by the files of
 * daemon/config only. Looks at small local files.
 */
#pragma once

#include <stdbool.h>

#include "daemon/config/config_table.h"

/* Whether this value of the key holds something that only its owner should read: a header, or an address with
 * user and password. */
bool config_secret_is_one(const struct config_key *key, const char *text);

/* Whether every user of the machine may read the file at `path`; false where there is none. */
bool config_secret_is_open(const char *path);

/* The value as it may be shown to anybody who may read the status: a secret reads (hidden). Freed by the
 * caller. */
char *config_secret_show(const struct config_key *key, const char *text);

/* config_secret_show() for a value that was refused, whose form is not certain. */
char *config_secret_show_bad(const struct config_key *key, const char *text);
