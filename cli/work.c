/* SPDX-License-Identifier: MIT */
#include "cli/work.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/engine.h"
#include "cli/event_line.h"
#include "common/base/container.h"
#include "common/io/timer.h"

enum { WORK_DRAW_INTERVAL_MS = 100 };

struct work {
    const struct work_settings *settings;
    struct engine engine;
    struct timer *draw;
    _Atomic(const char *) stage;
    atomic_uint_least64_t done, total;
    struct pool_job job;
    bool ok;
    struct error error;
};

/* A piece of the work may take seconds, too long after Ctrl-C, so the process ends in the middle of it; all
 * that it would leave behind is removed by `stop`. */
static void on_stop(void *owner)
{
    struct work *work = owner;
    const struct work_settings *settings = work->settings;
    struct error error;

    if (settings->stop && !settings->stop(settings->owner)) {
        work->engine.signal = 0; /* so that a second signal does not end it half-way either */
        return;
    }
    meter_clear(settings->meter);
    error_set(&error, ERROR_CANCELLED, "%s was cancelled", settings->what);
    int status = event_line_write_failure(settings->verb, &error);
    _exit(event_line_finish(engine_exit_status(&work->engine, status)));
}

static void on_draw(void *owner)
{
    struct work *work = owner;
    const char *stage = atomic_load_explicit(&work->stage, memory_order_relaxed);

    if (stage)
        work->settings->meter->label = stage;
    meter_show(work->settings->meter, atomic_load_explicit(&work->done, memory_order_relaxed),
               atomic_load_explicit(&work->total, memory_order_relaxed));
    timer_start(work->draw, WORK_DRAW_INTERVAL_MS);
}

void work_progress(struct work *work, const char *stage, uint64_t done, uint64_t total)
{
    atomic_store_explicit(&work->stage, stage, memory_order_relaxed);
    atomic_store_explicit(&work->total, total, memory_order_relaxed);
    atomic_store_explicit(&work->done, done, memory_order_relaxed);
}

static void run_job(struct pool_job *job)
{
    struct work *work = container_of(job, struct work, job);

    work->ok = work->settings->run(work->settings->owner, work, &work->error);
}

static void on_done(struct pool_job *job)
{
    engine_end(&container_of(job, struct work, job)->engine);
}

static bool run_on_thread(struct work *work, struct error *error)
{
    if (meter_is_shown(work->settings->meter)) {
        work->draw = timer_new(work->engine.base, on_draw, work);
        timer_start(work->draw, WORK_DRAW_INTERVAL_MS);
    }
    work->job = (struct pool_job){.run = run_job, .done = on_done};
    pool_submit(work->engine.pool, &work->job);
    engine_run(&work->engine);
    if (!work->ok)
        *error = work->error;
    return work->ok;
}

bool work_run(const struct work_settings *settings, struct error *error)
{
    struct work work = {.settings = settings};

    bool ok = engine_init(&work.engine, NULL, on_stop, &work, error) &&
              (!settings->prepare || settings->prepare(settings->owner, error)) &&
              run_on_thread(&work, error);

    timer_free(work.draw);
    engine_finish(&work.engine);
    meter_clear(settings->meter);
    return ok;
}
