/* SPDX-License-Identifier: MIT */
#include "common/sinter/fetch.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/wall_clock.h"
#include "common/io/backoff.h"
#include "common/io/retry.h"
#include "common/io/timer.h"

struct fetch {
    struct http *http;
    struct url *url;
    size_t max_size;
    char *etag, *last_modified; /* of the file as known so far, or NULL */
    uint8_t *buffer;            /* for a range, else NULL */
    size_t have, size;
    uint64_t offset, total_size;
    bool answered;     /* the server gave a range of the file, and its size was right */
    bool answers_only; /* no answer came as yet: end at once if none comes */
    unsigned refusals; /* in a row, by servers that a redirector led to */
    const struct fetch_events *events;
    void *owner;
    struct http_request *request;
    struct timer *timer;
    struct backoff backoff;
    uint64_t begun_ms, give_up_ms;
};

static void fetch_try(struct fetch *fetch);

static void fetch_end(struct fetch *fetch, char *body, size_t size, struct http_response *response,
                      const struct error *error)
{
    if (fetch->events->answer)
        fetch->events->answer(fetch->owner, response);
    fetch->events->done(fetch->owner, body, size, response->outcome, error);
    fetch_cancel(fetch);
}

/* Whether a range is of a file of the right size. Of the first range nobody else has checked it. */
static bool fetch_check_total(struct fetch *fetch, struct http_response *response)
{
    if (!fetch->buffer || !response->total_size)
        return true;
    if (response->total_size == fetch->total_size) {
        fetch->answered = true;
        return true;
    }
    response->outcome = HTTP_OUTCOME_CHANGED;
    error_set(&response->error, ERROR_REMOTE,
              "%s has %" PRIu64 " bytes and its manifest says %" PRIu64 "; publish it before its manifest",
              url_shown(fetch->url), response->total_size, fetch->total_size);
    return false;
}

/* Whether there is time left for another attempt after `wait_ms`. The time of attempts counts like that of
 * waits: otherwise a server that sends a little and breaks off, again and again, would hold the fetch for
 * hours. For the bytes that came time is added, as in each request. */
static bool fetch_has_time(const struct fetch *fetch, uint64_t wait_ms)
{
    uint64_t for_bytes_ms = http_deadline_ms(fetch->http, fetch->have) - http_deadline_ms(fetch->http, 0);

    return fetch->give_up_ms &&
           wall_clock_steady_ms() - fetch->begun_ms + wait_ms <= fetch->give_up_ms + for_bytes_ms;
}

/* Whether there is time for another part of the range. Each request has its own deadline; a server that
 * answers with many small parts, each as slowly as allowed, could take hundreds of times as long as all of
 * them should. */
static bool fetch_is_in_time(const struct fetch *fetch, struct http_response *response)
{
    uint64_t took_ms = wall_clock_steady_ms() - fetch->begun_ms;

    if (took_ms <= http_deadline_ms(fetch->http, fetch->size))
        return true;
    response->outcome = HTTP_OUTCOME_TRANSIENT;
    return error_set(&response->error, ERROR_NETWORK,
                     "timeout for %s: only %zu of %zu bytes came within %" PRIu64
                     " s, in parts; check the network and the server, or try again later",
                     url_shown(fetch->url), fetch->have, fetch->size, took_ms / 1000);
}

/* Whether asking again may help. A redirector may lead to a better server next time. */
static bool fetch_is_worth_it(struct fetch *fetch, const struct http_response *response)
{
    if (response->status)
        fetch->answers_only = false;
    if (response->outcome == HTTP_OUTCOME_FAILED && response->redirected)
        return ++fetch->refusals < RETRY_FILE_REFUSALS_MAX;
    fetch->refusals = 0;
    return response->outcome == HTTP_OUTCOME_TRANSIENT && !(fetch->answers_only && !response->status);
}

/* Four ends: a file of the wrong size ends the fetch; part of a range is kept and the rest requested; a whole
 * body ends it well, even if the connection broke after its last byte; anything else is tried again while
 * that may help and there is time. */
