/* SPDX-License-Identifier: MIT */
/*
 * HTTP(S) GET requests on the one loop: libcurl's multi interface driven by libevent. The only user of curl
 * for the network. Whatever a server does wrong becomes one of the outcomes here; callers never see a
 * half-checked answer. Each call makes one attempt: whether and when to try again is the caller's decision
 * (see common/io/backoff.h). Nothing here blocks; name resolution runs on curl's own resolver thread. The
 * loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct event_base;
struct http;
struct http_request;

enum {
    HTTP_CONNECTIONS_DEFAULT = 4,
    HTTP_CONNECTIONS_MAX = 32,
};

/* How all requests of one http are made. Strings are copied by http_new(); zero or NULL takes the default. */
struct http_settings {
    unsigned connections; /* also requests at the same time, up to HTTP_CONNECTIONS_MAX; further ones wait;
                             default 4 */
    uint64_t rate_limit_bytes_s; /* of all downloads together, which take turns; default no limit */
    uint64_t stall_timeout_ms; /* a request slower than 100 bytes/s for so long has failed (in whole seconds,
                                  by curl's average over five); a connection not made in that time, or 30 s,
                                  too; default 30 s. See http_deadline_ms() for requests as a whole */
    const char *proxy;         /* default: curl's environment variables */
    const char *ca_file;       /* PEM, instead of the system's */
    const char *client_certificate; /* PEM; shown to servers that ask for one */
    const char *client_key;         /* PEM, not encrypted */
    const char *pinned_public_key;  /* see http_settings_check_pins(); nothing but https is spoken then, and
                                       each server, after a redirect as well, must show one of these keys */
    const char *const *headers;     /* "Name: value", NULL-terminated; see http_settings_check_header() */
    const char *headers_for;        /* the URL whose scheme, host and port get the headers, nobody else does;
                                       default: the URL of each request, not where it is redirected to */
};

/* What became of a request. */
enum http_outcome {
    HTTP_OUTCOME_OK,           /* the body is whole; of a range it may be the first part (see body_size) */
    HTTP_OUTCOME_NOT_MODIFIED, /* 304 to a conditional request */
    HTTP_OUTCOME_CHANGED,      /* the entity is no longer the one pinned: other ETag, other total size, 200 to
                                  If-Range, 416, or 404/410 to a pinned range */
    HTTP_OUTCOME_TRANSIENT, /* it may pass: no connection, reset, short body, stall, 408, 429, 5xx except 501,
                               505 and 511 */
    HTTP_OUTCOME_FAILED,    /* it will not pass: 404, 403, 501, no ranges, encoded, padded or long body, bad
                               redirect, TLS refusal */
};

/* The answer, valid only during the http_done_fn call. */
struct http_response {
    enum http_outcome outcome;
    struct error error;        /* set unless OK or NOT_MODIFIED; names the URL as url_for_display() does. Its
                                  code is EKEYEXPIRED where a certificate is refused for its dates, EFBIG where
                                  the body has more bytes than are allowed */
    long status;               /* the last HTTP status, 0 if none came */
    const char *etag;          /* as sent, weak ones included; NULL if none */
    const char *last_modified; /* as sent; NULL if none */
    uint64_t total_size;       /* of the entity: from Content-Range, or the body's size on 200 */
    uint64_t retry_after_ms;   /* 0 = not asked for; at most one hour */
    uint64_t received_bytes; /* all that came, useful or not: bodies (of redirects, too, and with what chunked
                                encoding adds), and headers beyond the first 4 KiB */
    bool redirected;       /* another server answered; asked again, the first may redirect to a better one */
    bool if_range_unheard; /* it FAILED because a matching If-Range was answered with the whole entity:
                              without If-Range the server may answer ranges */
    char *body;       /* http_get(): the body, zero-terminated one past body_size; the callback may take it by
                         setting it to NULL. http_get_range(): NULL, the caller has the buffer */
    size_t body_size; /* bytes of the body; of a range that ended OK or TRANSIENT, bytes in the buffer: only
                         the rest needs to be requested again */
};

