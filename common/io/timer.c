/* SPDX-License-Identifier: MIT */
#include "common/io/timer.h"

#include <stdlib.h>
#include <sys/time.h>

#include <event2/event.h>

#include "common/base/alloc.h"

/* The longest delay: its sum with the clock fits a time_t of 32 bits. */
enum { DELAY_MAX_S = 30 * 365 * 86400 };

struct timer {
    struct event *event;
    timer_fn fn;
    void *owner;
};

static void on_timeout(evutil_socket_t fd, short what, void *data)
{
    struct timer *timer = data;

    timer->fn(timer->owner);
}

struct timer *timer_new(struct event_base *base, timer_fn fn, void *owner)
{
    struct timer *timer = alloc_zeroed(sizeof(*timer));

    timer->fn = fn;
    timer->owner = owner;
    timer->event = evtimer_new(base, on_timeout, timer);
    if (!timer->event)
        abort();
    return timer;
}

struct timer *timer_free(struct timer *timer)
{
    if (!timer)
        return NULL;
    event_free(timer->event);
    free(timer);
    return NULL;
}

void timer_start(struct timer *timer, uint64_t delay_ms)
{
    struct timeval delay = {.tv_sec = DELAY_MAX_S};

    if (delay_ms / 1000 < DELAY_MAX_S) {
        delay.tv_sec = (time_t)(delay_ms / 1000);
        delay.tv_usec = (suseconds_t)(delay_ms % 1000 * 1000);
    }
    if (evtimer_add(timer->event, &delay) < 0)
        abort();
}

void timer_stop(struct timer *timer)
{
    evtimer_del(timer->event);
}

bool timer_is_running(const struct timer *timer)
{
    return evtimer_pending(timer->event, NULL);
}
