/* SPDX-License-Identifier: MIT */
#include "cli/engine.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/event_line.h"
#include "cli/output.h"
#include "cli/tell.h"
#include "common/io/loop.h"

/* Two threads hash and write while a third waits for the medium. */
enum { ENGINE_THREADS = 3 };

static void engine_on_signal(void *owner, int number)
{
    struct engine *engine = owner;

    /* After a second signal nothing is waited for any more. */
    if (engine->signal)
        _exit(EVENT_LINE_BY_SIGNAL + number);
    engine->signal = number;
    tell_set_patient(false);
    engine->stop(engine->owner);
}

static bool engine_take_signal(struct engine *engine, int number, struct watch **ret_watch)
{
    struct sigaction action;

    /* A signal that is ignored from the start stays so, as nohup and shells without job control want it. */
    if (number != SIGTERM && sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
        return true;
    *ret_watch = watch_new(engine->base, WATCH_SIGNAL, number, engine_on_signal, engine);
    if (!watch_start(*ret_watch) || sigaction(number, NULL, &action) < 0)
        return false;
    /* Without SA_RESTART whatever the main thread waits in returns, so that the loop sees the signal. */
    action.sa_flags &= ~SA_RESTART;
    return sigaction(number, &action, NULL) == 0;
}

bool engine_init(struct engine *engine, const struct http_settings *settings, void (*stop)(void *owner),
                 void *owner, struct error *error)
{
    static const int signals[ENGINE_SIGNALS] = {SIGHUP, SIGINT, SIGTERM};

    memset(engine, 0, sizeof(*engine));
    engine->stop = stop;
    engine->owner = owner;
    if (!loop_new(&engine->base, error))
        return false;
    for (int i = 0; i < ENGINE_SIGNALS; i++)
        if (!engine_take_signal(engine, signals[i], &engine->signals[i]))
            return error_set(error, ERROR_SYSTEM, "cannot watch for signals");
    output_watch(engine->base);
    tell_set_patient(false);
    return (!settings || http_new(engine->base, settings, &engine->http, error)) &&
           pool_new(engine->base, ENGINE_THREADS, &engine->pool, error);
}

static void engine_stop_nothing(void *owner)
{
}

/* What is still to be written may wait for its reader for ever, so a signal must be able to end the process:
 * later ones get their default action, and one that came after the loop's end, and was not handled, is acted
 * on here. */
static void engine_let_signals_end(struct engine *engine)
{
    int seen = engine->signal;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    engine->stop = engine_stop_nothing;
    if (engine->base)
        loop_run_ready(engine->base);
    if (engine->signal != seen && !output_is_written())
        _exit(EVENT_LINE_BY_SIGNAL + engine->signal);
    for (int i = 0; i < ENGINE_SIGNALS; i++)
        engine->signals[i] = watch_free(engine->signals[i]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void engine_finish(struct engine *engine)
{
    http_free(engine->http);
    pool_free(engine->pool);
    output_watch(NULL);
    engine_let_signals_end(engine);
    tell_set_patient(!engine->signal);
    loop_free(engine->base);
}

void engine_run(struct engine *engine)
{
    loop_run(engine->base);
}

void engine_end(struct engine *engine)
{
    loop_end(engine->base);
}

int engine_exit_status(const struct engine *engine, int exit_status)
{
    bool is_ended = engine->signal && (exit_status || !output_is_written());

    return is_ended ? EVENT_LINE_BY_SIGNAL + engine->signal : exit_status;
}
