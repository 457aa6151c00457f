/* SPDX-License-Identifier: MIT */
/*
 * Which client has to go when the API's server is full, so that no user can keep another one out, however
 * many connections he opens. Users have equal shares: a newcomer takes a place from the user who holds the
 * most, if that is more than he holds himself; root takes anybody's; and everybody may take a place of his
 * own. Of that user's clients the one goes that has waited longest for a request or for the end of its
 * connection; if none waits, the one whose reply has been on its way longest, as a client that reads would
 * have it by now. Pure; the loop's thread only.
 */
#pragma once

#include <sys/types.h>

struct api_client;
struct api_client_set;

/* The client that has to go for a new connection of user `newcomer`; NULL = none. Never a stream of events:
 * those have a limit of their own. */
struct api_client *api_room_find(const struct api_client_set *set, uid_t newcomer);

/* The stream that has to go for a new stream of user `newcomer`; NULL = none. Never one of his own: a second
 * `watch` that ended the first would only make that come back. */
struct api_client *api_room_find_stream(const struct api_client_set *set, uid_t newcomer);
