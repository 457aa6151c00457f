/* SPDX-License-Identifier: MIT */
/*
 * A descriptor or a signal that the event loop watches: it calls back each time that something can be read or
 * written without waiting, or that the signal came, until it is told to stop. Never blocks; the loop's thread
 * only.
 */
#pragma once

#include <stdbool.h>

struct event_base;
struct watch;

enum watch_kind {
    WATCH_READABLE, /* there are bytes, or the end of them */
    WATCH_WRITABLE,
    WATCH_SIGNAL, /* takes the place of what the signal does by itself, while it is watched */
};

/* Called on the loop with the descriptor or the signal's number, again and again while that is ready. It may
 * start, stop and free the watch, and free whatever owns it. */
typedef void (*watch_fn)(void *owner, int number);

/* Does not watch yet. `number` is a descriptor, which stays the caller's and must be closed after the watch
 * is freed, or a signal. Free it before the loop. Aborts where there is no memory for it. */
struct watch *watch_new(struct event_base *base, enum watch_kind kind, int number, watch_fn fn, void *owner);

/* Stops and frees; NULL is fine. Returns NULL. */
struct watch *watch_free(struct watch *watch);

/* Watches from now on. False where the descriptor is of no kind that can be watched, such as a regular file.
 */
bool watch_start(struct watch *watch);

/* Does not call back, unless it is started again. */
void watch_stop(struct watch *watch);
