/* SPDX-License-Identifier: MIT */
/*
 * One file of moderate size, or a part of one, into memory, tried again for as long as time may mend what is
 * wrong. The loop's thread only; nothing blocks.
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
    /* The answer that ends it, just before `done`; valid during the call, and its body is none. May be NULL.
     */
    void (*answer)(void *owner, const struct http_response *response);
    /* The end, exactly once: `body` (the callee's to free) and `size`, or `error`, and the outcome of the
     * last request. fetch_cancel() is not needed after. */
    void (*done)(void *owner, char *body, size_t size, enum http_outcome outcome, const struct error *error);
};

/* Begins; after a failure it gives up where it has not succeeded within give_up_ms, and the time that the
 * bytes at hand may take (see http_deadline_ms()). The URL is copied. */
struct fetch *fetch_start(struct event_base *base, struct http *http, const struct url *url, size_t max_size,
                          uint64_t give_up_ms, const struct fetch_events *events, void *owner);

/* Likewise, where it has changed since: see http_get. Else it ends with HTTP_OUTCOME_NOT_MODIFIED and neither
 * a body nor an error that says anything. Both may be NULL. */
struct fetch *fetch_start_changed(struct event_base *base, struct http *http, const struct url *url,
                                  const char *etag, const char *last_modified, size_t max_size,
                                  const struct fetch_events *events, void *owner);

/* From now on it gives up after so long, as above; and where `answers_only`, at once where no answer comes at
 * all before the first that does: somebody may have mistyped a name. Until then fetch_start_changed() does
 * not try again. */
void fetch_set_patience(struct fetch *fetch, uint64_t give_up_ms, bool answers_only);

/* Likewise for `size` bytes at `offset` of a file that must have total_size bytes; what came of a broken
 * answer is kept and only the rest asked for again. NULL where there is no memory for them. */
struct fetch *fetch_start_range(struct event_base *base, struct http *http, const struct url *url,
                                uint64_t offset, size_t size, uint64_t total_size, uint64_t give_up_ms,
                                const struct fetch_events *events, void *owner);

/* Ends it without a callback; NULL is fine. Returns NULL. */
struct fetch *fetch_cancel(struct fetch *fetch);
