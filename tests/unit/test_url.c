/* SPDX-License-Identifier: MIT */
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

static struct url *url_of(const char *text)
{
    struct url *url;
    struct error error;

    if (!url_new(text, &url, &error))
        fail_msg("%s: %s", text, error.message);
    return url;
}

static void assert_resolves(const char *base_text, const char *reference, const char *expected)
{
    struct url *base = url_of(base_text), *url = NULL;
    struct error error;

    if (!url_refer(base, reference, &url, &error))
        fail_msg("%s + %s: %s", base_text, reference, error.message);
    assert_string_equal(url_text_to_send(url), expected);
    url_free(url);
    url_free(base);
}

static void assert_refused(const char *base_text, const char *reference, const char *words)
{
    struct url *base = url_of(base_text), *url = NULL;
    struct error error = {0};

    if (url_refer(base, reference, &url, &error))
        fail_msg("accepted: %s + %s = %s", base_text, reference, url_text_to_send(url));
    url_free(base);
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
    assert_resolves("http://h/a", "i", "http://h/i");
    assert_resolves("http://h/a", "?q", "http://h/a?q");
    assert_resolves("http://u:p@h:8080/a/i.json", "x", "http://u:p@h:8080/a/x");
    assert_resolves("http://[::1]:8080/a/i.json", "x", "http://[::1]:8080/a/x");
    assert_resolves("HTTPS://h/a/i.json", "x", "HTTPS://h/a/x");
}

/* The base's query stands for tokens: for its own server, and for what has none of its own. */
static void test_queries(void **state)
{
    static const char base[] = "https://h/a/i.json?token=a/b&c=../d#e/f";

    assert_resolves(base, "x", "https://h/a/x?token=a/b&c=../d");
    assert_resolves(base, "../x#y", "https://h/x?token=a/b&c=../d");
    assert_resolves(base, "/x", "https://h/x?token=a/b&c=../d");
    assert_resolves(base, "x?own", "https://h/a/x?own");
    assert_resolves(base, "x?", "https://h/a/x?");
    assert_resolves(base, "?own", "https://h/a/i.json?own");
    assert_resolves(base, "https://g/x", "https://g/x");
    assert_resolves(base, "//g/x", "https://g/x");
    assert_resolves(base, "//h/x", "https://h/x");
    assert_resolves(base, "https://h/x", "https://h/x");
    assert_resolves("http://h/a?", "x", "http://h/x?");
    assert_resolves("http://h/a#t?x", "x", "http://h/x");
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
    assert_refused("http://h/a", "http://h:x/x", "port");
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
        CLEANUP_FREE char *name = url_name_of_reference(reference);
        if (strcmp(names[i], "..") == 0)
            assert_null(name);
        else
            assert_string_equal(name, names[i]);
    }
    static const char *const elsewhere[] = {"",    ".",   "..",   "a/b", "/a",    "//h/a",
                                            "a?b", "?b",  "a#b",  "x:a", "a%2fb", "a%00b",
                                            "a%",  "a%2", "a%zz", "%2e", "%2E%2e"};
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
        assert_null(url_name_of_reference(elsewhere[i]));
}