/* Called exactly once for each request unless http_cancel() came first. It may start and cancel other
 * requests. */
typedef void (*http_done_fn)(void *owner, struct http_response *response);

/* Called as bytes of the requested body arrive, for progress only. It may start and cancel requests. May be
 * NULL. */
typedef void (*http_progress_fn)(void *owner, size_t bytes);

/* Sets up curl on `base`. While nothing is under way, it holds neither a timer nor a socket event there. */
bool http_new(struct event_base *base, const struct http_settings *settings, struct http **ret_http,
              struct error *error);

/* Cancels all requests without calling back, and frees; safe inside any callback. NULL is fine. Returns
 * NULL. */
struct http *http_free(struct http *http);

/* The loop that it was set up on. */
struct event_base *http_base(const struct http *http);

/* Whether a request was made since http_new(), so that connections may be open. */
bool http_was_used(const struct http *http);

/* A whole file into memory, within http_deadline_ms(). If the server announces neither a length nor chunks,
 * the body counts as whole when the connection is closed in order. That proves nothing: check a digest or the
 * content's syntax. */
struct http_get {
    const char *url;
    size_t max_size;               /* a longer body is FAILED as soon as that is known, without reading it */
    const char *if_none_match;     /* an ETag: makes the request conditional; NULL = no */
    const char *if_modified_since; /* a Last-Modified: makes it conditional if there is no ETag; NULL = no */
    http_progress_fn progress;
};

/* Starts the request; `owner` goes to the callbacks. Strings are copied. The result lives until the callback
 * returns or http_cancel(). */
struct http_request *http_get(struct http *http, const struct http_get *get, http_done_fn done, void *owner);

/* A range of a file into the caller's buffer. */
struct http_get_range {
    const char *url;
    uint64_t offset;
    size_t size;      /* bytes, at least 1 */
    uint8_t *buffer;  /* of `size` bytes; written until the callback or http_cancel() */
    const char *etag; /* pins the entity: sent as If-Range where strong, and compared with the answer's; NULL
                         = not known yet */
    uint64_t total_size; /* the entity's size where known, compared with Content-Range's; 0 = not known */
    bool no_if_range;    /* no If-Range is sent: only the answer's ETag is compared */
    bool deadline; /* the request as a whole has a deadline, as with http_get(): see http_deadline_ms() */
    http_progress_fn progress;
};

/* Starts a request for one range. OK is only an unencoded 206 that has the first requested byte. It may have
 * less than was requested, but at least 4 KiB (see body_size), or more, of which only the requested part is
 * taken. 200 is FAILED ("does not answer range requests", see if_range_unheard) or CHANGED, unless the range
 * is the whole entity. */
struct http_request *http_get_range(struct http *http, const struct http_get_range *get, http_done_fn done,
                                    void *owner);

/* Ends the request without a callback; safe inside any callback, also its own. NULL is fine. Returns NULL. */
struct http_request *http_cancel(struct http_request *request);

/* For how many more milliseconds the server asked not to be asked: by Retry-After of the last answer that had
 * one, unless a request was answered well since. At most one hour. */
uint64_t http_wish_ms(const struct http *http);

/* How many milliseconds a request that has brought `bytes` may have taken: four stall timeouts, plus the time
 * that the bytes take at 1 KiB/s, or at the share of a lower rate limit. So a slow line has enough time, and
 * a server that sends single bytes just fast enough not to stall is cut off after two minutes. Applies to
 * files of moderate size, for which somebody waits, and to the beginning of every answer. Time spent waiting
 * for a free connection does not count. */
uint64_t http_deadline_ms(const struct http *http, uint64_t bytes);

/* How many requests went out so far, including redirects and repeated ones. */
uint64_t http_requests_made(const struct http *http);

/* All bytes received by all requests so far: see http_response::received_bytes. */
uint64_t http_received_bytes(const struct http *http);
