/* SPDX-License-Identifier: MIT */
/*
 * A web server on the test's loop: serves a few files with ranges and ETags, makes faults on demand, and
 * counts how often each byte was sent, so that a test can check that nothing was fetched twice.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct range_server;
struct url;

enum range_fault {
    RANGE_FAULT_NONE,
    RANGE_FAULT_HALF,      /* half the body, then the end */
    RANGE_FAULT_UNENDED,   /* the whole body in chunks, then the end without the last chunk, of size 0 */
    RANGE_FAULT_BAD_BYTES, /* all bytes of the body inverted */
    RANGE_FAULT_BUSY,      /* 503 */
    RANGE_FAULT_MISSING,   /* 404 */
    RANGE_FAULT_SILENT,    /* no answer */
};

/* Called before each answer, to requests for `size` bytes at `offset` of the file `path`. */
typedef enum range_fault (*range_fault_fn)(void *owner, const char *path, uint64_t offset, uint64_t size);

struct range_file {
    const char *path; /* "/image" */
    const uint8_t *data;
    size_t size;
    const char *etag; /* with its quotes; NULL = none */
    /* Counted by the server: */
    unsigned requests;
    uint64_t asked_bytes, sent_bytes;
    uint8_t *sent; /* how often each byte was sent */
};

struct range_server *range_server_new(struct event_base *base);
void range_server_free(struct range_server *server);

/* Serves a file, or replaces the one at that path. Data and texts must outlive the server. The file that is
 * returned is owned by the server. */
struct range_file *range_server_put(struct range_server *server, const char *path, const void *data,
                                    size_t size, const char *etag);

void range_server_set_fault(struct range_server *server, range_fault_fn fault, void *owner);

/* The URL of a file there, freed by url_free(). */
struct url *range_server_url(const struct range_server *server, const char *path);
