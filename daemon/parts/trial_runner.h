/* SPDX-License-Identifier: MIT */
/*
 * The verdict on the slot on trial: runs its health checks, keeps their verdict or an operator's, and
 * repeats it later if it could not be carried out. What follows from a verdict is decided elsewhere.
 * Nothing blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "daemon/decide/record.h"
#include "daemon/parts/health.h"

struct trial_runner;

struct trial_runner_deps {
    struct event_base *base;
    struct pool *pool;
    struct processes *processes;
};

/* Called from the loop, never from within a function of the runner, which may be called here but not freed.
 */
struct trial_runner_events {
    /* The checks are over; trial_runner_verdict() is their verdict. */
    void (*judged)(void *owner);
    /* It is time to carry out the verdict again. */
    void (*again)(void *owner);
};

struct trial_verdict {
    bool good;
    char reason[RECORD_TEXT_SIZE];   /* why not, as a clause; "" = good */
    char output[RECORD_OUTPUT_SIZE]; /* what the check that failed printed last; "" = nothing */
};

/* What `deps` points at has to live longer than the runner. */
struct trial_runner *trial_runner_new(const struct trial_runner_deps *deps,
                                      const struct trial_runner_events *events, void *owner);

/* Ends the checks under way. NULL is fine. Returns NULL. */
struct trial_runner *trial_runner_free(struct trial_runner *runner);

/* Begins the checks, after ending any under way; ends in `judged`. The runner sets base, pool, processes and
 * as_units of the options itself; the HTTP client and the keys have to live until the end. */
void trial_runner_check(struct trial_runner *runner, const struct health_options *options);

/* Ends the checks under way without a verdict. */
void trial_runner_cancel(struct trial_runner *runner);

/* Whether checks are under way. */
bool trial_runner_is_checking(const struct trial_runner *runner);

/* What the checks wait for, as a clause; NULL = none are under way. */
const char *trial_runner_describe(const struct trial_runner *runner);

/* Sets the verdict without checks; `reason` is why the slot is bad, NULL = it is good. */
void trial_runner_decide(struct trial_runner *runner, const char *reason);

/* Sends `again` in half a minute. */
void trial_runner_retry_later(struct trial_runner *runner);

/* The last verdict. */
const struct trial_verdict *trial_runner_verdict(const struct trial_runner *runner);
