/* SPDX-License-Identifier: MIT */
/*
 * Does one kind of work on many pieces, on several threads, and takes the results in the order of the pieces:
 * so what is made of them does not depend on the number of threads. Blocks until all is done, with a loop and
 * a pool of its own: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* Does the work of piece `item` on a thread of the pool, and returns its result, allocated; NULL, with the
 * error set, ends all when the pieces before it were taken. `worker` came from `worker_new`, and no other
 * thread uses it during the call. */
typedef void *(*in_order_run_fn)(void *owner, void *worker, uint64_t item, struct error *error);

/* Takes what it wants of the result of piece `item`. Called in the order of the pieces, on the thread of
 * in_order_run(). False, with the error set, ends all. */
typedef bool (*in_order_take_fn)(void *owner, uint64_t item, void *result, struct error *error);

struct in_order_settings {
    in_order_run_fn run;
    in_order_take_fn take;
    void (*drop)(void *result); /* frees a result, after it was taken or where it never will be */
    /* Makes what a thread has for itself, such as buffers; NULL if there is no memory. Called for each thread
     * before the first piece; may be NULL if `run` needs no worker. */
    void *(*worker_new)(void *owner);
    void (*worker_free)(void *worker); /* takes NULL; may be NULL */
    void *owner;
    unsigned threads; /* 0 = as many as processors that this process may run on, but at most 64 */
};

/* Does pieces 0 to count - 1. At most four pieces a thread are begun and not yet taken. */
bool in_order_run(const struct in_order_settings *settings, uint64_t count, struct error *error);
