/* SPDX-License-Identifier: MIT */
/*
 * Parses the head of an HTTP/1.1 request strictly: what is ambiguous is refused, not guessed. Pure: bytes
 * in, a struct or a refusal out. Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    API_HTTP_METHOD_SIZE = 16,
    API_HTTP_PATH_SIZE =
        128, /* a longer path is cut; the API has none of that length, so the answer is 404 anyway */
};

/* What the server needs to know of a head. */
struct api_http_head {
    size_t size; /* bytes up to and with the empty line */
    char method[API_HTTP_METHOD_SIZE];
    char path[API_HTTP_PATH_SIZE]; /* without query */
    uint64_t content_length;
    bool is_http_1_0;
    bool keep_alive;
    bool expects_continue;
};

/* Why the bytes are refused as a request. The connection has to end, as it is not known where the next
 * request begins. */
struct api_http_refusal {
    unsigned http_status;
    const char *code;
    const char *message;
};

enum api_http_result {
    API_HTTP_INCOMPLETE, /* more bytes are needed */
    API_HTTP_WHOLE,      /* *ret_head is filled */
    API_HTTP_REFUSED,    /* *ret_refusal is filled */
};

/* Looks at the `size` bytes that have arrived; a head longer than `max_size` is refused. */
enum api_http_result api_http_parse_head(const char *data, size_t size, size_t max_size,
                                         struct api_http_head *ret_head,
                                         struct api_http_refusal *ret_refusal);
