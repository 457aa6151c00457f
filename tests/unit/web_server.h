/* SPDX-License-Identifier: MIT */
/*
 * Runs tests/integration/evil_server.py as a child process of a unit test, and keeps what became of requests
 * to it. Fails the running test if something cannot be set up. One thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>

#include "common/io/http.h"

struct web_server {
    int pid;
    int input; /* the server ends when this is closed */
    unsigned port;
    bool tls;
    char root[64]; /* the folder that is served, removed by web_server_stop() */
};

/* Serves a new folder with the file `image` of `size` bytes, by TLS if `certificate` and `key` are given. */
void web_server_start(struct web_server *server, const void *image, size_t size, const char *certificate,
                      const char *key);

void web_server_stop(struct web_server *server);

/* The URL of a path there; freed by the caller. */
char *web_server_url(const struct web_server *server, const char *path);

/* What became of a request. */
struct web_result {
    bool done;
    enum http_outcome outcome;
    enum error_kind kind;
    char message[512];
    long status;
    char etag[256];
    char last_modified[64];
    uint64_t total_size, retry_after_ms, received_bytes;
    char *body;
    size_t body_size;
    size_t progress_bytes;
};

/* The callbacks for http_get() and http_get_range(); `owner` is a zeroed struct web_result. */
void web_result_set(void *owner, struct http_response *response);
void web_result_progress(void *owner, size_t bytes);

/* Runs the loop until *done is true, for at most 20 seconds. */
void web_wait(struct event_base *base, const bool *done);
