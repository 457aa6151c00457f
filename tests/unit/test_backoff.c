/* SPDX-License-Identifier: MIT */
/* Waits grow, stay within their bounds, and never undercut a server's wish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/io/backoff.h"

static void test_bounds_double_up_to_the_longest(void **state)
{
    static const uint64_t bounds[] = {1000, 2000, 4000, 8000, 10000, 10000, 10000};
    struct backoff backoff = {.first_ms = 1000, .max_ms = 10000};

    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        assert_int_equal(backoff.failures, i);
        assert_int_equal(backoff_next_ms(&backoff, 0, UINT32_MAX), bounds[i]);
    }
}

static void test_random_spreads_from_nothing_to_the_bound(void **state)
{
    struct backoff backoff = {.first_ms = 1000, .max_ms = 10000};

    assert_int_equal(backoff_next_ms(&backoff, 0, 0), 0);
    backoff_reset(&backoff);
    assert_in_range(backoff_next_ms(&backoff, 0, UINT32_MAX / 2), 499, 501);
    assert_in_range(backoff_next_ms(&backoff, 0, UINT32_MAX / 4), 499, 501);
}

static void test_retry_after_is_the_least(void **state)
{
    struct backoff backoff = {.first_ms = 1000, .max_ms = 10000};

    assert_int_equal(backoff_next_ms(&backoff, 60000, UINT32_MAX), 60000);
    assert_int_equal(backoff_next_ms(&backoff, 500, UINT32_MAX), 2000);
    assert_int_equal(backoff_next_ms(&backoff, 500, 0), 500);
}

static void test_reset_starts_again(void **state)
{
    struct backoff backoff = {.first_ms = 10, .max_ms = 10000};

    for (int i = 0; i < 200; i++)
        backoff_next_ms(&backoff, 0, 0);
    assert_int_equal(backoff_next_ms(&backoff, 0, UINT32_MAX), 10000);
    backoff_reset(&backoff);
    assert_int_equal(backoff_next_ms(&backoff, 0, UINT32_MAX), 10);
}

static void test_extremes_do_not_overflow(void **state)
{
    struct backoff longest = {.first_ms = UINT64_MAX, .max_ms = UINT64_MAX, .failures = UINT32_MAX};
    struct backoff doubling = {.first_ms = 1, .max_ms = UINT64_MAX, .failures = 63};
    struct backoff none = {.first_ms = 0, .max_ms = 0};

    assert_true(backoff_next_ms(&longest, 0, UINT32_MAX) >= UINT64_MAX - UINT32_MAX - 1);
    assert_int_equal(longest.failures, UINT32_MAX);
    assert_in_range(backoff_next_ms(&doubling, 0, UINT32_MAX), (UINT64_C(1) << 63) - (UINT64_C(1) << 31) - 1,
                    UINT64_C(1) << 63);
    assert_int_equal(backoff_next_ms(&none, 0, UINT32_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds_double_up_to_the_longest),
        cmocka_unit_test(test_random_spreads_from_nothing_to_the_bound),
        cmocka_unit_test(test_retry_after_is_the_least),
        cmocka_unit_test(test_reset_starts_again),
        cmocka_unit_test(test_extremes_do_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
