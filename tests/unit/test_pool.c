/* SPDX-License-Identifier: MIT */
#include "common/io/pool.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/container.h"

struct fixture {
    struct event_base *base;
    struct pool *pool;
    unsigned wanted, done; /* the loop ends when they are equal */
    atomic_uint running, peak;
};

struct work {
    struct pool_job job;
    struct fixture *fixture;
    unsigned again; /* times to submit it anew */
    unsigned runs;
    unsigned number, order;
};

static void setup(struct fixture *fixture, unsigned threads)
{
    *fixture = (struct fixture){.base = event_base_new()};
    assert_true(pool_new(fixture->base, threads, &fixture->pool, NULL));
}

static void teardown(struct fixture *fixture)
{
    assert_null(pool_free(fixture->pool));
    event_base_free(fixture->base);
}

static void run_work(struct pool_job *job)
{
    struct work *work = container_of(job, struct work, job);
    unsigned running = atomic_fetch_add(&work->fixture->running, 1) + 1;
    unsigned peak = atomic_load(&work->fixture->peak);

    while (running > peak && !atomic_compare_exchange_weak(&work->fixture->peak, &peak, running))
        continue;
    work->runs++;
    atomic_fetch_sub(&work->fixture->running, 1);
}

static void work_done(struct pool_job *job)
{
    struct work *work = container_of(job, struct work, job);
    struct fixture *fixture = work->fixture;

    if (work->again > 0) {
        work->again--;
        pool_submit(fixture->pool, &work->job);
        return;
    }
    work->order = fixture->done++;
    if (fixture->done == fixture->wanted)
        event_base_loopbreak(fixture->base);
}

static void submit(struct fixture *fixture, struct work *work)
{
    work->job = (struct pool_job){.run = run_work, .done = work_done};
    work->fixture = fixture;
    pool_submit(fixture->pool, &work->job);
}

static void test_many_jobs_each_run_and_end_once(void **state)
{
    enum { COUNT = 20000, THREADS = 3 };
    CLEANUP_FREE struct work *works = alloc_array(COUNT, sizeof(struct work));
    struct fixture fixture;

    setup(&fixture, THREADS);
    fixture.wanted = COUNT;
    for (unsigned i = 0; i < COUNT; i++)
        submit(&fixture, &works[i]);
    assert_int_equal(pool_outstanding(fixture.pool), COUNT);
    event_base_dispatch(fixture.base);
    assert_int_equal(fixture.done, COUNT);
    assert_int_equal(pool_outstanding(fixture.pool), 0);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(works[i].runs, 1);
    assert_true(fixture.peak <= THREADS);
    teardown(&fixture);
}

static void test_one_thread_runs_jobs_in_order(void **state)
{
    enum { COUNT = 1000 };
    CLEANUP_FREE struct work *works = alloc_array(COUNT, sizeof(struct work));
    struct fixture fixture;

    setup(&fixture, 1);
    fixture.wanted = COUNT;
    for (unsigned i = 0; i < COUNT; i++)
        submit(&fixture, &works[i]);
    event_base_dispatch(fixture.base);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(works[i].order, i);
    assert_int_equal(fixture.peak, 1);
    teardown(&fixture);
}

/* Jobs that submit themselves from `done` must not keep the others, or the loop, from their turn. */
static void test_jobs_submitted_anew_from_done(void **state)
{
    enum { COUNT = 8, AGAIN = 2000 };
    struct work works[COUNT] = {0};
    struct fixture fixture;

    setup(&fixture, 2);
    fixture.wanted = COUNT;
    for (unsigned i = 0; i < COUNT; i++) {
        works[i].again = AGAIN;
        submit(&fixture, &works[i]);
    }
    event_base_dispatch(fixture.base);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(works[i].runs, AGAIN + 1);
    teardown(&fixture);
}

struct short_lived {
    struct pool_job job;
    struct fixture *fixture;
};

static void run_nothing(struct pool_job *job)
{
}

static void free_in_done(struct pool_job *job)
{
    struct short_lived *work = container_of(job, struct short_lived, job);
    struct fixture *fixture = work->fixture;

    free(work);
    if (++fixture->done == fixture->wanted)
        event_base_loopbreak(fixture->base);
}

static void test_a_job_may_be_freed_in_its_done(void **state)
{
    struct fixture fixture;

    setup(&fixture, 2);
    fixture.wanted = 500;
    for (unsigned i = 0; i < fixture.wanted; i++) {
        struct short_lived *work = alloc_zeroed(sizeof(*work));
        work->job = (struct pool_job){.run = run_nothing, .done = free_in_done};
        work->fixture = &fixture;
        pool_submit(fixture.pool, &work->job);
    }
    event_base_dispatch(fixture.base);
    assert_int_equal(fixture.done, 500);
    teardown(&fixture);
}

struct gate {
    struct pool_job job;
    atomic_bool entered, open;
};

static void run_gate(struct pool_job *job)
{
    struct gate *gate = container_of(job, struct gate, job);

    atomic_store(&gate->entered, true);
    while (!atomic_load(&gate->open))
        usleep(100);
}

static void never_done(struct pool_job *job)
{
    fail_msg("%s", "done was called while or after the pool was freed");
}

static unsigned dropped;

static void count_dropped(struct pool_job *job)
{
    dropped++;
}

/* The running job is waited for; those that wait are dropped, and nobody is called back but to be told so. */
static void test_freed_with_jobs_running_and_waiting(void **state)
{
    struct work works[100] = {0};
    struct gate gate = {.job = {.run = run_gate, .done = never_done, .drop = count_dropped}};
    struct fixture fixture;

    setup(&fixture, 1);
    pool_submit(fixture.pool, &gate.job);
    for (unsigned i = 0; i < 100; i++) {
        submit(&fixture, &works[i]);
        works[i].job.done = never_done;
        works[i].job.drop = i % 2 ? count_dropped : NULL;
    }
    while (!atomic_load(&gate.entered))
        usleep(100);
    atomic_store(&gate.open, true);
    teardown(&fixture);
    assert_int_equal(dropped, 51);
    assert_null(pool_free(NULL));
}

static void run_read_signals(struct pool_job *job)
{
    struct work *work = container_of(job, struct work, job);
    sigset_t blocked;

    sigemptyset(&blocked);
    if (sigprocmask(SIG_BLOCK, NULL, &blocked) == 0)
        work->number = sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGCHLD) == 1;
}

static void test_signals_are_left_to_the_loop(void **state)
{
    struct work work = {0};
    struct fixture fixture;
    sigset_t blocked;

    setup(&fixture, 1);
    fixture.wanted = 1;
    work.job = (struct pool_job){.run = run_read_signals, .done = work_done};
    work.fixture = &fixture;
    pool_submit(fixture.pool, &work.job);
    event_base_dispatch(fixture.base);
    assert_int_equal(work.number, 1);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    assert_int_equal(sigismember(&blocked, SIGTERM), 0);
    teardown(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_jobs_each_run_and_end_once),
        cmocka_unit_test(test_one_thread_runs_jobs_in_order),
        cmocka_unit_test(test_jobs_submitted_anew_from_done),
        cmocka_unit_test(test_a_job_may_be_freed_in_its_done),
        cmocka_unit_test(test_freed_with_jobs_running_and_waiting),
        cmocka_unit_test(test_signals_are_left_to_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
