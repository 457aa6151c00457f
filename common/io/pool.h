/* SPDX-License-Identifier: MIT */
/*
 * A few threads for everything that may block or take long: reading, hashing, writing, syncing. The only user
 * of pthreads. A job belongs to exactly one side at a time: to the loop until pool_submit(), to a thread
 * while its `run` is under way, to the loop again when its `done` is called there. A thread runs only `run`,
 * which touches nothing but the job and what is immutable or atomic. The loop's thread calls every function
 * here; only pool_free() blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

struct event_base;
struct pool;
struct pool_job;

/* The job's work, on a thread. */
typedef void (*pool_run_fn)(struct pool_job *job);

/* The job is the loop's again; it may be submitted anew or freed here. */
typedef void (*pool_done_fn)(struct pool_job *job);

/* Embed it in the structure that the work is about; container_of() (common/base/container.h) leads back. */
struct pool_job {
    pool_run_fn run;
    pool_done_fn done;
    pool_done_fn
        drop; /* called instead of `done` if pool_free() comes first; may be NULL, may free the job */
    struct pool_job *next; /* pool::waiting or pool::finished */
};

/* Starts `threads` threads (at least 1) whose completions arrive on `base`. */
bool pool_new(struct event_base *base, unsigned threads, struct pool **ret_pool, struct error *error);

/* Waits for the running jobs, then ends the threads. Jobs that were not begun are dropped and no `done` is
 * called any more, only `drop`, so owners finish or cancel their own jobs first. NULL is fine. Returns NULL.
 */
struct pool *pool_free(struct pool *pool);

/* Queues a job; jobs are begun in the order of their submission. */
void pool_submit(struct pool *pool, struct pool_job *job);

/* Jobs submitted whose `done` has not been called. */
size_t pool_outstanding(const struct pool *pool);
