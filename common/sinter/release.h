/* SPDX-License-Identifier: MIT */
/*
 * What a server offers at a URL: the manifest's bytes, fetched (conditionally, if an earlier answer is
 * known), judged by their signature, and parsed, in this order. Judging and parsing run on a pool thread. The
 * loop's thread only; nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/manifest.h"
#include "common/image/url.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/sinter/trust.h"

/* What one clone of a release leaves for the next. `table`, `index` and `frames` were fetched in order to
 * plan, by a check for updates or by an installation that failed (see outline.h): the exact bytes from the
 * server, proved by the manifest. NULL if not there. */
struct release_stock {
    uint8_t *table; /* IMAGE.chunks */
    uint8_t *index; /* the index section of base `base`, packed */
    uint32_t base;
    uint8_t *frames; /* the frames section, packed */
    /* For each patch of base `failed_base`: it was fetched and made other bytes than it should, so it is not
     * fetched again. */
    bool *patch_failed;
    uint32_t failed_base;
};

/* An offered release; everything is owned by the structure. */
struct release {
    struct url *image_url;    /* as given: IMAGE */
    struct url *manifest_url; /* IMAGE.json, with IMAGE's query */
    char *manifest_text;      /* the exact bytes, zero-terminated one past manifest_size */
    size_t manifest_size;
    char *signature_text; /* IMAGE.json.minisig, zero-terminated, too; NULL if it was not fetched or there is
                             none */
    size_t signature_size;
    char *etag;          /* of the manifest; NULL if none */
    char *last_modified; /* of the manifest; NULL if none */
    struct trust_verdict verdict;
    struct manifest *manifest;
    struct release_stock stock;
    /* Of each part of a set, in the manifest's order, the release of its image for slot A and for slot B;
     * where one image serves both slots, only the first. NULL until it was fetched, and of a part's own
     * release. */
    struct release *parts[MANIFEST_PARTS_MAX][2];
};

/* The release of that part's image for a slot (0 = A, 1 = B), NULL if it was not fetched. `part` counts in
 * the order of the set's manifest. */
struct release *release_part(const struct release *set, uint32_t part, unsigned slot);

/* The release of the image of that name for a slot: of a part, or the set itself for MANIFEST_MAIN_NAME. NULL
 * if the set has no such part, or it was not fetched. */
struct release *release_image(struct release *set, const char *name, unsigned slot);

/* Frees; NULL is fine. Returns NULL. */
struct release *release_free(struct release *release);

/* Takes over the stock of `earlier` (may be NULL) if both releases have the same manifest; returns whether
 * they have. */
bool release_inherit(struct release *release, struct release *earlier);

/* Frees the stock, as no clone will use it soon. */
void release_forget_stock(struct release *release);

struct release_fetch;

/* Exactly one of the three holds: `release` is set and the callee's; `unchanged` (304); or `error` is set
 * (valid during the call), with retry_after_ms as the server asked (0 = it did not). */
typedef void (*release_done_fn)(void *owner, struct release *release, bool unchanged,
                                const struct error *error, uint64_t retry_after_ms);

typedef void (*release_retry_fn)(void *owner, const struct error *error, uint64_t wait_ms);

/* Fetches IMAGE.json, and IMAGE.json.minisig if any key is trusted. If a signature is demanded, not one byte
 * of the manifest is parsed before the signature is verified. If it is missing or wrong, the publisher may
 * have been between two uploads: before that is an error both files are fetched once more, at once, or as
 * release_fetch_wait_for_signature() says. etag and last_modified (both may be NULL) come from the release
 * known so far, which must have been judged by the same `trust`. The keys that `trust` points to stay the
 * caller's and must live until the end; what it says of a part is copied. */
struct release_fetch *release_fetch_start(struct http *http, struct pool *pool, const struct url *image_url,
                                          const char *etag, const char *last_modified,
                                          const struct trust *trust, release_done_fn done, void *owner);

/* The URL of a part's image, which lies beside the part's manifest; the caller's. */
bool release_refer_part(const struct release *set, const struct manifest_part_file *part,
                        struct url **ret_image_url, struct error *error);

/* What is asked of a part's manifest, for release_fetch_start() with the URL of release_refer_part(). `part`
 * is of the set's manifest, and stays the caller's. */
struct trust release_trust_part(const struct release *set, const struct manifest_part_file *part);

/* Repeats a request that failed for a reason that may pass, for up to give_up_ms a file, instead of ending
 * with the first failure; `retry` (may be NULL) is called each time, with the fetch's owner. With
 * `answers_only`, getting no answer at all still ends it at once, until the first answer came. Call it right
 * after the start. */
void release_fetch_set_patience(struct release_fetch *fetch, uint64_t give_up_ms, bool answers_only,
                                release_retry_fn retry);

/* If the signature is missing or does not fit the manifest, or a part's manifest not its set, fetches again
 * after growing waits, for up to give_up_ms since that was first seen. Calls release_retry_fn before each
 * wait. Call it right after the start. */
void release_fetch_wait_for_signature(struct release_fetch *fetch, uint64_t give_up_ms);

/* Ends the fetch without a callback; allowed at any moment before the callback. NULL is fine. Returns
 * NULL. */
struct release_fetch *release_fetch_cancel(struct release_fetch *fetch);

/* A release from files already at hand (kept from before, or local), judged and parsed as fetched ones are.
 * `text` and `signature` (malloc'd, the latter may be NULL) are taken over on success only. Judges before it
 * returns, so large input belongs on a pool thread. */
bool release_from_text(const struct url *image_url, char *text, size_t size, char *signature,
                       size_t signature_size, const struct trust *trust, struct release **ret_release,
                       struct error *error);
