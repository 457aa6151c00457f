/* SPDX-License-Identifier: MIT */
/*
 * The event loop that each program turns on one thread. It is libevent's own: `struct event_base` is what
 * timers, watches and whatever else calls back are made for, see common/io/timer.h, watch.h and later.h. The
 * thread that made it only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

struct event_base;

/* A loop with nothing to call back yet. Fails where the kernel has no descriptor for it. */
bool loop_new(struct event_base **ret_base, struct error *error);

/* Frees it; all that was made for it must be freed by then. NULL is fine. Returns NULL. */
struct event_base *loop_free(struct event_base *base);

/* Turns it, and waits, until loop_end() is called or nothing is left that could call back. That the kernel
 * does not let it wait is a broken invariant, here and below. */
void loop_run(struct event_base *base);

/* Waits for the next callbacks and returns after them. */
void loop_run_once(struct event_base *base);

/* Calls back what is ready by now, without waiting. */
void loop_run_ready(struct event_base *base);

/* Ends loop_run() after the callback under way, whatever else is ready. */
void loop_end(struct event_base *base);
