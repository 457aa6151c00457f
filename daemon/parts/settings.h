/* SPDX-License-Identifier: MIT */
/*
 * The settings in use, those of the start, and new ones that were read and wait to be taken. They are read
 * on a pool thread, because the files may lie on a medium that hangs; nothing here blocks. The loop's
 * thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/io/pool.h"
#include "daemon/config/config.h"

struct settings;

/* What it uses; all of it outlives the settings. */
struct settings_deps {
    struct pool *pool;
    const struct config_request *request; /* which files, and what goes before them */
};

struct settings_events {
    /* The settings were read, and what is wrong with them was logged; `loaded`: they now wait to be taken. */
    void (*read)(void *owner, bool loaded);
};

/* Takes `config`, which is in use from now on and counts as the settings of the start. */
struct settings *settings_new(const struct settings_deps *deps, const struct settings_events *events,
                              void *owner, struct config *config);

/* Free the pool first. NULL is fine. Returns NULL. */
struct settings *settings_free(struct settings *settings);

/* The settings that wait to be taken; NULL = none. */
const struct config *settings_next(const struct settings *settings);

/* Whether some of the waiting settings need a restart. */
bool settings_next_needs_restart(const struct settings *settings);

/* Reads the settings anew; if that is under way already, reads them once more after it. */
void settings_reload(struct settings *settings);

/* Call when told to end: the settings are not read again after what is under way. */
void settings_stop(struct settings *settings);

/* Puts the waiting settings into use and frees the old ones, unless they are those of the start. */
void settings_take(struct settings *settings);

/* Frees the waiting settings without taking them. */
void settings_drop(struct settings *settings);

/* Whether settings are being read. */
bool settings_is_busy(const struct settings *settings);
