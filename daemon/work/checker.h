/* SPDX-License-Identifier: MIT */
/*
 * What the server offers: asks it, keeps the release it offered last for the next question and for whoever
 * installs it, and finds out whether a slot holds it already. Remembers what makes the next question another
 * one: that the image on the server was not the manifest's, and which releases came in turn. One thing at a
 * time. Judges nothing but the signature; knows neither rules nor record. The loop's thread only; nothing
 * blocks.
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

/* Each ends what is under way; the next may be started from within. */
struct checker_events {
    /* The server answered. `is_new`: checker_release() is another one; else the server says that it is as it
     * was. retry_after_ms as the server asked; 0 = it did not. */
    void (*answered)(void *owner, bool is_new, uint64_t retry_after_ms);
    /* No release was to be had; `error` is valid during the call. */
    void (*failed)(void *owner, const struct error *error, uint64_t retry_after_ms);
    /* The slot was read: whether it holds what is offered; then `print`, valid during the call, is its
     * fingerprint, of 0 bytes where there is none. */
    void (*identified)(void *owner, bool holds_it, const struct slot_print *print);
    /* checker_cancel() ended it; for a question this comes from within the call. */
    void (*cancelled)(void *owner);
};

/* What is pointed at stays the caller's, and as it is until the end. */
struct checker_request {
    struct http *http;
    const struct url *url; /* of the image */
    struct trust trust;    /* what is asked of its manifest */
};

struct checker *checker_new(struct pool *pool, const struct checker_events *events, void *owner);

/* Frees one that is idle or was stopped. NULL is fine. Returns NULL. */
struct checker *checker_free(struct checker *checker);

/* Ends a question without an event, before its client goes. */
void checker_stop(struct checker *checker);

enum checker_state checker_state(const struct checker *checker);

/* Asks the server, conditionally where a release is known. Only while CHECKER_IDLE. */
void checker_ask(struct checker *checker, const struct checker_request *request);

/* Reads the slot at `path` to see whether it holds checker_release(), which has an SHA-256. Only while
 * CHECKER_IDLE. */
void checker_identify(struct checker *checker, const char *path);

/* Ends what is under way, if anything. */
void checker_cancel(struct checker *checker);

/* What is known to be offered, valid until the next question or checker_forget(); NULL = nothing. Who
 * installs it leaves there what was fetched in order to plan. */
struct release *checker_release(const struct checker *checker);

/* The same as the record has it; all zeroes where nothing is known. Valid as long as the checker. */
const struct record_release *checker_offered(const struct checker *checker);

/* Takes a release that was offered before a restart, where none is known. */
void checker_restore(struct checker *checker, struct release *release);

/* Forgets what is offered: it is another server's, or was judged by other keys. Only while CHECKER_IDLE. */
void checker_forget(struct checker *checker);

/* The image on the server was not the manifest's: the next question asks for the manifest whole. */
void checker_note_overtaken(struct checker *checker);

/* Whether it was asked for whole and is the same, so that the image's ETag means nothing. */
bool checker_ignores_etag(const struct checker *checker);

/* Whether a slot was read already to see whether it holds what is offered. */
bool checker_has_identified(const struct checker *checker);

/* Milliseconds until a poll may look at what is offered, see turns.h; 0 = now. */
uint64_t checker_wait_ms(const struct checker *checker, uint64_t interval_ms);

/* A poll looks at it. */
void checker_note_look(struct checker *checker);
