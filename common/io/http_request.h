/* SPDX-License-Identifier: MIT */
/*
 * One request: curl's handle, what was requested, what came so far, and in the end the judged answer. When it
 * runs and whom it calls back is decided by common/io/http.c, the only caller. Never blocks; the loop's
 * thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <curl/curl.h>

#include "common/base/error.h"
#include "common/io/http.h"
#include "common/io/http_answer.h"
#include "common/io/http_tally.h"
#include "common/io/http_transport.h"

enum http_request_state {
    HTTP_REQUEST_STATE_WAITING,   /* for its turn */
    HTTP_REQUEST_STATE_ACTIVE,    /* in curl's hands */
    HTTP_REQUEST_STATE_CANCELLED, /* still in curl's hands, to be freed as soon as curl returns */
    HTTP_REQUEST_STATE_DONE,      /* its callback is running */
};

struct http_request {
    TAILQ_ENTRY(http_request) entry; /* http::requests */
    struct http *http;
    enum http_request_state state;
    http_done_fn done;
    http_progress_fn progress;
    void *owner;

    struct http_transport *transport;
    CURL *easy;
    char *url;
    struct curl_slist *own_fields; /* header fields that moonsinter sends */
    struct curl_slist *all_fields; /* own_fields and the user's */
    struct http_question question;
    struct http_answer answer;
    bool https_only;   /* some hop was encrypted, or a key is pinned, so all further hops must be encrypted */
    bool body_welcome; /* the header is complete and belongs to the requested body */
    uint64_t lead;     /* of a range's body: bytes still to come before the requested ones */
    size_t fit;        /* requested bytes that the body has */
    uint64_t surplus;  /* bytes that came after the requested ones */
    bool enough;       /* the surplus got so large that its end is not waited for */
    bool too_long;     /* the body or the header is too long */
    bool passed_too_long; /* the body of a redirect is too long */
    bool padded;          /* far more came beside the body than chunked encoding explains */
    bool too_slow;        /* the request as a whole: see http_deadline_ms() */
    bool no_memory;
    uint64_t paused;   /* by the rate limit: the number of the pause, 0 = not paused */
    uint64_t begun_ns; /* when curl began with it; 0 = not yet */
    bool has_deadline;
    struct http_tally tally;
    uint64_t counted_bytes; /* how many of the tally's bytes are in the sum of all requests */
    char *body;             /* the caller's buffer for a range, else the request's own */
    size_t body_size, body_capacity;
    char reason[CURL_ERROR_SIZE]; /* why curl gave up, in its words */
};

/* A request for a whole file, WAITING; the caller still sets the callbacks. */
struct http_request *http_request_new_get(struct http_transport *transport, const struct http_get *get);

/* A request for a range, WAITING; the caller still sets the callbacks. */
struct http_request *http_request_new_range(struct http_transport *transport,
                                            const struct http_get_range *get);

/* Frees a request that curl no longer has. */
void http_request_free(struct http_request *request);

/* Judges the request when curl is done with it. The body then belongs to the response; everything else in the
 * response lives as long as the request. */
void http_request_take_response(struct http_request *request, CURLcode code,
                                struct http_response *ret_response);
