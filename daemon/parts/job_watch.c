/* SPDX-License-Identifier: MIT */
#include "daemon/parts/job_watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/io/timer.h"

struct job_watch {
    job_watch_fn fn;
    void *owner;
    struct timer *timer;
    uint64_t silence_ms;
    const char *what; /* NULL = nothing is under way */
    char why[128];    /* "" = all return in time */
};

static void on_timer(void *owner)
{
    struct job_watch *watch = owner;
    char waited[32];

    text_format_duration(waited, sizeof(waited), watch->silence_ms);
    snprintf(watch->why, sizeof(watch->why), "%s has not returned for %s; its medium does not answer",
             watch->what, waited);
    log_warning("%s", watch->why);
    watch->fn(watch->owner);
}

struct job_watch *job_watch_new(struct event_base *base, uint64_t silence_ms, job_watch_fn fn, void *owner)
{
    struct job_watch *watch = alloc_zeroed(sizeof(*watch));

    watch->fn = fn;
    watch->owner = owner;
    watch->silence_ms = silence_ms;
    watch->timer = timer_new(base, on_timer, watch);
    return watch;
}

struct job_watch *job_watch_free(struct job_watch *watch)
{
    if (watch)
        timer_free(watch->timer);
    free(watch);
    return NULL;
}

void job_watch_set(struct job_watch *watch, const char *what)
{
    watch->what = what;
    watch->why[0] = '\0';
    if (what)
        timer_start(watch->timer, watch->silence_ms);
    else
        timer_stop(watch->timer);
}

const char *job_watch_why(const struct job_watch *watch)
{
    return *watch->why ? watch->why : NULL;
}
