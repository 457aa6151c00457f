/* SPDX-License-Identifier: MIT */
/*
 * Carries several parts over to the target, see carry.h: first each source is compared with what is recorded
 * of it, then, when it is time, each is copied; all targets stay open to the end. Nothing blocks; the loop's
 * thread only.
 */
#pragma once

#include <stdint.h>

#include "common/base/error.h"
#include "common/image/manifest_parts.h"
#include "common/io/pool.h"
#include "daemon/host/carry.h"
#include "daemon/host/targets.h"

struct carry_set;

struct carry_set_settings {
    struct carry_settings parts[MANIFEST_PARTS_MAX];
    unsigned count; /* at least 1 */
};

struct carry_set_events {
    /* All sources are what is recorded; carry_set_go_on() is waited for. */
    void (*ready)(void *owner);
    /* The target of a part is a file that cannot be read back past the page cache; a note. */
    void (*read_back_cached)(void *owner, const struct error *why);
    /* The end, once; `error` is NULL on success. carry_set_free() is allowed inside, and only from then on.
     */
    void (*done)(void *owner, const struct error *error);
};

/* Begins; copies the settings but not what they point to, which has to live until `done`. */
struct carry_set *carry_set_start(struct pool *pool, const struct carry_set_settings *settings,
                                  const struct carry_set_events *events, void *owner);

/* After `ready`: writes the targets. */
void carry_set_go_on(struct carry_set *set);

/* `done` comes with ERROR_CANCELLED soon; too late where all is read back. */
void carry_set_cancel(struct carry_set *set);

/* How many bytes were read, written or verified so far: while this does not grow, it stands still. */
uint64_t carry_set_moved(const struct carry_set *set);

/* After success: the open targets, which the caller closes. */
struct targets *carry_set_take_targets(struct carry_set *set);

/* Frees after `done`. NULL is fine. Returns NULL. */
struct carry_set *carry_set_free(struct carry_set *set);
