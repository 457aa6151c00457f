/* SPDX-License-Identifier: MIT */
/*
 * Who makes room where the API's server is full, so that no user keeps another one out, however many
 * connections he opens and whatever he does with them. Users have equal shares: a newcomer takes the place of
 * the user that holds the most, if he holds more than the newcomer himself; root takes anybody's; and one's
 * own place anyone may take. Of that user's clients the one goes that was first to wait for a request or for
 * the end of its connection, and where there is none, the one whose reply has been on its way for longest:
 * who reads has it long since. Pure; the loop's thread only.
 */
#pragma once

#include <sys/types.h>

struct api_client;
struct api_client_set;

/* The client that makes room for a new connection of user `newcomer`, or NULL where none has to. Never a
 * stream of events: they have room of their own. */
struct api_client *api_room_find(const struct api_client_set *set, uid_t newcomer);

/* The stream that makes room for a stream of user `newcomer`, or NULL. One's own are not given up: a second
 * `watch` that ended the first would only make it come back. */
struct api_client *api_room_find_stream(const struct api_client_set *set, uid_t newcomer);
