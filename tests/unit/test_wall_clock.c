/* SPDX-License-Identifier: MIT */
/* Dates that a 32-bit time_t cannot hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
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

/* Of the same clock, in hundredths of a second. */
static uint64_t read_uptime_ms(void)
{
    FILE *file = fopen("/proc/uptime", "r");
    uint64_t seconds, hundredths;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%" SCNu64 ".%2" SCNu64, &seconds, &hundredths), 2);
    fclose(file);
    return seconds * 1000 + hundredths * 10;
}

static void test_since_the_start(void **state)
{
    uint64_t before_ms = read_uptime_ms(), now_ms = wall_clock_boot_ms();

    assert_true(now_ms >= before_ms);
    assert_true(read_uptime_ms() + 10 > now_ms);
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
        cmocka_unit_test(test_since_the_start),
        cmocka_unit_test(test_local),
        cmocka_unit_test(test_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
