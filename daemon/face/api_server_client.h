/* SPDX-License-Identifier: MIT */
/*
 * One connection of the API's server, from its first byte to its last. A client sends a request, gets its
 * reply, and sends the next: one at a time and one in each turn of the loop, so that a client that
 * pipelines does not keep others waiting. Called by daemon/face/api_server.c only, which owns the set of
 * clients. Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/io/later.h"
#include "common/io/timer.h"
#include "daemon/face/api.h"
#include "daemon/face/api_server.h"

struct bufferevent;

enum api_client_state {
    API_CLIENT_READING,   /* waiting for a request, or for the rest of one */
    API_CLIENT_REPLYING,  /* the reply is on its way out; nothing is read meanwhile */
    API_CLIENT_STREAMING, /* GET /v1/events */
    API_CLIENT_LINGERING, /* the last reply is out; waiting for the client to close */
    API_CLIENT_CLOSED,    /* on the list of the closed, freed by the loop */
};

struct api_client {
    TAILQ_ENTRY(api_client) link; /* api_client_set::open or ::closed */
    struct api_client_set *set;
    struct bufferevent *bufferevent;
    struct timer *deadline;
    enum api_client_state state;
    uid_t uid; /* of the user who connected */
    bool may_change;
    bool keep_alive;
    bool is_http_1_0;
    bool is_half_closed;   /* the peer sends no more, but may still read */
    bool is_continue_sent; /* 100 Continue was sent for this request */
    size_t discarded_bytes;
};

TAILQ_HEAD(api_client_list, api_client);

struct api_client_set {
    struct event_base *base;
    struct api_backend backend;
    struct api_server_limits limits; /* no zeroes: defaults are filled in */
    struct api_client_list open;     /* in the order in which they began to wait, or to be answered */
    struct api_client_list closed;
    struct later *reap; /* frees closed clients later, since one may be closed within its own callback */
    unsigned open_count;
    unsigned stream_count;
};

/* Takes over a connected, non-blocking `fd` and reads its first request; the client enters set->open. */
void api_client_start(struct api_client_set *set, int fd, uid_t uid, bool may_change);

/* Sends a line to a client in API_CLIENT_STREAMING; one that has left too much unread is closed instead. */
void api_client_write_line(struct api_client *client, const char *line, size_t size);

/* Ends the connection and moves the client to set->closed, which the loop empties with api_client_free(). */
void api_client_close(struct api_client *client);

/* At the end of the server: ends a stream properly, sends what the socket takes at once, and closes. */
void api_client_flush_and_close(struct api_client *client);

/* Frees a closed client, which is on no list any more. */
void api_client_free(struct api_client *client);
