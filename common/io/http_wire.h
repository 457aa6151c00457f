/*
 * What a connection brought, counted by the kernel: the extensions of chunks, and trailers, pass by everybody
 * who looks at bodies, and a server may send them without end. Where the kernel does not tell, nothing is
 * counted and nothing refused. Part of common/io/http.c; knows nothing of curl. Never blocks; the loop's
 * thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    /* So much more than header and body a request may have brought, and an eighth of them: the marks of small
     * chunks, TLS's records, and what is read of one but not handed on yet. */
    HTTP_WIRE_EXCESS_MAX = 64 * 1024,
    /* Likewise, that is not worth counting. */
    HTTP_WIRE_EXCESS_SMALL = 2 * 1024,
};

/* All zeros is one that counts nothing yet. */
struct http_wire {
    int socket;      /* of the connection under way */
    bool known;      /* the kernel tells */
    bool counting;   /* the answer's header came, by a connection that carries nothing else meanwhile */
    uint64_t before; /* what had been read from that socket when it was looked at last */
    uint64_t bytes;  /* read for the request so far, over all its connections */
};

/* A request is about to be sent by the connection of `socket`, which may have carried others; -1 = not known.
 */
void http_wire_begin(struct http_wire *wire, int socket);

/* The port of `socket` on this side, -1 = it has none. */
int http_wire_port(int socket);

/* The answer's header came. Where the connection is `shared` with other requests at the same time, as with
 * HTTP/2, nothing is counted. */
void http_wire_answered(struct http_wire *wire, bool shared);

/* Looks at what came meanwhile; false where that is too much for `bytes` of headers and bodies. */
bool http_wire_look(struct http_wire *wire, uint64_t bytes);

/* How much more came than such headers and bodies should cost. */
uint64_t http_wire_excess(const struct http_wire *wire, uint64_t bytes);
