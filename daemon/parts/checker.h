/* SPDX-License-Identifier: MIT */
/*
 * What the server offers: asks the server, also for the manifests of all parts where that is a set, keeps
 * the release that it offered last for the next question and for the installer, and finds out whether a slot
 * holds that release already. Also remembers whether the image on the server did not belong to the manifest,
 * and which releases were offered in turn. One thing at a time. Judges only the signature; knows neither
 * rules nor record. Nothing blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/url.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/sinter/release.h"
#include "common/sinter/trust.h"
#include "daemon/decide/record.h"
#include "daemon/host/slot_print.h"

struct checker;

enum checker_state {
    CHECKER_IDLE,
    CHECKER_ASKING,      /* the server */
    CHECKER_IDENTIFYING, /* reading a slot */
};

/* Each says that what was under way is over; the next thing may be started from within the call. */
struct checker_events {
    /* The server answered. `is_new`: it sent a manifest, and checker_release() is a new one; else it says
     * that nothing has changed. `retry_after_ms` is the wait that the server asked for; 0 = none. */
    void (*answered)(void *owner, bool is_new, uint64_t retry_after_ms);
    /* No release could be fetched, or not all of a set; `error` is valid during the call. */
    void (*failed)(void *owner, const struct error *error, uint64_t retry_after_ms);
    /* The slot was read. If it holds the offered release in all its images, `print` and `part_prints`, one
     * for each part in the manifest's order, are their fingerprints, valid during the call; one that could
     * not be taken has 0 bytes. */
    void (*identified)(void *owner, bool holds_it, const struct slot_print *print,
                       const struct slot_print *part_prints);
    /* checker_cancel() ended what was under way; if that was a question, this comes from within
     * checker_cancel(). */
    void (*cancelled)(void *owner);
};

/* What it points at stays the caller's and must not change until the end. */
struct checker_request {
    struct http *http;
    const struct url *url; /* of the image */
    struct trust trust;    /* what its manifest must have */
};

struct checker *checker_new(struct pool *pool, const struct checker_events *events, void *owner);

/* Frees one that is idle or was stopped. NULL is fine. Returns NULL. */
struct checker *checker_free(struct checker *checker);

/* Ends a question without an event; call before its HTTP client is freed. */
void checker_stop(struct checker *checker);

enum checker_state checker_state(const struct checker *checker);

/* Asks the server, conditionally where a release is known. Only while CHECKER_IDLE. */
void checker_ask(struct checker *checker, const struct checker_request *request);

/* Reads a slot to see whether it holds checker_release(), which has an SHA-256, in all its images; `slots`
 * have a place for each. Only while CHECKER_IDLE. */
void checker_identify(struct checker *checker, const struct slots *slots, enum slot slot);

/* Ends what is under way, if anything. */
void checker_cancel(struct checker *checker);

/* The release known to be offered, valid until the next question or checker_forget(); NULL = none. The
 * installer keeps in it what it fetched for the plan. */
struct release *checker_release(const struct checker *checker);

/* The same release as the record keeps it; all zeroes if none is known. Valid as long as the checker. */
const struct record_release *checker_offered(const struct checker *checker);

/* Takes the release that was offered before a restart. Only while none is known. */
void checker_restore(struct checker *checker, struct release *release);

/* Forgets the release, because it is another server's or was judged by other keys. Only while
 * CHECKER_IDLE. */
void checker_forget(struct checker *checker);

/* The image on the server does not belong to the known manifest: the next question asks for the whole
 * manifest. */
void checker_note_overtaken(struct checker *checker);

/* Whether the whole manifest was fetched again and is the same, so that a changed ETag of the image means
 * nothing. */
bool checker_ignores_etag(const struct checker *checker);

/* Whether a slot has been compared with the offered release already. */
bool checker_has_identified(const struct checker *checker);

/* Milliseconds until a poll may look at the offered release, see turns.h; 0 = now. */
uint64_t checker_wait_ms(const struct checker *checker, uint64_t interval_ms);

/* Call when a poll looks at the offered release. */
void checker_note_look(struct checker *checker);
