/* SPDX-License-Identifier: MIT */
/*
 * The table of keys: name, type, default, bounds, place in struct config, one sentence. Constant data, and
 * the reading of one value into its place; shared by the files of daemon/config, and the test that holds the
 * manual page against it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/config/config.h"

enum config_type {
    CONFIG_TYPE_BOOL,
    CONFIG_TYPE_COUNT,    /* unsigned */
    CONFIG_TYPE_SIZE,     /* uint64_t, bytes */
    CONFIG_TYPE_DURATION, /* uint64_t, milliseconds */
    CONFIG_TYPE_MODE,
    CONFIG_TYPE_DEMAND,
    CONFIG_TYPE_BACKEND,
    CONFIG_TYPE_MISSING, /* bool: whether to carry */
    CONFIG_TYPE_URL,     /* struct url * */
    CONFIG_TYPE_TEXT,    /* char *, `check` decides */
    CONFIG_TYPE_FILE,    /* char *, an absolute path that must be there and readable */
    CONFIG_TYPE_LIST,    /* char *[], may stand several times, `check` decides */
    CONFIG_TYPE_WINDOW,  /* may stand several times */
};

struct config_key {
    const char *section;
    const char *key;
    enum config_type type;
    size_t offset;            /* in struct config */
    const char *default_text; /* NULL = none, or found by config_check.c */
    uint64_t min;
    uint64_t max;
    const char *(*check)(const char *text); /* CONFIG_TYPE_TEXT, CONFIG_TYPE_LIST */
    const char *summary;
    const char *for_backend; /* not NULL: has no effect with a backend that is not among these words */
    bool secret;
};

/* All of them, in the order of printing. */
extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* Those of each section [Part NAME]; their offsets are in struct config_part. */
extern const struct config_key config_part_keys[];
extern const size_t config_part_key_count;

/* Whether a key may stand several times and adds up. */
bool config_key_is_list(const struct config_key *key);

/* Puts the value into its place in `config`, replacing or (lists) adding. Returns NULL, or half a sentence
 * that goes on after "KEY=VALUE: "; then nothing has changed. */
const char *config_key_set(const struct config_key *key, struct config *config, const char *text);

/* Puts the default back. */
void config_key_reset(const struct config_key *key, struct config *config);

/* Frees and clears a place. */
void config_key_clear(const struct config_key *key, struct config *config);
