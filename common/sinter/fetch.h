/* SPDX-License-Identifier: MIT */
/*
 * Fetches a file of moderate size, or a range of one, into memory. Failures that may pass are tried again for
 * a while. The loop's thread only; nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/url.h"
#include "common/io/http.h"

struct event_base;
struct fetch;

struct fetch_events {
    void (*retry)(void *owner, const struct error *error, uint64_t wait_ms);
    /* The last answer, just before `done`; valid during the call, without its body. May be NULL. */
    void (*answer)(void *owner, const struct http_response *response);
    /* The end, exactly once: `body` (the callee's to free) and `size`, or `error`; and the outcome of the
     * last request. The fetch is freed afterwards: no fetch_cancel(). */
    void (*done)(void *owner, char *body, size_t size, enum http_outcome outcome, const struct error *error);
};

/* Begins to fetch a file of at most max_size bytes. After a failure it tries again, until give_up_ms plus the
 * time that the received bytes may take (see http_deadline_ms()) have passed since the start. The URL is
 * copied. */
struct fetch *fetch_start(struct event_base *base, struct http *http, const struct url *url, size_t max_size,
                          uint64_t give_up_ms, const struct fetch_events *events, void *owner);

/* Fetches a file if it is not the one that `etag` and `last_modified` (both may be NULL) stand for: see
 * http_get. If it is, the fetch ends with HTTP_OUTCOME_NOT_MODIFIED, without a body or a meaningful error. It
 * is tried only once, unless fetch_set_patience() is called. */
struct fetch *fetch_start_changed(struct event_base *base, struct http *http, const struct url *url,
                                  const char *etag, const char *last_modified, size_t max_size,
                                  const struct fetch_events *events, void *owner);

/* Sets give_up_ms, see fetch_start(). With `answers_only` the fetch gives up at once if no answer comes at
 * all, until the first answer came: somebody may have mistyped a name. */
void fetch_set_patience(struct fetch *fetch, uint64_t give_up_ms, bool answers_only);

/* Fetches `size` bytes at `offset` of a file that must have total_size bytes. If an answer breaks off, only
 * the rest is requested again. For give_up_ms see fetch_start(). NULL if there is no memory for the bytes. */
struct fetch *fetch_start_range(struct event_base *base, struct http *http, const struct url *url,
                                uint64_t offset, size_t size, uint64_t total_size, uint64_t give_up_ms,
                                const struct fetch_events *events, void *owner);

/* Ends and frees the fetch without a callback; NULL is fine. Returns NULL. */
struct fetch *fetch_cancel(struct fetch *fetch);
