/* SPDX-License-Identifier: MIT */
/*
 * The API's HTTP/1.1 server on a Unix stream socket: owns the listening socket, the clients and the event
 * streams. Every client is bounded: their number, the size of a request's head and body, the time a
 * request may take to arrive, the time a reply may take to leave, and the output a client leaves unread;
 * one that exceeds a limit is answered 4xx or 503, if it can still read that, and dropped. Nothing blocks
 * (creating the server looks up the group and may); the loop's thread only.
 *
 * Uses bufferevents and not evhttp: libevent 2.1's evhttp has no limit on connections, its timeout is
 * restarted by every byte (so one byte a few seconds holds a connection for ever), its own error replies
 * are HTML that cannot be replaced, and its connections are not reachable before a whole request is there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "daemon/face/api.h"

struct event_base;
struct api_server;

/* Zero means the default in brackets. */
struct api_server_limits {
    unsigned max_clients;  /* [32] connections at a time, half of them event streams. One more takes the place
                              of  another (daemon/face/api_room.h), or is answered 503 */
    size_t max_head_bytes; /* [8 KiB] request line and headers: 413 */
    size_t max_body_bytes; /* [64 KiB] request body: 413 */
    size_t max_unread_bytes;     /* [256 KiB] output waiting for one client */
    unsigned request_timeout_ms; /* [10 s] from the first wait for a request until it has arrived whole, and
                                    the same again for its reply to leave */
};

struct api_server_options {
    struct event_base *base;
    struct api_backend backend;
    const char *socket_path; /* where to listen; also named in errors */
    const char *group;       /* name or number of [Api] Group=; NULL or "" for none */
    int listen_fd;           /* a listening socket from socket activation, taken over on success and
                                never unlinked; -1 to create socket_path */
    struct api_server_limits limits;
};

/* Listens: creates the socket's folder if missing and replaces a stale socket; refuses one on which a live
 * daemon answers, and a path that is no socket. The socket has mode 0660 and the group given. */
bool api_server_new(const struct api_server_options *options, struct api_server **ret_server,
                    struct error *error);

/* Sends what the clients can still take at once, closes them, and unlinks the socket if nobody has replaced
 * it. NULL is fine. Returns NULL. */
struct api_server *api_server_free(struct api_server *server);

/* Sends `object` as one line to every event stream; stays the caller's. A stream with too much unread is
 * dropped. */
void api_server_publish(struct api_server *server, struct json_object *object);

/* Clients on GET /v1/events; with 0 there is no need to build an object for api_server_publish(). */
unsigned api_server_count_streams(const struct api_server *server);
