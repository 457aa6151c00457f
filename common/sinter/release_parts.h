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

/* Fetches what is missing in `set`, whose manifest has parts; takes `set`. `earlier`, which may be NULL,
 * stays the caller's; it must live until the end, and is changed only when all parts were had. `done` is
 * never called from within, and gets the set back or an error, of which the set is freed. REMOTE and MISMATCH
 * say that the set does not fit together on the server now, for a publication may be under way; REFUSED,
 * before anything is asked for, that it has more bytes than this program takes. */
struct release_parts *release_parts_start(struct http *http, struct pool *pool, struct release *set,
                                          struct release *earlier, release_done_fn done, void *owner);

/* Ends it without a callback and frees the set; allowed at any moment before the callback. NULL is fine.
 * Returns NULL. */
struct release_parts *release_parts_cancel(struct release_parts *parts);

/* Whether the manifests of all images of all parts are there, as they always are where there are no parts. */
bool release_has_parts(const struct release *set);

/* Puts a part's manifest that was kept from before into `set`, judged like one that was fetched, for `slot`
 * of part number `part`. `text` (malloc'd) is taken over on success only. Judges before it returns, so large
 * input belongs on a pool thread. */
bool release_add_part(struct release *set, uint32_t part, unsigned slot, char *text, size_t size,
                      struct error *error);

/* Whether the bytes of all images together are fewer than MANIFEST_FILE_SIZE_MAX, so that sums fit 64 bits;
 * all parts are there. */
bool release_check_sum(const struct release *set, struct error *error);
