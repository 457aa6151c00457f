/* SPDX-License-Identifier: MIT */
/*
 * A one-shot timer on the event loop: calls back once, some milliseconds from now, unless it is stopped or
 * started anew before. Time in suspend does not count (CLOCK_MONOTONIC). Never blocks; the loop's thread
 * only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct timer;

/* Called on the loop. It may start, stop and free the timer, and free whatever owns it. */
typedef void (*timer_fn)(void *owner);

/* Makes a timer that does not run yet; free it before the loop. Aborts if there is no memory. */
struct timer *timer_new(struct event_base *base, timer_fn fn, void *owner);

/* Frees a timer, which then does not call back any more; NULL is fine. Returns NULL. */
struct timer *timer_free(struct timer *timer);

/* Calls back in `delay_ms`, counted from now even if the timer runs already. More than thirty years count as
 * thirty years. */
void timer_start(struct timer *timer, uint64_t delay_ms);

/* Stops the timer: it does not call back unless it is started again. */
void timer_stop(struct timer *timer);

/* Whether it was started and has not called back since; false inside its callback. */
bool timer_is_running(const struct timer *timer);
