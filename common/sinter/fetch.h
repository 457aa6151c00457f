/*
 * One file of moderate size into memory, tried again for as long as time may mend what is wrong. The loop's
 * thread only; nothing blocks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/io/http.h"

struct event_base;
struct fetch;

struct fetch_events {
    void (*retry)(void *owner, const struct error *error, uint64_t wait_ms);
    /* The end, exactly once: `body` (the callee's to free) and `size`, or `error`. fetch_cancel() is not
     * needed after. */
    void (*done)(void *owner, char *body, size_t size, const struct error *error);
};

/* Begins; gives up when it has not succeeded within give_up_ms. The URL is copied. */
struct fetch *fetch_start(struct event_base *base, struct http *http, const char *url, size_t max_size,
                          uint64_t give_up_ms, const struct fetch_events *events, void *owner);

/* Ends it without a callback; NULL is fine. Returns NULL. */
struct fetch *fetch_cancel(struct fetch *fetch);
