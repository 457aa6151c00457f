/* SPDX-License-Identifier: MIT */
/* Times as RFC 3339 writes them, there and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "common/base/timestamp.h"

static void test_there_and_back(void **state)
{
    static const struct {
        const char *text;
        uint64_t seconds;
    } cases[] = {{"1970-01-01T00:00:00Z", 0},
                 {"2000-02-29T12:00:00Z", 951825600},
                 {"2026-11-22T13:39:09Z", 1795354749},
                 {"2038-01-19T03:14:08Z", UINT64_C(1) << 31},
                 {"2106-02-07T06:28:16Z", UINT64_C(1) << 32},
                 {"9999-12-31T23:59:59Z", TIMESTAMP_MAX}};
    char text[TIMESTAMP_TEXT_SIZE];
    uint64_t seconds;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(timestamp_parse(cases[i].text, &seconds), 0);
        assert_true(seconds == cases[i].seconds);
        assert_string_equal(timestamp_format(text, seconds), cases[i].text);
    }
    assert_string_equal(timestamp_format(text, UINT64_MAX), "9999-12-31T23:59:59Z");
    assert_int_equal(timestamp_parse("2016-12-31T23:59:60Z", &seconds), 0);
    assert_string_equal(timestamp_format(text, seconds), "2017-01-01T00:00:00Z");
}

static void test_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "2026-11-22",
                                        "2026-11-22 13:39:09Z",
                                        "2026-11-22t13:39:09z",
                                        "2026-11-22T13:39:09",
                                        "2026-11-22T13:39:09.5Z",
                                        "2026-11-22T13:39:09+00:00",
                                        "2026-11-22T13:39:09Z ",
                                        "1969-12-31T23:59:59Z",
                                        "2026-00-22T13:39:09Z",
                                        "2026-13-22T13:39:09Z",
                                        "2026-11-00T13:39:09Z",
                                        "2026-11-31T13:39:09Z",
                                        "2026-02-29T13:39:09Z",
                                        "2100-02-29T13:39:09Z",
                                        "2026-11-22T24:00:00Z",
                                        "2026-11-22T13:60:09Z",
                                        "2026-11-22T13:39:61Z",
                                        "9999-12-31T23:59:60Z",
                                        "+026-11-22T13:39:09Z",
                                        "2026-1 -22T13:39:09Z"};
    uint64_t seconds = 7;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(timestamp_parse(texts[i], &seconds), -EINVAL);
    assert_int_equal(seconds, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
