/* References of a manifest: where they lead, and which are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/image/url.h"

static void assert_resolves(const char *base, const char *reference, const char *expected)
{
    char *url = NULL;
    struct error error;

    if (!url_resolve(base, reference, &url, &error))
        fail_msg("%s + %s: %s", base, reference, error.message);
    assert_string_equal(url, expected);
    free(url);
}

static void assert_refused(const char *base, const char *reference, const char *words)
{
    char *url = NULL;
    struct error error = {0};

    if (url_resolve(base, reference, &url, &error))
        fail_msg("accepted: %s + %s = %s", base, reference, url);
    assert_null(url);
    assert_int_equal(error.kind, ERROR_REFUSED);
    if (!strstr(error.message, words))
        fail_msg("no \"%s\" in: %s", words, error.message);
}

static void test_relative(void **state)
{
    static const char base[] = "http://h:81/a/b/i.json";

    assert_resolves(base, "i.chunks", "http://h:81/a/b/i.chunks");
    assert_resolves(base, "c/i.chunks", "http://h:81/a/b/c/i.chunks");
    assert_resolves(base, "./i.chunks", "http://h:81/a/b/i.chunks");
    assert_resolves(base, "../i.chunks", "http://h:81/a/i.chunks");
    assert_resolves(base, "../../../../i.chunks", "http://h:81/i.chunks");
    assert_resolves(base, "c/../d/./e", "http://h:81/a/b/d/e");
    assert_resolves(base, "..", "http://h:81/a/");
    assert_resolves(base, ".", "http://h:81/a/b/");
    assert_resolves(base, "...", "http://h:81/a/b/...");
    assert_resolves(base, ".hidden/..x", "http://h:81/a/b/.hidden/..x");
    assert_resolves(base, "/i.chunks", "http://h:81/i.chunks");
    assert_resolves(base, "/x/../y", "http://h:81/y");
    assert_resolves(base, "i?v=1/../2", "http://h:81/a/b/i?v=1/../2");
    assert_resolves(base, "?v=1", "http://h:81/a/b/i.json?v=1");
    assert_resolves(base, "i#part", "http://h:81/a/b/i");
    assert_resolves(base, "a%20b%3Ac", "http://h:81/a/b/a%20b%3Ac");
    assert_resolves(base, "a/b:c", "http://h:81/a/b/a/b:c");
}

static void test_bases(void **state)
{
    assert_resolves("http://h", "i", "http://h/i");
    assert_resolves("http://h/", "i", "http://h/i");
    assert_resolves("http://h?q", "i", "http://h/i");
    assert_resolves("http://h", "?q", "http://h/?q");
    assert_resolves("http://h/a/i.json?token=a/b#c/d", "x", "http://h/a/x");
    assert_resolves("http://u:p@h:8080/a/i.json", "x", "http://u:p@h:8080/a/x");
    assert_resolves("http://[::1]:8080/a/i.json", "x", "http://[::1]:8080/a/x");
    assert_resolves("HTTPS://h/a/i.json", "x", "HTTPS://h/a/x");
}

static void test_absolute(void **state)
{
    assert_resolves("http://h/a", "http://g/b/../c?d#e", "http://g/c?d");
    assert_resolves("http://h/a", "https://g", "https://g/");
    assert_resolves("https://h/a", "HTTPS://g/b", "HTTPS://g/b");
    assert_resolves("https://h/a", "//g/b", "https://g/b");
    assert_resolves("http://h/a", "//g?x", "http://g/?x");
}

static void test_refused(void **state)
{
    CLEANUP_FREE char *long_one = alloc_zeroed(URL_SIZE_MAX + 2);

    assert_refused("http://h/a", "file:///etc/passwd", "http");
    assert_refused("http://h/a", "ftp://h/x", "http");
    assert_refused("http://h/a", "javascript:1", "http");
    assert_refused("http://h/a", "http:x", "host");
    assert_refused("http://h/a", "http:///x", "host");
    assert_refused("http://h/a", "///x", "host");
    assert_refused("https://h/a", "http://h/x", "https");
    assert_refused("http://h/a", "", "empty");
    assert_refused("http://h/a", "#x", "empty");
    assert_refused("http://h/a", "a b", "blank");
    assert_refused("http://h/a", "a\r\nX: y", "blank");
    assert_refused("http://h/a", "\\\\g\\x", "backslash");
    assert_refused("http://h /a", "x", "blank");
    assert_refused("file:///a", "x", "http");
    assert_refused("/a", "x", "http");
    assert_refused("", "x", "http");
    memset(long_one, 'x', URL_SIZE_MAX + 1);
    assert_refused("http://h/a", long_one, "4096");
}

static void test_names(void **state)
{
    static const char *const names[] = {"i.chunks", "a b#c?d%e.chunks", "c:d", "..", "\xc3\xbc", "a\\b",
                                        "\xff\n"};
    static const char *const expected[] = {
        "i.chunks", "a%20b%23c%3Fd%25e.chunks", "c%3Ad", "..", "%C3%BC", "a%5Cb", "%FF%0A"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CLEANUP_FREE char *reference = url_reference_of_name(names[i]);
        assert_string_equal(reference, expected[i]);
    }
}

static void test_check(void **state)
{
    static const char *const bad[] = {"",           "h/image",       "user:s3cret@h/image", "/etc/passwd", "ftp://s3cret@h/x",
                                      "http:///x",  "http://",       "https:h/x",           "http://h/a b", "http://h/\x1b[2J"};

    assert_true(url_check("http://h/image", NULL));
    assert_true(url_check("HTTPS://user:password@[::1]:8443/image?token=x#y", NULL));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error error = {0};
        assert_false(url_check(bad[i], &error));
        assert_int_equal(error.kind, ERROR_REFUSED);
        assert_null(strstr(error.message, "s3cret"));
    }
}

static void test_append_to_path(void **state)
{
    static const char *const urls[][2] = {
        {"http://h/image", "http://h/image.json"},
        {"http://h/image?token=a/b", "http://h/image.json?token=a/b"},
        {"http://h/image#part", "http://h/image.json"},
        {"http://h/image?x#y?z", "http://h/image.json?x"},
    };

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        CLEANUP_FREE char *url = url_append_to_path(urls[i][0], ".json");
        assert_string_equal(url, urls[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relative), cmocka_unit_test(test_bases), cmocka_unit_test(test_absolute),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_check),    cmocka_unit_test(test_append_to_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
