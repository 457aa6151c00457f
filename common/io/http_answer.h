/* SPDX-License-Identifier: MIT */
/*
 * What a server's answer means: its header read line by line, and judged against what was asked for. Pure:
 * knows neither curl nor sockets nor the loop, so that every lie a server can tell is tested without one.
 * Part of common/io/http.c, which is its only caller. Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/io/http.h"

enum {
    HTTP_ANSWER_HEADER_MAX = 64 * 1024,     /* bytes of all header lines of a request, redirects included */
    HTTP_ANSWER_RETRY_MAX_MS = 3600 * 1000, /* a server may not put us off for longer than an hour */
    HTTP_ANSWER_ETAG_SIZE = 256,            /* a longer ETag counts as none */
    HTTP_ANSWER_DATE_SIZE = 64,             /* likewise Last-Modified */
    HTTP_ANSWER_PART_MIN = 4 * 1024,        /* bytes of a range that an answer must have, where not all */
    HTTP_ANSWER_LEAD_MAX = 2 * 1024 * 1024, /* bytes before it: a cache's blocks have 1 MiB or 2 */
    HTTP_ANSWER_URL_SHOWN = 200,            /* bytes of a URL in a message, so that the sentence survives */
};

/* What was asked for. */
struct http_question {
    bool range;          /* http_get_range(), else http_get() */
    bool conditional;    /* If-None-Match or If-Modified-Since went out */
    bool if_range;       /* If-Range went out, with `etag` */
    uint64_t offset;     /* range: first byte */
    size_t size;         /* range: bytes; else the most bytes taken */
    uint64_t total_size; /* range: the entity's pinned size, 0 = not known */
    char *etag;          /* range: the pinned ETag, NULL = not known */
};

/* What is known of the newest response (redirects and 1xx go before the last one). */
struct http_answer {
    long status;
    bool complete;              /* the header's empty line was seen */
    bool encoded;               /* a Content-Encoding that compresses */
    bool html;                  /* a Content-Type of web pages */
    bool has_length, has_range; /* Content-Length, Content-Range: there, and understood */
    bool bad_range;             /* Content-Range: there, and not understood */
    uint64_t length;
    uint64_t range_first, range_last;
    uint64_t range_total; /* 0 where the server wrote "*" */
    uint64_t retry_after_ms;
    int64_t retry_at, date; /* seconds since the epoch, 0 = not sent */
    char etag[HTTP_ANSWER_ETAG_SIZE];
    char last_modified[HTTP_ANSWER_DATE_SIZE];
    size_t header_bytes; /* of all responses of the request */
};

/* Takes one header line, its end included; false when there were more bytes than HTTP_ANSWER_HEADER_MAX.
 * Lines after a final response's header (trailers) are not looked at. */
bool http_answer_take_line(struct http_answer *answer, const char *line, size_t size);

/* The wait the server asked for, with dates measured by its own Date, or `now` (seconds since the epoch). */
uint64_t http_answer_retry_after_ms(const struct http_answer *answer, int64_t now);

/* Judges a complete header: OK means that the body, if of the right size, is what was asked for. `where` is
 * the URL as messages show it. */
enum http_outcome http_answer_judge(const struct http_answer *answer, const struct http_question *question,
                                    const char *where, struct error *error);

/* Of the body of a range's answer that is OK: how many of its bytes are of what was asked for, and how many
 * come before those. */
size_t http_answer_fit(const struct http_answer *answer, const struct http_question *question,
                       uint64_t *ret_lead);

/* Whether a server answers with the whole entity to an If-Range that names that very entity. */
bool http_answer_if_range_unheard(const struct http_answer *answer, const struct http_question *question);

/* A body that begins as a web page does, which nothing that is published does. */
bool http_answer_is_page(const char *body, size_t size);

/* Says so; returns HTTP_OUTCOME_FAILED. */
enum http_outcome http_answer_set_page(const char *where, struct error *error);

/* Whether the ETags name the same entity, by HTTP's weak comparison. */
bool http_answer_etags_match(const char *a, const char *b);

/* Whether If-Range may carry it: a strong entity-tag, well-formed. */
bool http_answer_etag_is_strong(const char *etag);
