/* SPDX-License-Identifier: MIT */
/*
 * The settings in use, those of the start, and new ones that were read and wait to be taken. Reading them is
 * a job on a pool thread, for the files may lie on a medium that hangs; nothing here blocks. The loop's
 * thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/io/pool.h"
#include "daemon/config/config.h"

struct settings;

/* What it stands on; all outlive it. */
struct settings_deps {
    struct pool *pool;
    const struct config_request *request; /* which files, and what goes before them */
};

struct settings_events {
    /* They were read, and what is wrong with them is logged; `loaded`: they wait to be taken. */
    void (*read)(void *owner, bool loaded);
};

/* `config` is the part's from now on: in use, and those of the start. */
struct settings *settings_new(const struct settings_deps *deps, const struct settings_events *events,
                              void *owner, struct config *config);

/* The pool has to be freed before. NULL is fine. Returns NULL. */
struct settings *settings_free(struct settings *settings);

/* Those in use, until the next ones are taken. */
const struct config *settings_current(const struct settings *settings);

/* Those of the start, for what takes a restart. */
const struct config *settings_fixed(const struct settings *settings);

/* Those that wait to be taken; NULL = none do. */
const struct config *settings_next(const struct settings *settings);

/* Whether some of those that wait take a restart. */
bool settings_next_needs_restart(const struct settings *settings);

/* Reads them anew; once more where that is under way already. */
void settings_reload(struct settings *settings);

/* What is being read is the last: we are to end. */
void settings_stop(struct settings *settings);

/* Those that wait are in use from now on, and those that were are freed, except the start's. */
void settings_take(struct settings *settings);

/* Those that wait are not taken. */
void settings_drop(struct settings *settings);

/* Whether they are being read. */
bool settings_is_busy(const struct settings *settings);