static void test_check(void **state)
{
    static const char *const good[] = {
        "http://h/image",
        "HTTPS://user:password@[::1]:8443/image?token=x#y",
        "http://user:a:b@h:65535/image",
        "http://h:/image",
        "http://[fe80::1]/image",
        "http://h//image",
    };
    static const char *const bad[] = {
        "",
        "h/image",
        "user:s3cret@h/image",
        "/etc/passwd",
        "ftp://s3cret@h/x",
        "http:///x",
        "http://",
        "http://:80/x",
        "http://user:s3cret@/x",
        "https:h/x",
        "http://h/a b",
        "http://h/\x1b[2J",
        /* What would have ".json" put after the host. */
        "http://h",
        "http://h/",
        "http://h:8080",
        "http://user:s3cret@h",
        "http://h?p=/s3cret",
        "http://h#/x",
        "https://[::1]",
        /* Passwords that end before they end. */
        "http://user:s3cret/more@h/image",
        "http://user:s3cret?more@h/image",
        "http://user:s3cret#more@h/image",
        "http://h:65536/x",
        "http://h:123456/x",
        "http://[::1]:x/x",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_null(url_check(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error error = {0};
        struct url *url = NULL;
        if (!url_check(bad[i]))
            fail_msg("accepted: %s", bad[i]);
        assert_false(url_new(bad[i], &url, &error));
        assert_null(url);
        assert_int_equal(error.kind, ERROR_REFUSED);
        if (strstr(error.message, "s3cret"))
            fail_msg("the password of %s is in: %s", bad[i], error.message);
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
        struct url *url = url_of(urls[i][0]), *beside = url_append_to_path(url, ".json");
        assert_string_equal(url_text_to_send(beside), urls[i][1]);
        url_free(beside);
        url_free(url);
    }
}

static void test_one_and_another(void **state)
{
    struct url *url = url_of("http://u:s3cret@h/i?s3cret"), *other = url_of("http://u:other@h/i?s3cret"),
               *copy = url_copy(url);
    uint8_t digest[DIGEST_SHA256_SIZE], other_digest[DIGEST_SHA256_SIZE];

    assert_true(url_is_equal(url, copy));
    assert_false(url_is_equal(url, other));
    assert_string_equal(url_shown(url), "http://h/i?...");
    assert_string_equal(url_shown(url), url_shown(copy));
    url_get_sha256(url, digest);
    url_get_sha256(other, other_digest);
    assert_memory_not_equal(digest, other_digest, sizeof(digest));
    assert_false(url_is_secure(url));
    url_free(other);
    other = url_of("hTTps://h/i");
    assert_true(url_is_secure(other));
    assert_null(url_free(other));
    assert_null(url_free(copy));
    assert_null(url_free(url));
    assert_null(url_copy(NULL));
    assert_null(url_free(NULL));
}

static void test_url_for_display(void **state)
{
    static const struct {
        const char *url, *shown;
    } cases[] = {
        {"http://host/a?b=c@d#e@f", "http://host/a?..."},
        {"http://host?a", "http://host?..."},
        {"http://host/a#e?f", "http://host/a#..."},
        {"http://user:12/secret@host/img", "http://user:12/...@host/img"},
        {"http://user:12/secret@host/img?x#y", "http://user:12/...@host/img?..."},
        {"http://user:12/sec?ret@host/img", "http://user:12/...?..."},
        {"http://user:12/sec#ret@host/img", "http://user:12/...#..."},
        {"http://user:12#secret@host/img", "http://user:12#..."},
        {"http://user:12?secret@host/img", "http://user:12?..."},
        {"http://user:/secret@host/img", "http://user:/...@host/img"},
        {"http://us#secret:pw@host/img", "http://us#..."},
        {"http://[::1]:12/secret@host", "http://[::1]:12/...@host"},
        {"user:12/secret@host:3128", "user:12/...@host:3128"},
        {"https://user:secret@host:8/x", "https://host:8/x"},
        {"https://user@host", "https://host"},
        {"https://us@er:sec@ret@host/@", "https://host/@"},
        {"https:/user:secret@host/", "https:/host/"},
        {"https:///user:secret@host/", "https:///host/"},
        {"user:secret@host/a", "host/a"},
        {"host/a://b@c", "host/a://b@c"},
        {"http://a\r\nb\x7f/", "http://a??b?/"},
        {"http://user:pass/word@host/a?b", "http://host/a?..."},
        {"http://user:pass?wo/rd@host", "http://host"},
        {"http://user:pass#word@host:8/a", "http://host:8/a"},
        {"socks5h://user:pass/word@host:1080", "socks5h://host:1080"},
        {"user:pass/word@host:3128", "host:3128"},
        {"http://host:8/a@b", "http://host:8/...@b"},
        {"http://[::1]/a@b", "http://[::1]/a@b"},
        {"", ""},
        {"://", "://"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP_FREE char *shown = url_for_display(cases[i].url);
        assert_string_equal(shown, cases[i].shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relative),        cmocka_unit_test(test_bases),
        cmocka_unit_test(test_queries),         cmocka_unit_test(test_absolute),
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_names),
        cmocka_unit_test(test_check),           cmocka_unit_test(test_append_to_path),
        cmocka_unit_test(test_one_and_another), cmocka_unit_test(test_url_for_display),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
