/*
 * What a verb of the command needs to run the sintering engine: a loop, a pool of threads, an HTTP client,
 * and SIGINT and SIGTERM turned into a request to stop. The command's own thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "common/io/http.h"
#include "common/io/pool.h"

struct event_base;
struct event;

struct engine {
    struct event_base *base;
    struct http *http; /* NULL where no settings were given */
    struct pool *pool;
    struct event *signals[2];
    void (*stop)(void *owner); /* called at SIGINT or SIGTERM */
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
