/* SPDX-License-Identifier: MIT */
/*
 * How many bytes a request brought. All bytes count of which a server can send as many as it likes: bodies,
 * whoever reads them; what chunked encoding adds to a body, such as extensions of chunks, which curl reads
 * and passes to nobody; and headers, beyond the usual size. What TLS and HTTP/2 add is not seen. Pure: only
 * for common/io/http*.c, knows of curl only how it counts. Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_TALLY_HEADER_FREE = 4 * 1024, /* so many bytes of a request's header lines do not count */
    /* Bytes that an answer may have beside its body: a fixed number, and so many for each byte of the body.
     * Chunks of one byte cost five more each, so no honest way of chunking comes near; what curl keeps during
     * a pause is less, too. */
    HTTP_TALLY_BESIDE_MAX = 256 * 1024,
    HTTP_TALLY_BESIDE_PER_BYTE = 8,
};

/* All zeros: nothing was counted as yet. */
struct http_tally {
    uint64_t told_bytes;   /* of the newest answer's body: given to us */
    uint64_t passed_bytes; /* of the newest answer's body: kept by curl for itself */
    uint64_t wire_bytes;   /* the newest body with what chunked encoding adds; 0 if curl hides it */
    uint64_t curl_bytes, earlier_bytes; /* curl's own count, and what it was before the newest answer */
    uint64_t answer_bytes;              /* of the newest answer, as far as they count */
    uint64_t header_bytes;              /* of all answers */
    uint64_t bytes;                     /* the result: bytes of all answers that count */
};

/* A header line of `size` bytes. */
void http_tally_take_header(struct http_tally *tally, size_t size);

/* An answer's header is complete, and its body begins. */
void http_tally_begin_body(struct http_tally *tally);

/* `size` bytes of the body, as they came: before they are decoded and handed on. */
void http_tally_take_wire(struct http_tally *tally, size_t size);

/* `size` bytes of the body, decoded. */
void http_tally_take_body(struct http_tally *tally, size_t size);

/* For the body of a redirect, which curl reads to its end itself, so that the connection can be used again,
 * and passes to nobody. `now` is curl's own count of the present body; until its first byte it is still the
 * count of the one before. To be called with each count that curl reports; `look` is false if the count may
 * be of a body that is passed to us: before a header is complete, and while curl keeps bytes for us. */
void http_tally_take_count(struct http_tally *tally, uint64_t now, bool look);

/* How many bytes came beside the newest answer's body; valid only while curl keeps none for us. */
uint64_t http_tally_beside(const struct http_tally *tally);

/* Whether http_tally_beside() is more than any honest way of sending the body explains. */
bool http_tally_is_too_much(const struct http_tally *tally);
