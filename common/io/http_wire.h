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

struct http_wire {
    int socket;      /* of the connection under way; -1 = none that is known */
    bool known;      /* the kernel tells */
    bool counting;   /* the answer's header came, by a connection that carries nothing else meanwhile */
    uint64_t before; /* what had been read from that socket when it was looked at last */
    uint64_t bytes;  /* read for the request so far, over all its connections */
};

void http_wire_init(struct http_wire *wire);

/* The connection has `socket` from now on, and may have carried other requests before; -1 = none. Bytes count
 * from here. */
void http_wire_use(struct http_wire *wire, int socket);

/* A request is about to be sent, by that connection or by another: what came before is of no answer to it. */
void http_wire_ask(struct http_wire *wire);

/* The answer's header came. Where the connection is `shared` with other requests at the same time, as with
 * HTTP/2, nothing is counted. */
void http_wire_answered(struct http_wire *wire, bool shared);

/* Looks at what came meanwhile; false where that is too much for `bytes` of headers and bodies. */
bool http_wire_look(struct http_wire *wire, uint64_t bytes);

/* How much more came than such headers and bodies should cost. */
uint64_t http_wire_excess(const struct http_wire *wire, uint64_t bytes);
