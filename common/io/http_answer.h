/* SPDX-License-Identifier: MIT */
/*
 * What a server's answer means: reads its header line by line, and judges it against what was requested.
 * Pure: knows neither curl nor sockets nor the loop, so that every wrong answer can be tested without a
 * server. Only for common/io/http*.c. Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/io/http.h"

enum {
    HTTP_ANSWER_HEADER_MAX = 64 * 1024,     /* bytes of all header lines of a request, redirects included */
    HTTP_ANSWER_RETRY_MAX_MS = 3600 * 1000, /* a longer Retry-After counts as an hour */
    HTTP_ANSWER_ETAG_SIZE = 256,            /* a longer ETag counts as none */
    HTTP_ANSWER_DATE_SIZE = 64,             /* a longer Last-Modified counts as none */
    HTTP_ANSWER_PART_MIN = 4 * 1024, /* bytes of a range that an answer must have if it does not have all */
    HTTP_ANSWER_LEAD_MAX =
        2 * 1024 * 1024, /* bytes an answer may have before the range: caches have blocks of 1 or 2 MiB */
    HTTP_ANSWER_URL_SHOWN = 200, /* bytes of a URL in a message, so that there is room for the sentence */
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

/* What is known of the newest response; redirects and 1xx come before the last one. */
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

/* Takes one header line with its line end; false once there were more bytes than HTTP_ANSWER_HEADER_MAX.
 * Lines after a final response's header (trailers) are not looked at. */
bool http_answer_take_line(struct http_answer *answer, const char *line, size_t size);

/* The wait the server asked for. A date in Retry-After is taken relative to the server's Date, or to `now`
 * (seconds since the epoch) if it sent none. */
uint64_t http_answer_retry_after_ms(const struct http_answer *answer, int64_t now);

/* Judges a complete header: OK means that the body, if of the right size, is what was asked for. `where` is
 * the URL as messages show it. */
enum http_outcome http_answer_judge(const struct http_answer *answer, const struct http_question *question,
                                    const char *where, struct error *error);

/* For the answer to a range that was judged OK: how many bytes of its body belong to the range, and how many
 * come before them. */
size_t http_answer_fit(const struct http_answer *answer, const struct http_question *question,
                       uint64_t *ret_lead);

/* Whether the server answered with the whole entity although If-Range named exactly that entity. */
bool http_answer_if_range_unheard(const struct http_answer *answer, const struct http_question *question);

/* Whether a body begins like a web page, as no published file does. */
bool http_answer_is_page(const char *body, size_t size);

/* Sets the error for a web page in place of the file; returns HTTP_OUTCOME_FAILED. */
enum http_outcome http_answer_set_page(const char *where, struct error *error);

/* Whether the ETag may be sent in If-Range: it is strong and well-formed. */
bool http_answer_etag_is_strong(const char *etag);
