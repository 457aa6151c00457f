/* SPDX-License-Identifier: MIT */
/*
 * The command's side of the daemon's API: HTTP/1.1 over a Unix stream socket, one request at a time,
 * everything that comes back bounded. Blocks, since the command has nothing else to do; an answer is waited
 * for 30 s, the next line of a stream for ever. The main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/json.h"

struct daemon_client;

/* Connects to the daemon's socket. That no daemon runs is a sentence that says how to start it. */
bool daemon_client_new(const char *socket_path, struct daemon_client **ret_client, struct error *error);

/* Closes the connection; NULL is fine. Returns NULL. */
struct daemon_client *daemon_client_free(struct daemon_client *client);

/* Asks, and reads the whole answer, a JSON object that the caller puts. An error answer of the daemon's makes
 * this fail with its sentence (kind ERROR_REFUSED). One request a client. */
bool daemon_client_request(struct daemon_client *client, const char *method, const char *path,
                           struct json_object **ret_body, struct error *error);

/* Asks for GET /v1/events; the lines are read with daemon_client_read_line(). */
bool daemon_client_subscribe(struct daemon_client *client, struct error *error);

/* The next line of the stream, without its line feed, freed by the caller; *ret_line is NULL where the stream
 * has ended in due form. */
bool daemon_client_read_line(struct daemon_client *client, char **ret_line, struct error *error);
