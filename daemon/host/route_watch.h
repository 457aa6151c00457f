/* SPDX-License-Identifier: MIT */
/*
 * Reports that this machine may have a new way to others: over a netlink socket the kernel tells of each
 * new address and route. Owns the socket. Never blocks; the loop's thread only.
 */
#pragma once

#include "common/base/error.h"

struct event_base;
struct route_watch;

/* Called when addresses or routes were added, no matter how many or where they lead. Not when one is
 * removed. */
typedef void (*route_watch_fn)(void *owner);

/* Listens from now on. Fails if the kernel has no such socket, or a sandbox forbids it. */
bool route_watch_new(struct event_base *base, route_watch_fn came, void *owner,
                     struct route_watch **ret_watch, struct error *error);

/* NULL is fine. Returns NULL. Not from within the callback. */
struct route_watch *route_watch_free(struct route_watch *watch);
