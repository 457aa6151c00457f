/* SPDX-License-Identifier: MIT */
/*
 * The command's side of the daemon's API: HTTP/1.1 over a Unix stream socket, by libcurl; one request a call;
 * all answers have a maximum size. Blocks: up to 30 s for an answer, without limit for the next line of a
 * stream. If no daemon runs, the error says how to start it; an error answer of the daemon becomes an error
 * with its sentence (ERROR_REFUSED). The main thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/base/json.h"

/* Asks, and reads the whole answer: a JSON object, which the caller frees with json_object_put(). `method` is
 * "GET" or "POST". */
bool daemon_client_request(const char *socket_path, const char *method, const char *path,
                           struct json_object **ret_body, struct error *error);

/* Takes a line of the stream, without its line feed; false ends it. */
typedef bool (*daemon_client_line_fn)(void *owner, const char *line);

/* Gives `take` each line of GET /v1/events until it wants no more. Fails if the stream ends before, because
 * there is no daemon or it ended; *ret_was_there tells whether the stream had begun. */
bool daemon_client_follow(const char *socket_path, daemon_client_line_fn take, void *owner,
                          bool *ret_was_there, struct error *error);
