/* SPDX-License-Identifier: MIT */
/*
 * Whether this machine has a new way to others: the kernel tells of each address and route that comes, over a
 * netlink socket. Owns the socket. Never blocks; the loop's thread only.
 */
#pragma once

#include "common/base/error.h"

struct event_base;
struct route_watch;

/* Addresses or routes came; how many does not matter, and what they lead to is not known. Not when one goes.
 */
typedef void (*route_watch_fn)(void *owner);

/* Listens from now on. Fails where the kernel, or a sandbox, has no such socket. */
bool route_watch_new(struct event_base *base, route_watch_fn came, void *owner,
                     struct route_watch **ret_watch, struct error *error);

/* NULL is fine. Returns NULL. Not from within the callback. */
struct route_watch *route_watch_free(struct route_watch *watch);
