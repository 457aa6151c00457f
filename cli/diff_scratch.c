#include "cli/diff_scratch.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "cli/engine.h"
#include "cli/event_line.h"
#include "common/base/alloc.h"
#include "common/base/container.h"

enum { DRAW_INTERVAL_MS = 100 };

struct scratch {
    const char *verb;
    char *folder;
    struct engine engine;
    struct event *draw;
    struct meter *meter;
    atomic_uint_least64_t done, total; /* progress, told by the thread */
    struct diff_report_settings settings;
    /* the job */
    struct pool_job job;
    struct diff_report *report;
    bool ok;
    struct error error;
};

/* Whatever lies in it. Until the folder itself is gone the work can still add to it, so once may not do. */
static void remove_folder(const char *path)
{
    for (bool removed = true; removed && rmdir(path) < 0;) {
        DIR *folder = opendir(path);
        if (!folder)
            return;
        removed = false;
        for (struct dirent *entry; (entry = readdir(folder));)
            removed |= unlinkat(dirfd(folder), entry->d_name, 0) == 0;
        closedir(folder);
    }
}

/* A piece of the work may take seconds, which somebody who presses Ctrl-C does not want to wait for; nothing
 * but the folder outlives the process. */
static void on_stop(void *owner)
{
    struct scratch *scratch = owner;
    struct error error;

    meter_clear(scratch->meter);
    remove_folder(scratch->folder);
    error_set(&error, ERROR_CANCELLED, "the report was cancelled");
    _exit(event_line_finish(event_line_write_failure(scratch->verb, &error)));
}

static void on_progress(void *owner, uint64_t done, uint64_t total)
{
    struct scratch *scratch = owner;

    atomic_store_explicit(&scratch->total, total, memory_order_relaxed);
    atomic_store_explicit(&scratch->done, done, memory_order_relaxed);
}

static void on_draw(evutil_socket_t fd, short what, void *owner)
{
    struct scratch *scratch = owner;

    meter_show(scratch->meter, atomic_load_explicit(&scratch->done, memory_order_relaxed),
               atomic_load_explicit(&scratch->total, memory_order_relaxed));
}

static void run_make(struct pool_job *job)
{
    struct scratch *scratch = container_of(job, struct scratch, job);

    scratch->ok = diff_report_make(&scratch->settings, scratch->report, &scratch->error);
}

static void on_made(struct pool_job *job)
{
    engine_end(&container_of(job, struct scratch, job)->engine);
}

static bool make_report(struct scratch *scratch, struct error *error)
{
    const struct timeval often = {.tv_usec = DRAW_INTERVAL_MS * 1000};

    if (meter_is_shown(scratch->meter)) {
        scratch->draw = event_new(scratch->engine.base, -1, EV_PERSIST, on_draw, scratch);
        if (!scratch->draw)
            abort();
        evtimer_add(scratch->draw, &often);
    }
    scratch->job = (struct pool_job){.run = run_make, .done = on_made};
    pool_submit(scratch->engine.pool, &scratch->job);
    engine_run(&scratch->engine);
    if (!scratch->ok)
        *error = scratch->error;
    return scratch->ok;
}

bool diff_scratch_make_report(const char *verb, const struct diff_settings *diff, const char *beside,
                              struct meter *meter, struct diff_report *ret_report, struct error *error)
{
    CLEANUP_FREE char *folder = alloc_printf("%s.XXXXXX", beside);
    struct scratch scratch = {.verb = verb, .meter = meter, .report = ret_report};

    scratch.folder = folder;
    scratch.settings = (struct diff_report_settings){.diff = *diff, .scratch_folder = folder};
    scratch.settings.diff.progress = on_progress;
    scratch.settings.diff.owner = &scratch;
    /* Signals first, so that none comes between the folder and whoever removes it. */
    bool ok = engine_init(&scratch.engine, NULL, on_stop, &scratch, error);
    if (ok && !mkdtemp(folder))
        ok = error_set_errno(error, errno, "cannot make a temporary folder beside %s", beside);
    if (ok) {
        ok = make_report(&scratch, error);
        remove_folder(folder);
    }
    if (scratch.draw)
        event_free(scratch.draw);
    engine_finish(&scratch.engine);
    return ok;
}
