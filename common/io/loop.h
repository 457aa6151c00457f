/* SPDX-License-Identifier: MIT */
/*
 * The event loop that each program runs on one thread. It is libevent's `struct event_base`, on which timers,
 * watches and all else that calls back are made, see common/io/timer.h, watch.h and later.h. Only for the
 * thread that made it.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

struct event_base;

/* Makes a loop with nothing to call back yet. Fails if the kernel has no descriptor for it. */
bool loop_new(struct event_base **ret_base, struct error *error);

/* Frees it; all that was made for it must be freed by then. NULL is fine. Returns NULL. */
struct event_base *loop_free(struct event_base *base);

/* Calls back and waits until loop_end() is called or nothing is left that could call back. These functions
 * abort if the kernel does not let the loop wait. */
void loop_run(struct event_base *base);

/* Waits for the next callbacks, calls them and returns. */
void loop_run_once(struct event_base *base);

/* Calls back what is ready by now, without waiting. */
void loop_run_ready(struct event_base *base);

/* Ends loop_run() after the present callback, even if others are ready. */
void loop_end(struct event_base *base);
