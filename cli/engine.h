/* SPDX-License-Identifier: MIT */
/*
 * What a verb of the command needs to run the sintering engine: a loop that also writes what waits for
 * standard output, a pool of threads, an HTTP client, and SIGHUP, SIGINT and SIGTERM turned into a request to
 * stop (HUP and INT not where whoever started us ignores them). A second signal ends the process as it
 * stands. The command's own thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/io/watch.h"

struct event_base;

enum { ENGINE_SIGNALS = 3 };

struct engine {
    struct event_base *base;
    struct http *http; /* NULL where no settings were given */
    struct pool *pool;
    struct watch *signals[ENGINE_SIGNALS];
    int signal;                /* the one that came, or 0 */
    void (*stop)(void *owner); /* called at a signal */
    void *owner;
};

/* Sets everything up; `settings` may be NULL for verbs that fetch nothing. */
bool engine_init(struct engine *engine, const struct http_settings *settings, void (*stop)(void *owner),
                 void *owner, struct error *error);

/* Takes a half-built one, too. */
void engine_finish(struct engine *engine);

/* Turns the loop until engine_end(). */
void engine_run(struct engine *engine);

/* Ends engine_run() after the callback under way. */
void engine_end(struct engine *engine);

/* The exit status of a verb that failed with `exit_status`: a signal's where one came. Also after
 * engine_finish(). */
int engine_exit_status(const struct engine *engine, int exit_status);
