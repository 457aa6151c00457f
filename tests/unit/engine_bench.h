/* SPDX-License-Identifier: MIT */
/*
 * What a program sets up to run the engine, for tests: a loop, a pool of three threads, and an HTTP client
 * for three connections. Failing to fails the test.
 */
#pragma once

#include "common/io/http.h"
#include "common/io/pool.h"

struct event_base;

struct engine_bench {
    struct event_base *base;
    struct pool *pool;
    struct http *http;
};

void engine_bench_init(struct engine_bench *bench);

void engine_bench_finish(struct engine_bench *bench);

/* Turns the loop until something has ended, which counts itself in `dones` and breaks the loop; and sees that
 * this happens once, with nothing left that could still call back. */
void engine_bench_run(struct engine_bench *bench, const unsigned *dones);
