/* SPDX-License-Identifier: MIT */
/* Takers that come as soon as they may get the rate, no more, and nothing is saved up for long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/io/rate_limit.h"

#define SECOND_NS UINT64_C(1000000000)

/* Bytes that a taker of `piece` bytes at a time gets in `seconds`. */
static uint64_t take_greedily(uint64_t rate_bytes_s, uint64_t piece, uint64_t seconds)
{
    struct rate_limit limit = {.rate_bytes_s = rate_bytes_s};
    uint64_t now_ns = 5 * SECOND_NS, end_ns = now_ns + seconds * SECOND_NS, bytes = 0;

    while (now_ns < end_ns) {
        while (rate_limit_take(&limit, now_ns, piece))
            bytes += piece;
        assert_false(rate_limit_is_free(&limit, now_ns));
        uint64_t wait_us = rate_limit_wait_us(&limit, now_ns);
        assert_true(wait_us >= 20000);
        now_ns += wait_us * 1000;
        assert_true(rate_limit_is_free(&limit, now_ns));
    }
    return bytes;
}

static void test_the_rate_is_reached_and_kept(void **state)
{
    static const uint64_t rates[] = {1000, 100000, 2000000, 1000000000};

    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        uint64_t bytes = take_greedily(rates[i], 16384, 60), expected = rates[i] * 60;
        assert_in_range(bytes, expected - expected / 50, expected + expected / 50 + 16384);
    }
}

static void test_without_a_limit_nobody_waits(void **state)
{
    struct rate_limit limit = {0};

    for (int i = 0; i < 1000; i++)
        assert_true(rate_limit_take(&limit, 1, UINT64_MAX));
    assert_int_equal(rate_limit_wait_us(&limit, 1), 0);
}

static void test_idle_time_is_not_saved_up(void **state)
{
    struct rate_limit limit = {.rate_bytes_s = 1000000};
    uint64_t now_ns = 3600 * SECOND_NS, bytes = 0;

    while (rate_limit_take(&limit, now_ns, 1000))
        bytes += 1000;
    assert_in_range(bytes, 1000, 50000);
}

static void test_a_large_piece_is_waited_for(void **state)
{
    struct rate_limit limit = {.rate_bytes_s = 1000};

    assert_true(rate_limit_take(&limit, SECOND_NS, 16000));
    assert_false(rate_limit_take(&limit, 2 * SECOND_NS, 1));
    assert_in_range(rate_limit_wait_us(&limit, 2 * SECOND_NS), 14900000, 15000001);
}

static void test_extremes(void **state)
{
    struct rate_limit slow = {.rate_bytes_s = 1}, fast = {.rate_bytes_s = UINT64_MAX};

    assert_true(rate_limit_take(&slow, 0, UINT64_MAX));
    assert_false(rate_limit_is_free(&slow, SECOND_NS));
    assert_true(rate_limit_take(&fast, SECOND_NS, UINT64_MAX));
    assert_true(rate_limit_is_free(&fast, SECOND_NS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rate_is_reached_and_kept),
        cmocka_unit_test(test_without_a_limit_nobody_waits),
        cmocka_unit_test(test_idle_time_is_not_saved_up),
        cmocka_unit_test(test_a_large_piece_is_waited_for),
        cmocka_unit_test(test_extremes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
