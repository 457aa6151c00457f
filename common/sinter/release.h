/* SPDX-License-Identifier: MIT */
/*
 * What a server offers at a URL: the manifest's bytes, fetched (conditionally, if an earlier answer is
 * known), judged by their signature, and parsed, in this order. Works on the loop; judging and parsing run on
 * a pool thread. The loop's thread only; nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/image/manifest.h"
#include "common/image/url.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/sinter/trust.h"

/* What one clone of a release leaves to the next. The first three were fetched in order to plan, by a look
 * ahead or an install that failed (see outline.h): the exact bytes from the server, proved by the manifest.
 * NULL where there is none. */
struct release_stock {
    uint8_t *table; /* IMAGE.chunks */
    uint8_t *index; /* the section of base `base` */
    uint32_t base;
    uint8_t *frames; /* the section */
    /* Of each patch of base `failed_base`: it was fetched, and did not make what it should. Not to be fetched
     * again and again. */
    bool *patch_failed;
    uint32_t failed_base;
};

/* An offered release; everything is owned by the structure. */
struct release {
    struct url *image_url;    /* as given: IMAGE */
    struct url *manifest_url; /* IMAGE.json, with IMAGE's query */
    char *manifest_text;      /* the exact bytes, zero-terminated one past manifest_size */
    size_t manifest_size;
    char *signature_text; /* IMAGE.json.minisig, likewise; NULL where nobody asked or there is none */
    size_t signature_size;
    char *etag;          /* of the manifest, NULL if none */
    char *last_modified; /* likewise */
    struct trust_verdict verdict;
    struct manifest *manifest;
    struct release_stock stock;
};

/* Frees; NULL is fine. Returns NULL. */
struct release *release_free(struct release *release);

/* Takes over what clones of `earlier` (may be NULL) have left, where both are by the same manifest; returns
 * whether they are. */
bool release_inherit(struct release *release, struct release *earlier);

/* Frees what clones have left: there will be none for now. */
void release_forget_stock(struct release *release);

struct release_fetch;

/* Exactly one of the three holds: `release` is set and the callee's; `unchanged` (304); or `error` is set
 * (valid during the call), with retry_after_ms as the server asked (0 = it did not). */
typedef void (*release_done_fn)(void *owner, struct release *release, bool unchanged,
                                const struct error *error, uint64_t retry_after_ms);

typedef void (*release_retry_fn)(void *owner, const struct error *error, uint64_t wait_ms);

/* Fetches IMAGE.json, and IMAGE.json.minisig where trust_looks_at_signatures(). Not one byte of the manifest
 * is parsed unless the signature demanded is there; where it is not, the publisher may have been between two
 * uploads, so both files are fetched once more before it is an error, at once, or as
 * release_fetch_wait_for_signature() says. etag and last_modified (both may be
 * NULL) come from the release known so far, which must have been judged by the same `trust`. What that refers
 * to stays the caller's until the end. */
struct release_fetch *release_fetch_start(struct http *http, struct pool *pool, const struct url *image_url,
                                          const char *etag, const char *last_modified,
                                          const struct trust *trust, release_done_fn done, void *owner);

/* Asks for a file again where time may mend what is wrong, for up to give_up_ms each, instead of ending with
 * the first such answer; `retry` (may be NULL) is told each time, with the fetch's owner. Where
 * `answers_only`, no answer at all ends it at once nevertheless, until one came. To be called right after the
 * start. */
void release_fetch_set_patience(struct release_fetch *fetch, uint64_t give_up_ms, bool answers_only,
                                release_retry_fn retry);

/* Where manifest and signature do not fit, or there is none, fetches both again after waits that grow, for up
 * to give_up_ms since that was seen first. Tells release_retry_fn of each wait. Right after the start, too.
 */
void release_fetch_wait_for_signature(struct release_fetch *fetch, uint64_t give_up_ms);

/* Ends it without a callback, at any moment before the callback; NULL is fine. Returns NULL. */
struct release_fetch *release_fetch_cancel(struct release_fetch *fetch);

/* A release from files already at hand (kept from before, or local), judged and parsed as fetched ones are.
 * `text` and `signature` (malloc'd, the latter may be NULL) are taken over on success only. Judges on the
 * spot, so large input belongs on a pool thread. */
bool release_from_text(const struct url *image_url, char *text, size_t size, char *signature,
                       size_t signature_size, const struct trust *trust, struct release **ret_release,
                       struct error *error);
