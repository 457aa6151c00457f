/* SPDX-License-Identifier: MIT */
/*
 * The manifests of a set's parts: fetches them one after another, each judged by the SHA-256 that the set's
 * manifest names, and puts them into the set's release. What an earlier release has of the same bytes is
 * taken over, with what was fetched for it, and not asked for again. The loop's thread only; nothing blocks.
 */
#pragma once

#include "common/sinter/release.h"

enum {
    /* Bytes of all the parts' manifests together, which stay in memory. As much as one may have: that is
     * enough for parts of 160 GiB. */
    RELEASE_PARTS_SIZE_MAX = MANIFEST_SIZE_MAX,
};

struct release_parts;

/* The end: `error` is NULL, or valid during the call. */
typedef void (*release_parts_done_fn)(void *owner, const struct error *error, uint64_t retry_after_ms);

/* Fetches what is missing in `set`. It and `earlier`, which may be NULL, stay the caller's and must live
 * until the end. `earlier` is changed only when all parts were had; where that fails, `set` keeps what was.
 * `done` is never called from within. REMOTE and MISMATCH say that the set does not fit together on the
 * server now, for a publication may be under way; REFUSED, before anything is asked for, that it has more
 * bytes than this program takes, or that a reference leads nowhere. */
struct release_parts *release_parts_start(struct http *http, struct pool *pool, struct release *set,
                                          struct release *earlier, release_parts_done_fn done, void *owner);

/* Does without that part's image for `slot`, as only the other one is wanted. Call it right after the
 * start. */
void release_parts_leave_out(struct release_parts *parts, uint32_t part, unsigned slot);

/* For each manifest what release_fetch_set_patience() says. Call it right after the start. */
void release_parts_set_patience(struct release_parts *parts, uint64_t give_up_ms, release_retry_fn retry);

/* Ends it without a callback; allowed at any moment before the callback. NULL is fine. Returns NULL. */
struct release_parts *release_parts_cancel(struct release_parts *parts);

/* Whether the manifests of all images of all parts are there, as they always are where there are no parts. */
bool release_has_parts(const struct release *set);

/* Puts a part's manifest that was kept from before into `set`, judged like one that was fetched, for `slot`
 * of part number `part`. `text` (malloc'd) is taken over on success only. Judges before it returns, so large
 * input belongs on a pool thread. */
bool release_add_part(struct release *set, uint32_t part, unsigned slot, char *text, size_t size,
                      struct error *error);

/* Whether the bytes of all images that are there have together no more than MANIFEST_FILE_SIZE_MAX, so that
 * sums fit 64 bits. */
bool release_check_sum(const struct release *set, struct error *error);
