/*
 * The connections of the API: what one of them may do and for how long, and which of them watch events. Owned
 * by daemon/api_server.c, which accepts them; see there for the bounds. A client reads a request, gets its
 * reply, and reads the next: one at a time, one a turn of the loop, so that nobody who pipelines keeps others
 * waiting. Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/json.h"
#include "daemon/api.h"
#include "daemon/api_server.h"

struct api_clients;

/* An empty set; every limit is set. */
struct api_clients *api_clients_new(struct event_base *base, const struct api_backend *backend,
                                    const struct api_server_limits *limits);

/* Sends what goes out at once, then closes all. NULL is fine. Returns NULL. */
struct api_clients *api_clients_free(struct api_clients *clients);

/* Takes over a connected, non-blocking `fd`; closes it where there is no room. */
void api_clients_admit(struct api_clients *clients, int fd, bool may_change);

/* Makes room by dropping who has been waiting longest without a request; false where nobody is. */
bool api_clients_evict(struct api_clients *clients);

/* Sends `object` as a line to each event stream. */
void api_clients_publish(struct api_clients *clients, struct json_object *object);

/* How many clients watch events. */
unsigned api_clients_count_streams(const struct api_clients *clients);
