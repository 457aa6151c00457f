/* SPDX-License-Identifier: MIT */
/* Header lines, the files they come from, and pinned keys: what is taken, and what is refused without
 * repeating a secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/io/http_settings.h"

#define KEY_A "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_B "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

static char path[] = "/tmp/test_http_settings.XXXXXX";

static int set_up(void **state)
{
    int fd = mkstemp(path);

    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    return unlink(path);
}

static void put(const void *data, size_t size, mode_t mode)
{
    FILE *stream = fopen(path, "we");

    assert_non_null(stream);
    assert_int_equal(fwrite(data, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_lines(void **state)
{
    static const char *const good[] = {"X-Key: 7",
                                       "Authorization: Bearer a b:c",
                                       "A:b",
                                       "Referer:\tx",
                                       "User-Agent: mine",
                                       "Ranger: x",
                                       "X-Name: \xc3\xa4"};
    static const char *const bad[] = {
        "",
        "no colon",
        ": value",
        "X-Key:",
        "X-Key: \t ",
        "X Key: 1",
        "X-Key : 1",
        "X-Key: a\r\nX-Other: b",
        "X-Key: a\nb",
        "X-Key: a\rb",
        "X-Key: a\x01",
        "X-Key: a\x7f",
        "X\nKey: a",
        "Range: bytes=0-1",
        "RANGE: bytes=0-1",
        "If-Range: \"x\"",
        "if-match: *",
        "Accept-Encoding: gzip",
        "TE: gzip",
        "Transfer-Encoding: chunked",
        "Content-Length: 3",
        "Connection: close",
        "Host: other",
        "Expect: 100-continue",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_null(http_settings_check_header(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (!http_settings_check_header(bad[i]))
            fail_msg("taken: %s", bad[i]);
    CLEANUP_FREE char *longest = alloc_printf("X: %0*d", HTTP_SETTINGS_HEADER_SIZE_MAX - 3, 1);
    CLEANUP_FREE char *longer = alloc_printf("%s1", longest);
    assert_null(http_settings_check_header(longest));
    assert_non_null(http_settings_check_header(longer));
}

/* What came of adding the file, which holds a secret in each case. */
static void expect_refused(const char *phrase)
{
    char *lines[HTTP_SETTINGS_HEADERS_MAX + 1] = {alloc_string("First: 1")};
    CLEANUP_FREE char *text = alloc_printf("@%s", path);
    struct error error;

    assert_false(http_settings_add_headers(lines, "", text, &error));
    if (!strstr(error.message, phrase))
        fail_msg("no '%s' in: %s", phrase, error.message);
    assert_null(strstr(error.message, "hunter2"));
    assert_null(lines[1]);
    http_settings_clear_headers(lines);
}

static void test_files(void **state)
{
    static const char text[] = "# comment\nX-One: 1\r\n \t\n\nX-Two: 2";
    static const char zero[] = "X-One: hunter2\0\nX-Two: 2\n";
    char *lines[HTTP_SETTINGS_HEADERS_MAX + 1] = {NULL};
    CLEANUP_FREE char *named = alloc_printf("@%s", path);

    put(text, sizeof(text) - 1, 0600);
    assert_true(http_settings_add_headers(lines, "", named, NULL));
    assert_true(http_settings_add_headers(lines, "", "X-Three: 3", NULL));
    assert_string_equal(lines[0], "X-One: 1");
    assert_string_equal(lines[1], "X-Two: 2");
    assert_string_equal(lines[2], "X-Three: 3");
    assert_null(lines[3]);
    http_settings_clear_headers(lines);
    assert_null(lines[0]);

    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0644, 0666};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        put("X-One: hunter2\n", 15, modes[i]);
        expect_refused("may be read by others");
    }
    if (geteuid() == 0) {
        put("X-One: hunter2\n", 15, 0600);
        assert_int_equal(chown(path, 65534, 0), 0);
        expect_refused("belongs to another user");
        assert_int_equal(chown(path, 0, 0), 0);
    }
    put("X-One: hunter2\nRange: hunter2\n", 30, 0600);
    expect_refused(":2: Range: is a header that moonsinter must set itself");
    put("X-One: hunter2\rX-Two: hunter2\n", 30, 0600);
    expect_refused(":1: X-One: has a line feed");
    put("hunter2\n", 8, 0600);
    expect_refused("must read");
    put(zero, sizeof(zero) - 1, 0600);
    expect_refused("zero byte");
}

