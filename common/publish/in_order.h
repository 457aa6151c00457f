/* SPDX-License-Identifier: MIT */
/*
 * One kind of work on many pieces, on all processors at once, with the results taken in the pieces' order, so
 * that what is made of them does not depend on how many processors there are. Runs a loop and a pool of its
 * own until everything is done: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* The work, on a thread: makes the result of piece `item` (allocated, not NULL). `worker` is one of those in
 * the settings, and this piece's alone for the time being. */
typedef void *(*in_order_run_fn)(void *owner, void *worker, uint64_t item);

/* Takes (and frees) the result of piece `item`; called in order, by the caller's thread. False ends it all.
 */
typedef bool (*in_order_take_fn)(void *owner, uint64_t item, void *result, struct error *error);

struct in_order_settings {
    in_order_run_fn run;
    in_order_take_fn take;
    void (*drop)(void *result); /* frees a result that is not taken any more */
    void *owner;
    void **workers; /* one for each thread: buffers and contexts; the items may be NULL */
    unsigned worker_count;
};

/* Runs pieces 0 to count - 1. Blocks until all are taken, or one `take` returned false. At most three results
 * a thread wait to be taken. */
bool in_order_run(const struct in_order_settings *settings, uint64_t count, struct error *error);

/* How many threads are worth starting: the processors this process may run on, at most 64. */
unsigned in_order_threads(void);
