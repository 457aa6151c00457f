/* SPDX-License-Identifier: MIT */
#include "common/io/http.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#include <curl/curl.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/wall_clock.h"
#include "common/io/http_request.h"
#include "common/io/timer.h"

TAILQ_HEAD(request_list, http_request);

struct http {
    struct event_base *base;
    struct http_transport transport;
    CURLM *multi;
    struct timer *timer;  /* the one timeout curl asks for */
    struct timer *resume; /* runs until the rate limit lets paused requests go on */
    /* All requests except the one whose callback is running, in the order they were made. */
    struct request_list requests;
    unsigned active; /* how many of them curl has */
    bool in_curl;    /* inside a call of curl: nothing may be added to it or removed from it */
    bool busy;    /* inside turn() or settle(), which then does what http_free() and new requests ask for */
    bool closing; /* http_free() was called while `busy` */
    bool was_used;
    uint64_t wish_until_ns; /* the server asked not to be asked before; 0 = it did not */
};

/* ---- the requests ---- */

/* Takes the request out of curl and frees it; its callbacks are not called any more. */
static void release(struct http *http, struct http_request *request)
{
    if (request->state != HTTP_REQUEST_STATE_WAITING) {
        assert(!http->in_curl);
        curl_multi_remove_handle(http->multi, request->easy);
        http->active--;
    }
    TAILQ_REMOVE(&http->requests, request, entry);
    http_request_free(request);
}

/* Calls `done`. The request is out of the list, so nothing the callback starts, cancels or frees affects
 * it. */
static void finish(struct http *http, struct http_request *request, CURLcode code)
{
    struct http_response response;

    http_request_take_response(request, code, &response);
    curl_multi_remove_handle(http->multi, request->easy);
    TAILQ_REMOVE(&http->requests, request, entry);
    http->active--;
    request->state = HTTP_REQUEST_STATE_DONE;
    if (response.retry_after_ms)
        http->wish_until_ns = wall_clock_steady_ns() + response.retry_after_ms * 1000000;
    else if (response.outcome == HTTP_OUTCOME_OK || response.outcome == HTTP_OUTCOME_NOT_MODIFIED)
        http->wish_until_ns = 0;
    request->done(request->owner, &response);
    free(response.body);
    http_request_free(request);
}

/* Frees requests that were cancelled while curl ran, then gives the free places to waiting ones in order. */
static void sweep(struct http *http)
{
    struct http_request *request, *next;

    for (request = TAILQ_FIRST(&http->requests); request; request = next) {
        next = TAILQ_NEXT(request, entry);
        if (request->state == HTTP_REQUEST_STATE_CANCELLED)
            release(http, request);
    }
    TAILQ_FOREACH(request, &http->requests, entry)
    {
        if (http->active >= http->transport.connections)
            break;
        if (request->state != HTTP_REQUEST_STATE_WAITING)
            continue;
        CURLMcode code = curl_multi_add_handle(http->multi, request->easy);
        assert(code == CURLM_OK);
        request->state = HTTP_REQUEST_STATE_ACTIVE;
        http->active++;
    }
}

static void destroy(struct http *http)
{
    /* curl closes its connections here, and still calls on_socket_change() for each of them. */
    if (http->multi)
        curl_multi_cleanup(http->multi);
    timer_free(http->timer);
    timer_free(http->resume);
    http_transport_finish(&http->transport);
    free(http);
    curl_global_cleanup();
}

/* The request that the rate limit has paused for the longest time. */
static struct http_request *longest_paused(struct http *http)
{
    struct http_request *request, *longest = NULL;

    TAILQ_FOREACH(request, &http->requests, entry)
    if (request->state == HTTP_REQUEST_STATE_ACTIVE && request->paused &&
        (!longest || request->paused < longest->paused))
        longest = request;
    return longest;
}

/* Lets paused requests go on, one after the other, as far as the rate limit allows, and sets the timer for
 * the rest. */
static void resume_paused(struct http *http)
{
    struct rate_limit *limit = &http->transport.rate_limit;
    struct http_request *request;

    while ((request = longest_paused(http)) && rate_limit_is_free(limit, wall_clock_steady_ns())) {
        request->paused = 0;
        /* curl now delivers the data it kept. If that ends the request, only the result will show it. */
        http->in_curl = true;
        CURLcode code = curl_easy_pause(request->easy, CURLPAUSE_CONT);
        http->in_curl = false;
        if (code != CURLE_OK && request->state == HTTP_REQUEST_STATE_ACTIVE)
            finish(http, request, code);
        sweep(http);
    }
    if (request && !timer_is_running(http->resume))
        timer_start(http->resume, (rate_limit_wait_us(limit, wall_clock_steady_ns()) + 999) / 1000);
}

/* After a call of curl: calls back for all requests that ended. Callbacks may start, cancel and free
 * anything, as this is not inside a call of curl. */
static void settle(struct http *http)
{
    CURLMsg *message;
    int count;

    http->busy = true;
    sweep(http);
    while ((message = curl_multi_info_read(http->multi, &count))) {
        struct http_request *request;
        /* Copied, because the message is gone when its handle is removed. */
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
        finish(http, request, code);
        sweep(http);
    }
    resume_paused(http);
    http->busy = false;
    if (http->closing)
        destroy(http);
}

