/* SPDX-License-Identifier: MIT */
/* Dates that a 32-bit time_t cannot hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/wall_clock.h"

#define BEGIN_OF_2099 INT64_C(4070908800)

static void test_now(void **state)
{
    uint64_t first = wall_clock_now_s();

    assert_true(first > 0 && first != UINT64_MAX);
    assert_true(wall_clock_now_s() >= first);
}

static void test_local(void **state)
{
    struct tm local;

    setenv("TZ", "UTC-2", 1);
    tzset();
    assert_true(wall_clock_local(BEGIN_OF_2099, &local));
    assert_int_equal(local.tm_year, 2099 - 1900);
    assert_int_equal(local.tm_hour, 2);
    assert_int_equal(local.tm_gmtoff, 2 * 3600);
    assert_true(wall_clock_local(0, &local));
    assert_int_equal(local.tm_year, 70);
    assert_false(wall_clock_local(INT64_MAX, &local));
    assert_int_equal(local.tm_year, 70);
}

static void test_utc(void **state)
{
    struct tm date = {.tm_year = 2099 - 1900, .tm_mday = 1};

    assert_true(wall_clock_of_utc(&date) == BEGIN_OF_2099);
    date = (struct tm){.tm_year = 70, .tm_mday = 2};
    assert_int_equal(wall_clock_of_utc(&date), 24 * 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_now),
        cmocka_unit_test(test_local),
        cmocka_unit_test(test_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
