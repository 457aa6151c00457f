/* SPDX-License-Identifier: MIT */
/*
 * Carries parts of the running slot over to the target, for a release that does not bring them
 * (Missing=carry). What runs is hashed whole first and has to be what is recorded of it; only then is the
 * target opened, as any target is, and when all are, it is told, and waited for. Then one after the other is
 * written where it differs. The source is hashed once more as it is copied, since a part may be mounted and
 * change meanwhile; and the target is read back past the page cache and compared. At the end all targets
 * stay open. Which parts may be carried over, that is to say serve both slots, is the caller's to know.
 * Nothing blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/image/manifest_parts.h"
#include "common/io/pool.h"
#include "daemon/host/slots.h"
#include "daemon/host/targets.h"

struct carry;

/* What is to be carried over. Copied, but for what it points to, which has to live until `done`. */
struct carry_settings {
    const struct slots *slots;
    enum slot target; /* the other one is the source */
    struct carry_part {
        const char *name;
        uint64_t bytes; /* length of the image in it, and its SHA-256, as they are recorded */
        uint8_t sha256[DIGEST_SHA256_SIZE];
    } parts[MANIFEST_PARTS_MAX];
    unsigned count; /* at least 1 to start */
};

/* Of each there are as many as the images have bytes, in this order. */
struct carry_progress {
    uint64_t bytes_checked;  /* of the sources */
    uint64_t bytes_copied;   /* or found to be in the targets already */
    uint64_t bytes_written;  /* of those, what was not there */
    uint64_t bytes_verified; /* read back */
};

struct carry_events {
    /* All sources are what is recorded, their targets are held, and nothing is written yet: carry_go_on() is
     * waited for. */
    void (*ready)(void *owner);
    void (*progress)(void *owner, const struct carry_progress *progress);
    /* A target is a file that cannot be read past the page cache; a note. */
    void (*read_back_cached)(void *owner, const struct error *why);
    /* The end, once. `error` is NULL on success; of kind refused where a source is not what is recorded,
     * or changed while it was copied. carry_free() is allowed inside, and only from then on. */
    void (*done)(void *owner, const struct error *error);
};

/* Begins; no event comes from within this call. */
struct carry *carry_start(struct pool *pool, const struct carry_settings *settings,
                          const struct carry_events *events, void *owner);

/* After `ready`: writes the targets. */
void carry_go_on(struct carry *carry);

/* `done` comes with ERROR_CANCELLED soon; too late where all was read back. */
void carry_cancel(struct carry *carry);

/* After success: adds the targets, open and exclusive, in the order of the settings; they are the list's. */
void carry_take_targets(struct carry *carry, struct targets *targets);

/* Frees after `done`, and closes targets that were not taken. NULL is fine. Returns NULL. */
struct carry *carry_free(struct carry *carry);
