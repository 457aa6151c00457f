/* SPDX-License-Identifier: MIT */
/*
 * What a verb of the command needs to run the sintering engine: a loop, which also writes the output that
 * waits; a pool of threads; an HTTP client; and handlers that turn SIGHUP, SIGINT and SIGTERM into a request
 * to stop (HUP and INT not if they were ignored when the process started). A second signal ends the process
 * at once. The command's own thread only.
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
    struct http *http; /* NULL if no settings were given */
    struct pool *pool;
    struct watch *signals[ENGINE_SIGNALS];
    int signal;                /* the signal that came, or 0 */
    void (*stop)(void *owner); /* called at a signal */
    void *owner;
};

/* Sets everything up; `settings` may be NULL for verbs that fetch nothing. engine_finish() must follow in
 * every case. */
bool engine_init(struct engine *engine, const struct http_settings *settings, void (*stop)(void *owner),
                 void *owner, struct error *error);

/* Frees everything; an engine whose engine_init() failed is fine, too. */
void engine_finish(struct engine *engine);

/* Runs the loop until engine_end(). */
void engine_run(struct engine *engine);

/* Ends engine_run() after the present callback. */
void engine_end(struct engine *engine);

/* The exit status for a verb that ends with `exit_status`: if a signal came, that signal's; also of one that
 * came too late to end the work, while nobody reads what is still to be written, which is not waited for
 * then. May be called after engine_finish(). */
int engine_exit_status(const struct engine *engine, int exit_status);
