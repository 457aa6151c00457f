/* SPDX-License-Identifier: MIT */
/*
 * One request: curl's handle for it, what it was asked for, what came so far, and in the end what it was. How
 * it comes to run, and who is called back, is common/io/http.c's business, of which this is a part and which
 * is its only caller. Never blocks; the loop's thread only.
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
    HTTP_REQUEST_STATE_CANCELLED, /* likewise, to be freed as soon as curl returns */
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
    struct curl_slist *own_fields; /* what we send ourselves */
    struct curl_slist *all_fields; /* and the user's */
    struct http_question question;
    struct http_answer answer;
    bool https_only;   /* some hop was encrypted, or a key is pinned, so that none from here on may not be */
    bool body_welcome; /* the header is complete, and that of the body asked for */
    uint64_t lead;     /* of a range's body: bytes that still come before what was asked for */
    size_t fit;        /* and how many are of that */
    uint64_t surplus;  /* how many came after that */
    bool enough;       /* so many that the rest is not waited for */
    bool too_long;     /* the body, or the header */
    bool passed_too_long; /* the body of a redirect */
    bool padded;          /* far more came beside the body than it explains */
    bool too_slow;        /* as a whole: see http_deadline_ms() */
    bool no_memory;
    uint64_t paused;   /* by the rate limit: the number of the pause, 0 = not paused */
    uint64_t begun_ns; /* when curl began with it, 0 = not yet */
    bool has_deadline;
    struct http_tally tally;
    uint64_t counted_bytes; /* of the tally's, in that of all requests */
    char *body;             /* the caller's buffer for a range, else ours */
    size_t body_size, body_capacity;
    char reason[CURL_ERROR_SIZE]; /* why curl gave up, in its words */
};

/* A request for a whole file, WAITING and complete but for the callbacks. */
struct http_request *http_request_new_get(struct http_transport *transport, const struct http_get *get);

/* Likewise for a range. */
struct http_request *http_request_new_range(struct http_transport *transport,
                                            const struct http_get_range *get);

/* Frees a request that curl no longer has. */
void http_request_free(struct http_request *request);

/* What became of it, once curl is through with it. The body is the response's then; the rest lives as long as
 * the request. */
void http_request_take_response(struct http_request *request, CURLcode code,
                                struct http_response *ret_response);
