/* SPDX-License-Identifier: MIT */
/*
 * Carries a part of the running slot over to the target, for a release that does not bring it
 * (Missing=carry). What runs is hashed whole first and has to be what is recorded of it; only then is the
 * target opened, as any target is, and later written where it differs. The source is hashed once more as it
 * is copied, since a part may be mounted and change meanwhile; and the target is read back past the page
 * cache and compared. At the end the target stays open. Which parts may be carried over, that is to say serve
 * both slots, is the caller's to know. Nothing blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/io/device.h"
#include "common/io/pool.h"
#include "daemon/host/slots.h"

struct carry;

/* Copied, but for what it points to, which has to live until `done`. */
struct carry_settings {
    const struct slots *slots;
    enum slot target; /* the other one is the source */
    const char *name; /* of the part */
    uint64_t bytes;   /* length of the image in it, and its SHA-256, as they are recorded */
    uint8_t sha256[DIGEST_SHA256_SIZE];
};

/* Of each there are as many as the image has bytes, in this order. */
struct carry_progress {
    uint64_t bytes_checked;  /* of the source */
    uint64_t bytes_copied;   /* or found to be in the target already */
    uint64_t bytes_written;  /* of those, what was not there */
    uint64_t bytes_verified; /* read back */
};

struct carry_events {
    /* The source is what is recorded, the target is held, and nothing is written yet: carry_go_on() is waited
     * for. */
    void (*ready)(void *owner);
    void (*progress)(void *owner, const struct carry_progress *progress);
    /* The target is a file that cannot be read past the page cache; a note, at most once. */
    void (*read_back_cached)(void *owner, const struct error *why);
    /* The end, once. `error` is NULL on success; of kind refused where the source is not what is recorded,
     * or changed while it was copied. carry_free() is allowed inside, and only from then on. */
    void (*done)(void *owner, const struct error *error);
};

/* Begins; no event comes from within this call. */
struct carry *carry_start(struct pool *pool, const struct carry_settings *settings,
                          const struct carry_events *events, void *owner);

/* After `ready`: writes the target. */
void carry_go_on(struct carry *carry);

/* `done` comes with ERROR_CANCELLED soon; too late where all was read back. */
void carry_cancel(struct carry *carry);

const struct carry_progress *carry_progress(const struct carry *carry);

/* After success: the target, open and exclusive; the caller closes it. */
struct device *carry_take_target(struct carry *carry);

/* Frees after `done`, and closes a target that was not taken. NULL is fine. Returns NULL. */
struct carry *carry_free(struct carry *carry);
