#include "cli/engine.h"

#include <signal.h>
#include <string.h>

#include <event2/event.h>

/* Two threads hash and write while a third waits for the medium. */
enum { ENGINE_THREADS = 3 };

static void engine_on_signal(evutil_socket_t signal, short what, void *data)
{
    struct engine *engine = data;

    engine->stop(engine->owner);
}

bool engine_init(struct engine *engine, const struct http_settings *settings, void (*stop)(void *owner),
                 void *owner, struct error *error)
{
    static const int signals[] = {SIGINT, SIGTERM};

    memset(engine, 0, sizeof(*engine));
    engine->stop = stop;
    engine->owner = owner;
    engine->base = event_base_new();
    if (!engine->base)
        return error_set(error, ERROR_SYSTEM, "cannot set up an event loop");
    for (int i = 0; i < 2; i++) {
        engine->signals[i] = evsignal_new(engine->base, signals[i], engine_on_signal, engine);
        if (!engine->signals[i] || event_add(engine->signals[i], NULL) < 0)
            return error_set(error, ERROR_SYSTEM, "cannot watch for signals");
    }
    return (!settings || http_new(engine->base, settings, &engine->http, error)) &&
           pool_new(engine->base, ENGINE_THREADS, &engine->pool, error);
}

void engine_finish(struct engine *engine)
{
    http_free(engine->http);
    pool_free(engine->pool);
    for (int i = 0; i < 2; i++)
        if (engine->signals[i])
            event_free(engine->signals[i]);
    if (engine->base)
        event_base_free(engine->base);
}

void engine_run(struct engine *engine)
{
    event_base_dispatch(engine->base);
}

void engine_end(struct engine *engine)
{
    event_base_loopbreak(engine->base);
}
