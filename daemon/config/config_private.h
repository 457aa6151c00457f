/* SPDX-License-Identifier: MIT */
/*
 * Where each setting came from; only the files of daemon/config need that for each key.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "daemon/config/config.h"

/* How one key was set: nothing where it has its default. */
struct config_origin {
    size_t count; /* more than 1 only for lists */
    bool refused; /* a value was set but could not be used, so the key must not be reported as missing, too */
    char *texts[CONFIG_LIST_MAX];
    char *places[CONFIG_LIST_MAX]; /* "FILE:LINE" */
};

enum { CONFIG_PART_KEYS = 3 };

struct config_origins {
    struct config_origin parts[MANIFEST_PARTS_MAX][CONFIG_PART_KEYS]; /* as config_part_keys */
    size_t count;
    struct config_origin keys[]; /* as config_keys */
};

/* Frees what it holds and empties it. */
void config_origin_clear(struct config_origin *origin);

/* How a key that the table has was set. */
const struct config_origin *config_find_origin(const struct config *config, const char *section,
                                               const char *key);

/* Fills in what the table cannot: defaults that depend on other settings or on the machine, and what lies in
 * files that settings name. Then judges what no single key can be judged by. `root` as in config_request. */
void config_complete(struct config *config, const char *root, struct config_problems *problems);

/* Fills in tls_files_sha256. Reads the files. */
void config_hash_tls_files(struct config *config, const char *root);
