/* SPDX-License-Identifier: MIT */
/*
 * The verdict on the slot that runs on trial: runs its health checks, keeps what came of them or what an
 * operator said instead, and has it repeated where it could not be carried out. What follows from a verdict
 * is not decided here. Nothing blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "daemon/decide/record.h"
#include "daemon/work/health.h"

struct trial_runner;

struct trial_runner_settings {
    struct event_base *base;
    struct pool *pool;
    struct processes *processes;
};

/* Called from the loop, never from within a function of the runner, which may be called here but not freed.
 */
struct trial_runner_events {
    /* The checks are over, and the verdict is theirs. */
    void (*judged)(void *owner);
    /* It is time for the verdict once more. */
    void (*again)(void *owner);
};

struct trial_verdict {
    bool good;
    char reason[RECORD_TEXT_SIZE];   /* why not, as a clause; "" = good */
    char output[RECORD_OUTPUT_SIZE]; /* what the check that failed printed last; "" = nothing */
};

/* Of what is not freed before it. */
struct trial_runner *trial_runner_new(const struct trial_runner_settings *settings,
                                      const struct trial_runner_events *events, void *owner);

/* Ends the checks under way. NULL is fine. Returns NULL. */
struct trial_runner *trial_runner_free(struct trial_runner *runner);

/* Begins the checks, in the place of those under way; ends in `judged`. Of the options, base,
 * pool, processes and as_units are the runner's own; what the others point at stays until the end. */
void trial_runner_check(struct trial_runner *runner, const struct health_options *options);

/* Somebody's word comes before their verdict. */
void trial_runner_cancel(struct trial_runner *runner);

/* Whether checks are under way. */
bool trial_runner_is_checking(const struct trial_runner *runner);

/* What they wait for, as a clause; NULL = none are under way. */
const char *trial_runner_describe(const struct trial_runner *runner);

/* Makes the verdict without checks; `reason` is why not, NULL where it is good. */
void trial_runner_decide(struct trial_runner *runner, const char *reason);

/* `again` comes in half a minute. */
void trial_runner_retry_later(struct trial_runner *runner);

/* The last one. */
const struct trial_verdict *trial_runner_verdict(const struct trial_runner *runner);