static void fetch_on_response(void *owner, struct http_response *response)
{
    struct fetch *fetch = owner;

    fetch->request = NULL;
    if (!fetch_check_total(fetch, response)) {
        fetch_end(fetch, NULL, 0, response, &response->error);
        return;
    }
    if (fetch->buffer)
        fetch->have += response->body_size;
    if (response->outcome == HTTP_OUTCOME_OK && fetch->buffer && fetch->have < fetch->size) {
        /* The server sent less than was asked for. */
        if (fetch_is_in_time(fetch, response)) {
            fetch_try(fetch);
            return;
        }
        fetch_end(fetch, NULL, 0, response, &response->error);
        return;
    }
    if (response->outcome == HTTP_OUTCOME_OK || (fetch->buffer && fetch->have == fetch->size)) {
        char *body = fetch->buffer ? (char *)fetch->buffer : response->body;
        size_t size = fetch->buffer ? fetch->size : response->body_size;
        response->body = NULL;
        response->outcome = HTTP_OUTCOME_OK;
        fetch->buffer = NULL;
        fetch_end(fetch, body, size, response, NULL);
        return;
    }
    if (fetch->buffer && response->body_size)
        backoff_reset(&fetch->backoff);
    uint64_t wait_ms = backoff_draw_ms(&fetch->backoff, response->retry_after_ms);
    if (!fetch_is_worth_it(fetch, response) || !fetch_has_time(fetch, wait_ms)) {
        fetch_end(fetch, NULL, 0, response, &response->error);
        return;
    }
    timer_start(fetch->timer, wait_ms);
    fetch->events->retry(fetch->owner, &response->error, wait_ms);
}

static void fetch_on_timer(void *owner)
{
    fetch_try(owner);
}

static void fetch_try(struct fetch *fetch)
{
    const struct http_get get = {.url = url_text_to_send(fetch->url),
                                 .max_size = fetch->max_size,
                                 .if_none_match = fetch->etag,
                                 .if_modified_since = fetch->last_modified};

    if (!fetch->buffer) {
        fetch->request = http_get(fetch->http, &get, fetch_on_response, fetch);
        return;
    }
    const struct http_get_range range = {
        .url = url_text_to_send(fetch->url),
        .offset = fetch->offset + fetch->have,
        .size = fetch->size - fetch->have,
        .buffer = fetch->buffer + fetch->have,
        /* The size must not change. Not checked before the first good answer: until then a missing file is
         * missing, not changed. */
        .total_size = fetch->answered ? fetch->total_size : 0,
        .deadline = true,
    };
    fetch->request = http_get_range(fetch->http, &range, fetch_on_response, fetch);
}

static struct fetch *fetch_new(struct event_base *base, struct http *http, const struct url *url,
                               uint64_t give_up_ms, const struct fetch_events *events, void *owner)
{
    struct fetch *fetch = alloc_zeroed(sizeof(*fetch));

    fetch->http = http;
    fetch->url = url_copy(url);
    fetch->begun_ms = wall_clock_steady_ms();
    fetch->give_up_ms = give_up_ms;
    fetch->events = events;
    fetch->owner = owner;
    fetch->backoff = (struct backoff){.first_ms = RETRY_FILE_FIRST_MS, .max_ms = RETRY_FILE_MAX_MS};
    fetch->timer = timer_new(base, fetch_on_timer, fetch);
    return fetch;
}

struct fetch *fetch_start(struct event_base *base, struct http *http, const struct url *url, size_t max_size,
                          uint64_t give_up_ms, const struct fetch_events *events, void *owner)
{
    struct fetch *fetch = fetch_new(base, http, url, give_up_ms, events, owner);

    fetch->max_size = max_size;
    fetch_try(fetch);
    return fetch;
}

struct fetch *fetch_start_changed(struct event_base *base, struct http *http, const struct url *url,
                                  const char *etag, const char *last_modified, size_t max_size,
                                  const struct fetch_events *events, void *owner)
{
    struct fetch *fetch = fetch_new(base, http, url, 0, events, owner);

    fetch->max_size = max_size;
    fetch->etag = alloc_string(etag);
    fetch->last_modified = alloc_string(last_modified);
    fetch_try(fetch);
    return fetch;
}

void fetch_set_patience(struct fetch *fetch, uint64_t give_up_ms, bool answers_only)
{
    fetch->give_up_ms = give_up_ms;
    fetch->answers_only = answers_only;
}

struct fetch *fetch_start_range(struct event_base *base, struct http *http, const struct url *url,
                                uint64_t offset, size_t size, uint64_t total_size, uint64_t give_up_ms,
                                const struct fetch_events *events, void *owner)
{
    uint8_t *buffer = malloc(size);

    if (!buffer)
        return NULL;
    struct fetch *fetch = fetch_new(base, http, url, give_up_ms, events, owner);
    fetch->buffer = buffer;
    fetch->offset = offset;
    fetch->size = size;
    fetch->total_size = total_size;
    fetch_try(fetch);
    return fetch;
}

struct fetch *fetch_cancel(struct fetch *fetch)
{
    if (!fetch)
        return NULL;
    http_cancel(fetch->request);
    timer_free(fetch->timer);
    free(fetch->buffer);
    url_free(fetch->url);
    free(fetch->etag);
    free(fetch->last_modified);
    free(fetch);
    return NULL;
}
