/* SPDX-License-Identifier: MIT */
#include "common/publish/in_order.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/min_max.h"
#include "common/io/loop.h"
#include "common/io/pool.h"

enum {
    IN_ORDER_THREADS_MAX = 64,
    /* Pieces begun and not yet taken, for each thread: enough for the others to go on during a slow piece. */
    IN_ORDER_WINDOW = 4,
};

/* A piece that was begun and is not yet taken. */
struct in_order_job {
    struct pool_job pool_job;
    struct in_order *run;
    void *worker; /* used while it runs */
    uint64_t item;
    void *result; /* NULL where it failed: `error` */
    struct error error;
    bool done; /* the thread is done with it: it waits for those of the pieces before */
};

struct in_order {
    const struct in_order_settings *settings;
    struct pool *pool;
    uint64_t count;
    uint64_t begun;
    uint64_t taken;
    struct in_order_job *window; /* a ring: piece i is at i modulo window_size */
    unsigned window_size;
    unsigned threads;
    void **workers; /* one for each thread */
    void **idle;    /* those that no thread uses */
    unsigned idle_count;
};

static unsigned count_processors(void)
{
    cpu_set_t processors;

    if (sched_getaffinity(0, sizeof(processors), &processors) < 0)
        return 1;
    return (unsigned)min_u64(max_u64((unsigned)CPU_COUNT(&processors), 1), IN_ORDER_THREADS_MAX);
}

static bool make_workers(struct in_order *run, struct error *error)
{
    const struct in_order_settings *settings = run->settings;

    run->workers = alloc_array(run->threads, sizeof(*run->workers));
    run->idle = alloc_array(run->threads, sizeof(*run->idle));
    for (unsigned i = 0; i < run->threads; i++) {
        run->workers[i] = settings->worker_new ? settings->worker_new(settings->owner) : NULL;
        if (settings->worker_new && !run->workers[i])
            return error_set_errno(error, ENOMEM, "cannot work on %u processors", run->threads);
        run->idle[run->idle_count++] = run->workers[i];
    }
    return true;
}

static void job_run(struct pool_job *pool_job)
{
    struct in_order_job *job = container_of(pool_job, struct in_order_job, pool_job);
    const struct in_order_settings *settings = job->run->settings;

    job->result = settings->run(settings->owner, job->worker, job->item, &job->error);
}

static void job_done(struct pool_job *pool_job)
{
    struct in_order_job *job = container_of(pool_job, struct in_order_job, pool_job);

    job->done = true;
    job->run->idle[job->run->idle_count++] = job->worker;
}

static void begin_jobs(struct in_order *run)
{
    while (run->idle_count > 0 && run->begun < run->count && run->begun - run->taken < run->window_size) {
        struct in_order_job *job = &run->window[run->begun % run->window_size];
        *job = (struct in_order_job){.pool_job = {.run = job_run, .done = job_done}, .run = run};
        job->item = run->begun++;
        job->worker = run->idle[--run->idle_count];
        pool_submit(run->pool, &job->pool_job);
    }
}

static bool take_results(struct in_order *run, struct error *error)
{
    const struct in_order_settings *settings = run->settings;

    while (run->taken < run->begun) {
        struct in_order_job *job = &run->window[run->taken % run->window_size];
        if (!job->done)
            return true;
        run->taken++;
        if (!job->result)
            return error_pass(error, &job->error);
        bool ok = settings->take(settings->owner, job->item, job->result, error);
        settings->drop(job->result);
        job->result = NULL;
        if (!ok)
            return false;
    }
    return true;
}

static bool run_all(struct in_order *run, struct event_base *base, struct error *error)
{
    while (run->taken < run->count) {
        begin_jobs(run);
        loop_run_once(base);
        if (!take_results(run, error))
            return false;
    }
    return true;
}

bool in_order_run(const struct in_order_settings *settings, uint64_t count, struct error *error)
{
    struct in_order run = {.settings = settings, .count = count};
    struct event_base *base;

    if (!loop_new(&base, error))
        return false;
    run.threads = settings->threads ? settings->threads : count_processors();
    run.window_size = run.threads * IN_ORDER_WINDOW;
    run.window = alloc_array(run.window_size, sizeof(*run.window));
    bool ok = make_workers(&run, error) && pool_new(base, run.threads, &run.pool, error) &&
              run_all(&run, base, error);

    /* Waits for the pieces that the threads are working on. */
    pool_free(run.pool);
    for (unsigned i = 0; i < run.window_size; i++)
        if (run.window[i].result)
            settings->drop(run.window[i].result);
    for (unsigned i = 0; settings->worker_free && i < run.threads; i++)
        settings->worker_free(run.workers[i]);
    loop_free(base);
    free(run.window);
    free(run.workers);
    free(run.idle);
    return ok;
}
