/* SPDX-License-Identifier: MIT */
/*
 * A descriptor or a signal that the event loop watches: calls back each time something can be read or written
 * without waiting, or the signal came, until it is stopped. Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>

struct event_base;
struct watch;

enum watch_kind {
    WATCH_READABLE, /* there are bytes, or the end of them */
    WATCH_WRITABLE,
    WATCH_SIGNAL, /* while it is watched, the signal's default action does not happen */
};

/* Called on the loop with the descriptor or the signal's number, again and again while the descriptor is
 * ready. It may start, stop and free the watch, and free whatever owns it. */
typedef void (*watch_fn)(void *owner, int number);

/* Makes a watch that is not started. `number` is a signal, or a descriptor, which stays the caller's and must
 * not be closed before the watch is freed. Free the watch before the loop. Aborts if there is no memory. */
struct watch *watch_new(struct event_base *base, enum watch_kind kind, int number, watch_fn fn, void *owner);

/* Stops and frees; NULL is fine. Returns NULL. */
struct watch *watch_free(struct watch *watch);

/* Begins to watch. False if a descriptor of this kind cannot be watched, such as a regular file. */
bool watch_start(struct watch *watch);

/* Stops watching: it does not call back unless it is started again. */
void watch_stop(struct watch *watch);
