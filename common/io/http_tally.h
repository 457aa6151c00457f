/* SPDX-License-Identifier: MIT */
/*
 * How many bytes a request brought. Every one counts that a server can send as many of as it likes: those of
 * bodies, whoever reads them; what chunked encoding adds to a body, such as extensions of chunks, which curl
 * reads and hands to nobody; and those of headers, as far as they are more than usual. What TLS and HTTP/2
 * add is not seen. Pure: part of common/io/http.c, knows nothing of curl but how it counts. Never blocks; any
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_TALLY_HEADER_FREE = 4 * 1024, /* bytes of all header lines of a request that do not count */
    /* Bytes that an answer may have beside its body, and for each byte of that. Chunks of one byte each cost
     * five more, so that no honest way of cutting comes near; and what a pause has left in curl's hands is
     * less. */
    HTTP_TALLY_BESIDE_MAX = 256 * 1024,
    HTTP_TALLY_BESIDE_PER_BYTE = 8,
};

/* All zeros is one to which nothing came. */
struct http_tally {
    uint64_t told_bytes;                /* of the newest answer's body, which we were given */
    uint64_t passed_bytes;              /* of that, which curl kept to itself */
    uint64_t wire_bytes;                /* of that, with what chunked encoding adds; 0 where curl hides it */
    uint64_t curl_bytes, earlier_bytes; /* curl's own count, and what it was before the newest answer */
    uint64_t answer_bytes;              /* that count, of the newest answer */
    uint64_t header_bytes;              /* of all answers */
    uint64_t bytes;                     /* that count, of all answers: what it is all for */
};

/* A header line of `size` bytes. */
void http_tally_take_header(struct http_tally *tally, size_t size);

/* An answer's header is complete, and its body begins. */
void http_tally_begin_body(struct http_tally *tally);

/* `size` bytes of the body, as they came: before they are decoded and handed on. */
void http_tally_take_wire(struct http_tally *tally, size_t size);

/* `size` bytes of the body, decoded. */
void http_tally_take_body(struct http_tally *tally, size_t size);

/* The body of a redirect that it follows curl reads to its end by itself, so that the connection can be used
 * again, and tells nobody. `now` is its own count of the body under way, and that of the one before until the
 * first byte comes. To be called with each of its counts, `look` false where they are of a body that we are
 * given: before a header is complete, and while curl keeps bytes for us. */
void http_tally_take_count(struct http_tally *tally, uint64_t now, bool look);

/* How many bytes came beside the newest answer's body, with none kept by curl for us. */
uint64_t http_tally_beside(const struct http_tally *tally);

/* Whether those are more than any way of sending that body explains. */
bool http_tally_is_too_much(const struct http_tally *tally);