static void test_bounds(void **state)
{
    CLEANUP_FREE char *large = alloc_zeroed(HTTP_SETTINGS_HEADER_FILE_MAX + 1);
    CLEANUP_FREE char *folder = alloc_printf("@%s", "/tmp");
    char *lines[HTTP_SETTINGS_HEADERS_MAX + 1] = {NULL};
    struct error error;

    memset(large, '\n', HTTP_SETTINGS_HEADER_FILE_MAX + 1);
    put(large, HTTP_SETTINGS_HEADER_FILE_MAX, 0600);
    CLEANUP_FREE char *named = alloc_printf("@%s", path);
    assert_true(http_settings_add_headers(lines, "", named, NULL));
    put(large, HTTP_SETTINGS_HEADER_FILE_MAX + 1, 0600);
    expect_refused("is larger than");
    for (unsigned i = 0; i < HTTP_SETTINGS_HEADERS_MAX; i++)
        assert_true(http_settings_add_headers(lines, "", "X: 1", NULL));
    assert_false(http_settings_add_headers(lines, "", "X-Last: 1", &error));
    assert_non_null(strstr(error.message, "one header too many"));
    http_settings_clear_headers(lines);
    assert_false(http_settings_add_headers(lines, "", folder, &error));
    assert_non_null(strstr(error.message, "no regular file"));
    assert_false(http_settings_add_headers(lines, "", "@/dev/null", &error));
}

static void test_pins(void **state)
{
    static const char *const bad[] = {
        "",
        "sha256//",
        "sha256//AAAA",
        "/etc/key.pem",
        "SHA256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", /* bits beyond the 32 bytes */
        "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
        "sha256//AAAAAAAAAAAAAAAAAAAAAAAA-AAAAAAAAAAAAAAAAAA=",
        KEY_A ";",
        KEY_A "," KEY_B,
        KEY_A ";;" KEY_B,
        " " KEY_A,
        KEY_A ";" KEY_A ";" KEY_A ";" KEY_A ";" KEY_A ";" KEY_A ";" KEY_A ";" KEY_A ";" KEY_A,
    };

    assert_null(http_settings_check_pins(KEY_A));
    assert_null(http_settings_check_pins(KEY_A ";" KEY_B));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (!http_settings_check_pins(bad[i]))
            fail_msg("taken: %s", bad[i]);
}

static void test_arguments(void **state)
{
    static const struct {
        const char *given, *left;
        bool header;
    } cases[] = {
        {"https://u:hunter2@h/x?t=hunter2", "https://h/x?...", false},
        {"http://h/x", "http://h/x", false},
        {"http://h/x?a", "http://h/x?.", false},
        {"Authorization: hunter2", "Authorization", true},
        {"@/etc/secret", "@/etc/secret", true},
        {"hunter2", "hunter2", true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP_FREE char *argument = alloc_string(cases[i].given);
        CLEANUP_FREE char *copy = cases[i].header ? http_settings_take_header_argument(argument)
                                                  : http_settings_take_url_argument(argument);
        assert_string_equal(copy, cases[i].given);
        assert_string_equal(argument, cases[i].left);
        /* Nothing is left behind the end, either: the list of processes shows that, too. */
        for (size_t at = strlen(argument); at < strlen(copy); at++)
            assert_int_equal(argument[at], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines), cmocka_unit_test(test_files),     cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_pins),  cmocka_unit_test(test_arguments),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
