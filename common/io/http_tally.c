/* SPDX-License-Identifier: MIT */
#include "common/io/http_tally.h"

static uint64_t body_bytes(const struct http_tally *tally)
{
    return tally->told_bytes + tally->passed_bytes;
}

/* Counts bytes of a body once, when they are first seen: on the wire or decoded, whichever is more. */
static void count(struct http_tally *tally)
{
    uint64_t body = body_bytes(tally), seen = tally->wire_bytes > body ? tally->wire_bytes : body;

    tally->bytes += seen - tally->answer_bytes;
    tally->answer_bytes = seen;
}

void http_tally_take_header(struct http_tally *tally, size_t size)
{
    uint64_t before = tally->header_bytes, now = before + size;

    tally->header_bytes = now;
    if (now > HTTP_TALLY_HEADER_FREE)
        tally->bytes += now - (before > HTTP_TALLY_HEADER_FREE ? before : HTTP_TALLY_HEADER_FREE);
}

void http_tally_begin_body(struct http_tally *tally)
{
    tally->told_bytes = tally->passed_bytes = tally->wire_bytes = tally->answer_bytes = 0;
    tally->earlier_bytes = tally->curl_bytes;
}

void http_tally_take_wire(struct http_tally *tally, size_t size)
{
    tally->wire_bytes += size;
    count(tally);
}

void http_tally_take_body(struct http_tally *tally, size_t size)
{
    tally->told_bytes += size;
    count(tally);
}

void http_tally_take_count(struct http_tally *tally, uint64_t now, bool look)
{
    tally->curl_bytes = now;
    if (now != tally->earlier_bytes)
        tally->earlier_bytes = 0;
    if (!look || tally->told_bytes || now == tally->earlier_bytes || now <= tally->passed_bytes)
        return;
    tally->passed_bytes = now;
    count(tally);
}

uint64_t http_tally_beside(const struct http_tally *tally)
{
    uint64_t body = body_bytes(tally);

    return tally->wire_bytes > body ? tally->wire_bytes - body : 0;
}

bool http_tally_is_too_much(const struct http_tally *tally)
{
    return http_tally_beside(tally) > HTTP_TALLY_BESIDE_MAX + HTTP_TALLY_BESIDE_PER_BYTE * body_bytes(tally);
}
