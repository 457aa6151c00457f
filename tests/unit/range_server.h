/* SPDX-License-Identifier: MIT */
/*
 * A web server on the test's own loop: a few files with ranges and ETags, faults on demand, and a count of
 * how often each byte was sent, so that a test can say that nothing was fetched twice.
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
    RANGE_FAULT_UNENDED,   /* the whole body in chunks, then the end without the mark that it was all */
    RANGE_FAULT_BAD_BYTES, /* all bytes of the body inverted */
    RANGE_FAULT_BUSY,      /* 503 */
    RANGE_FAULT_MISSING,   /* 404 */
    RANGE_FAULT_SILENT,    /* no answer */
};

/* Asked before each answer; offset and size of what was requested of `path`. */
typedef enum range_fault (*range_fault_fn)(void *owner, const char *path, uint64_t offset, uint64_t size);

struct range_file {
    const char *path; /* "/image" */
    const uint8_t *data;
    size_t size;
    const char *etag; /* with its quotes; NULL = none */
    /* what was asked for and sent */
    unsigned requests;
    uint64_t asked_bytes, sent_bytes;
    uint8_t *sent; /* how often, of each byte */
};

struct range_server *range_server_new(struct event_base *base);
void range_server_free(struct range_server *server);

/* Data and texts must outlive the server; may be called again for a path, to replace it. The file is the
 * server's. */
struct range_file *range_server_put(struct range_server *server, const char *path, const void *data,
                                    size_t size, const char *etag);

void range_server_set_fault(struct range_server *server, range_fault_fn fault, void *owner);

/* Freed by url_free(). */
struct url *range_server_url(const struct range_server *server, const char *path);
