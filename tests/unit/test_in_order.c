/* SPDX-License-Identifier: MIT */
/* Work in order: all of it, by every worker, whatever each piece takes, and the end of it by a failure. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "common/base/alloc.h"
#include "common/publish/in_order.h"

enum { THREADS = 3 };

struct work {
    atomic_int alive;          /* results that were made and are not freed */
    atomic_flag busy[THREADS]; /* workers with a piece */
    atomic_bool shared;        /* one had two */
    atomic_bool released;      /* by piece 5, for which piece 4 waits */
    uint64_t taken;
    uint64_t fails;      /* the piece whose taking fails */
    uint64_t fails_made; /* the piece that cannot be made; 0 = none */
    int most_alive;
    int workers;           /* made so far */
    bool is_out_of_memory; /* after one worker */
};

static void *run(void *owner, void *worker, uint64_t item, struct error *error)
{
    struct work *work = owner;
    atomic_flag *busy = worker;

    if (atomic_flag_test_and_set(busy))
        atomic_store(&work->shared, true);
    /* A later piece is always done before this one. */
    if (item == 5)
        atomic_store(&work->released, true);
    while (item == 4 && !atomic_load(&work->released))
        ;
    if (work->fails_made && item == work->fails_made) {
        error_set(error, ERROR_SYSTEM, "made %d", (int)item);
        atomic_flag_clear(busy);
        return NULL;
    }
    uint64_t *result = alloc_zeroed(sizeof(*result));
    *result = item * item;
    atomic_fetch_add(&work->alive, 1);
    atomic_flag_clear(busy);
    return result;
}

static void drop(void *result)
{
    free(result);
}

static bool take(void *owner, uint64_t item, void *result, struct error *error)
{
    struct work *work = owner;
    uint64_t value = *(uint64_t *)result;
    int alive = atomic_fetch_sub(&work->alive, 1);

    assert_int_equal(item, work->taken);
    assert_int_equal(value, item * item);
    work->most_alive = alive > work->most_alive ? alive : work->most_alive;
    work->taken++;
    return item != work->fails || error_set(error, ERROR_SYSTEM, "piece %d", (int)item);
}

static void *worker_new(void *owner)
{
    struct work *work = owner;

    return work->is_out_of_memory && work->workers == 1 ? NULL : &work->busy[work->workers++];
}

static bool run_work(struct work *work, uint64_t count, struct error *error)
{
    struct in_order_settings settings = {
        .run = run, .take = take, .drop = drop, .worker_new = worker_new, .owner = work, .threads = THREADS};

    return in_order_run(&settings, count, error);
}

static void test_all_pieces_in_order(void **state)
{
    struct work work = {.fails = UINT64_MAX};
    struct error error;

    assert_true(run_work(&work, 5000, &error));
    assert_int_equal(work.taken, 5000);
    assert_int_equal(atomic_load(&work.alive), 0);
    assert_false(atomic_load(&work.shared));
    assert_in_range(work.most_alive, 1, THREADS * 4);
}

static void test_nothing_to_do(void **state)
{
    struct work work = {.fails = UINT64_MAX};
    struct error error;

    assert_true(run_work(&work, 0, &error));
    assert_int_equal(work.taken, 0);
}

/* What was made and is not taken is dropped: the leak checker counts. */
static void test_the_first_failure_ends_it(void **state)
{
    struct work work = {.fails = 7};
    struct error error;

    assert_false(run_work(&work, 5000, &error));
    assert_string_equal(error.message, "piece 7");
    assert_int_equal(work.taken, 8);
}

/* Pieces before the one that cannot be made are still taken. */
static void test_a_piece_that_cannot_be_made_ends_it(void **state)
{
    struct work work = {.fails = UINT64_MAX, .fails_made = 9};
    struct error error;

    assert_false(run_work(&work, 5000, &error));
    assert_string_equal(error.message, "made 9");
    assert_int_equal(work.taken, 9);
}

static void test_no_memory_for_a_worker(void **state)
{
    struct work work = {.fails = UINT64_MAX, .is_out_of_memory = true};
    struct error error;

    assert_false(run_work(&work, 5000, &error));
    assert_int_equal(error.code, ENOMEM);
    assert_int_equal(work.taken, 0);
}

static void *run_alone(void *owner, void *worker, uint64_t item, struct error *error)
{
    assert_null(worker);
    return run(owner, &((struct work *)owner)->busy[0], item, error);
}

static void test_all_processors_without_workers(void **state)
{
    struct work work = {.fails = UINT64_MAX};
    struct in_order_settings settings = {.run = run_alone, .take = take, .drop = drop, .owner = &work};
    struct error error;

    assert_true(in_order_run(&settings, 4, &error));
    assert_int_equal(work.taken, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_pieces_in_order),
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_the_first_failure_ends_it),
        cmocka_unit_test(test_a_piece_that_cannot_be_made_ends_it),
        cmocka_unit_test(test_no_memory_for_a_worker),
        cmocka_unit_test(test_all_processors_without_workers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
