/* SPDX-License-Identifier: MIT */
/*
 * A one-shot timer on the event loop: calls back once, some milliseconds from now, unless it is stopped or
 * started anew before. It counts time awake (CLOCK_MONOTONIC). Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct timer;

/* Called on the loop. It may start, stop and free the timer, and free whatever owns it. */
typedef void (*timer_fn)(void *owner);

/* A timer that does not run yet; free it before the loop. Aborts where there is no memory for it. */
struct timer *timer_new(struct event_base *base, timer_fn fn, void *owner);

/* Frees a timer, which then does not call back any more; NULL is fine. Returns NULL. */
struct timer *timer_free(struct timer *timer);

/* Calls back in `delay_ms`, which counts from now also where the timer runs already. More than thirty years
 * are thirty years. */
void timer_start(struct timer *timer, uint64_t delay_ms);

/* Does not call back, unless it is started again. */
void timer_stop(struct timer *timer);

/* Whether it was started and has not called back since; in its callback it does not run any more. */
bool timer_is_running(const struct timer *timer);
