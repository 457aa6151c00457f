/* SPDX-License-Identifier: MIT */
/*
 * What a program sets up to run the engine: a loop, a pool of three threads, and an HTTP client for three
 * connections. Fails the test if that cannot be made.
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

/* Runs the loop until what the test waits for ends, increments *dones and breaks the loop. Fails unless that
 * happens once and nothing is left that could still call back. */
void engine_bench_run(struct engine_bench *bench, const unsigned *dones);
