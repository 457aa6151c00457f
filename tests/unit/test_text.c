/* SPDX-License-Identifier: MIT */
/* Numbers as people write them: the whole text or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "common/base/text.h"

static void test_u64(void **state)
{
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "a", "1a"};
    uint64_t value = 7;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(text_parse_u64(bad[i], &value), -EINVAL);
    assert_int_equal(text_parse_u64("18446744073709551616", &value), -ERANGE);
    assert_int_equal(text_parse_u64("99999999999999999999999", &value), -ERANGE);
    assert_int_equal(value, 7);
    assert_int_equal(text_parse_u64("18446744073709551615", &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(text_parse_u64("007", &value), 0);
    assert_int_equal(value, 7);
}

static void test_size(void **state)
{
    static const char *const bad[] = {"", "K", "12Q", "1KB", "1.5M", "-1K", " 1K", "1K ", "1 K", "0x10"};
    uint64_t bytes = 7;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(text_parse_size(bad[i], &bytes), -EINVAL);
    assert_int_equal(text_parse_size("16777216T", &bytes), -ERANGE);
    assert_int_equal(text_parse_size("18446744073709551615K", &bytes), -ERANGE);
    assert_int_equal(bytes, 7);
    assert_int_equal(text_parse_size("0", &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(text_parse_size("128K", &bytes), 0);
    assert_int_equal(bytes, 131072);
    assert_int_equal(text_parse_size("3m", &bytes), 0);
    assert_int_equal(bytes, 3 << 20);
    assert_int_equal(text_parse_size("4G", &bytes), 0);
    assert_true(bytes == UINT64_C(4) << 30);
    assert_int_equal(text_parse_size("1t", &bytes), 0);
    assert_true(bytes == UINT64_C(1) << 40);
}

static void test_duration(void **state)
{
    static const char *const bad[] = {"", " ", "min", "5 fortnights", "-5s", "1.5h", "5minx", "5\t"};
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"0", 0},
                {"5", 5000},
                {"5min", 300000},
                {"1h 30min", 5400000},
                {"1h30min", 5400000},
                {"500ms", 500},
                {" 2 days ", 172800000},
                {"1w", 604800000}};
    uint64_t ms = 7;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(text_parse_duration(bad[i], &ms), -EINVAL);
    assert_int_equal(text_parse_duration("18446744073709551615s", &ms), -ERANGE);
    assert_int_equal(text_parse_duration("18446744073709551615ms 1ms", &ms), -ERANGE);
    assert_int_equal(ms, 7);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(text_parse_duration(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
}

static void test_bool(void **state)
{
    static const char *const yes[] = {"yes", "YES", "true", "on", "1"};
    static const char *const no[] = {"no", "False", "off", "0"};
    static const char *const bad[] = {"", "2", "yess", "nein", " yes"};
    bool value;

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        value = false;
        assert_int_equal(text_parse_bool(yes[i], &value), 0);
        assert_true(value);
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        value = true;
        assert_int_equal(text_parse_bool(no[i], &value), 0);
        assert_false(value);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(text_parse_bool(bad[i], &value), -EINVAL);
}

static void test_formats(void **state)
{
    char text[32];

    assert_string_equal(text_format_bytes(text, 16, 0), "0 B");
    assert_string_equal(text_format_bytes(text, 16, 999), "999 B");
    assert_string_equal(text_format_bytes(text, 16, 1000), "1.0 kB");
    assert_string_equal(text_format_bytes(text, 16, 3400000), "3.4 MB");
    assert_string_equal(text_format_bytes(text, 16, 999960), "1.0 MB");
    assert_string_equal(text_format_bytes(text, 16, UINT64_MAX), "18.4 EB");
    assert_string_equal(text_format_duration(text, 32, 12300), "12.3s");
    assert_string_equal(text_format_duration(text, 32, 65000), "1min 5s");
    assert_string_equal(text_format_duration(text, 32, 3900000), "1h 5min");
    text_format_duration(text, 32, UINT64_MAX);
}

static void test_prefix_and_suffix(void **state)
{
    assert_true(text_has_prefix("abc", "ab"));
    assert_true(text_has_prefix("abc", ""));
    assert_false(text_has_prefix("a", "ab"));
    assert_true(text_has_suffix("a.conf", ".conf"));
    assert_true(text_has_suffix("abc", "abc"));
    assert_false(text_has_suffix("bc", "abc"));
    assert_false(text_has_suffix("a.config", ".conf"));
}

static void test_secrets_in_sentences(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"", ""},
        {"a URL must begin with http:// or https://", "a URL must begin with http:// or https://"},
        {"get http://h/x: gone", "get http://h/x: gone"},
        {"get http://h:80; check", "get http://h:80; check"},
        {"(redirected from http://h:80)", "(redirected from http://h:80)"},
        {"http://[::1]:80/x, http://[fe80::1]: no", "http://[::1]:80/x, http://[fe80::1]: no"},
        {"http://h/a@b and me@home", "http://h/a@b and me@home"},
        {"get http://u:s3cret@h/x: gone", "get http://h/x: gone"},
        {"'http://u:s3cret@h/x' and \"ftp://u:s3cret@g\"", "'http://h/x' and \"ftp://g\""},
        {"http://u:s3/cret@h/x", "http://h/x"},
        {"http://u:s3?cret@h/x", "http://h/x"},
        {"http://u:s3cr", "http://..."},
        {"get http://u:12/s3cret@h/x: gone", "get http://u:12/...@h/x: gone"},
        {"'http://u:12/s3c?ret@h/x' is gone", "'http://u:12/...?...' is gone"},
        {"get http://u:12#s3cret@h/x: gone", "get http://u:12#...: gone"},
        {"get http://us#s3cret:pw@h/x: gone", "get http://us#...: gone"},
        {"http://[::1]:12/s@h", "http://[::1]:12/.@h"},
        {"get http://h/x?s3cret: gone", "get http://h/x?...: gone"},
        {"get http://h/x?...; gone", "get http://h/x?...; gone"},
        {"get http://u:p@h/x?s3cret; http://h?s3cret", "get http://h/x?...; http://h?..."},
        {"socks5h://u:s3cret@h:1080 http:///u:s3cret@h", "socks5h://h:1080 http:///h"},
        {"://", "://"},
        {"is it http://h/? no", "is it http://h/? no"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[100];
        strcpy(text, cases[i].text);
        text_hide_secrets(text);
        assert_string_equal(text, cases[i].shown);
        text_hide_secrets(text);
        assert_string_equal(text, cases[i].shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_duration),
        cmocka_unit_test(test_bool),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_prefix_and_suffix),
        cmocka_unit_test(test_secrets_in_sentences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