static void turn(struct http *http, curl_socket_t fd, int kinds)
{
    int count;

    http->busy = http->in_curl = true;
    curl_multi_socket_action(http->multi, fd, kinds, &count);
    http->in_curl = false;
    settle(http);
}

/* ---- curl's view of the loop ---- */

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    int kinds = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

    turn(arg, fd, kinds);
}

static void on_timer(void *arg)
{
    turn(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void on_resume(void *arg)
{
    settle(arg);
}

/* Never calls back into curl, even if curl wants to run at once. */
static int on_timer_change(CURLM *multi, long timeout_ms, void *arg)
{
    struct http *http = arg;

    if (timeout_ms < 0)
        timer_stop(http->timer);
    else
        timer_start(http->timer, (uint64_t)timeout_ms);
    return 0;
}

/* `socket_arg` is the socket's event, NULL at first. It may be the one whose callback is running: libevent
 * allows freeing that. */
static int on_socket_change(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http *http = arg;
    struct event *event = NULL;

    if (socket_arg)
        event_free(socket_arg);
    if (what != CURL_POLL_REMOVE) {
        int kinds = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);
        event = event_new(http->base, fd, (short)(kinds | EV_PERSIST), on_socket, http);
        if (!event || event_add(event, NULL) < 0)
            abort();
    }
    curl_multi_assign(http->multi, fd, event);
    return 0;
}

static bool set_up_curl(struct http *http, struct error *error)
{
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);

    if (!(curl->features & CURL_VERSION_ASYNCHDNS) || !(curl->features & CURL_VERSION_SSL))
        return error_set(error, ERROR_SYSTEM, "libcurl %s here was built without %s; install another one",
                         curl->version,
                         curl->features & CURL_VERSION_SSL ? "a resolver that does not block" : "TLS");
    http->multi = curl_multi_init();
    http->timer = timer_new(http->base, on_timer, http);
    http->resume = timer_new(http->base, on_resume, http);
    if (!http->multi)
        return error_set(error, ERROR_SYSTEM, "there is no memory for downloads; free some and try again");
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket_change);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer_change);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(http->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)http->transport.connections);
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)http->transport.connections);
    return true;
}

/* ---- for the callers ---- */

bool http_new(struct event_base *base, const struct http_settings *settings, struct http **ret_http,
              struct error *error)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return error_set(error, ERROR_SYSTEM, "libcurl does not start; reinstall it");

    struct http *http = alloc_zeroed(sizeof(*http));
    http->base = base;
    TAILQ_INIT(&http->requests);
    if (!http_transport_init(&http->transport, settings, error) || !set_up_curl(http, error)) {
        destroy(http);
        return false;
    }
    *ret_http = http;
    return true;
}

struct http *http_free(struct http *http)
{
    struct http_request *request, *next;

    if (!http)
        return NULL;
    bool busy = http->busy;
    /* So that places that get free are not given to other requests. */
    http->busy = true;
    for (request = TAILQ_FIRST(&http->requests); request; request = next) {
        next = TAILQ_NEXT(request, entry);
        http_cancel(request);
    }
    http->closing = true;
    if (!busy)
        destroy(http);
    return NULL;
}

static struct http_request *start(struct http *http, struct http_request *request, http_done_fn done,
                                  void *owner)
{
    assert(!http->closing);
    http->was_used = true;
    request->http = http;
    request->done = done;
    request->owner = owner;
    TAILQ_INSERT_TAIL(&http->requests, request, entry);
    if (!http->busy)
        sweep(http);
    return request;
}

struct http_request *http_get(struct http *http, const struct http_get *get, http_done_fn done, void *owner)
{
    return start(http, http_request_new_get(&http->transport, get), done, owner);
}

struct http_request *http_get_range(struct http *http, const struct http_get_range *get, http_done_fn done,
                                    void *owner)
{
    return start(http, http_request_new_range(&http->transport, get), done, owner);
}

struct http_request *http_cancel(struct http_request *request)
{
    if (!request || request->state == HTTP_REQUEST_STATE_DONE ||
        request->state == HTTP_REQUEST_STATE_CANCELLED)
        return NULL;

    struct http *http = request->http;
    if (http->in_curl && request->state == HTTP_REQUEST_STATE_ACTIVE) {
        request->state = HTTP_REQUEST_STATE_CANCELLED;
        return NULL;
    }
    release(http, request);
    if (!http->busy)
        sweep(http);
    return NULL;
}

struct event_base *http_base(const struct http *http)
{
    return http->base;
}

bool http_was_used(const struct http *http)
{
    return http->was_used;
}

uint64_t http_wish_ms(const struct http *http)
{
    uint64_t now_ns = wall_clock_steady_ns();

    return http->wish_until_ns > now_ns ? (http->wish_until_ns - now_ns) / 1000000 : 0;
}

uint64_t http_deadline_ms(const struct http *http, uint64_t bytes)
{
    return http_transport_deadline_ms(&http->transport, bytes);
}

uint64_t http_requests_made(const struct http *http)
{
    return http->transport.requests_made;
}

uint64_t http_received_bytes(const struct http *http)
{
    return http->transport.received_bytes;
}
