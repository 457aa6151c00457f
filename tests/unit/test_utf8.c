/* SPDX-License-Identifier: MIT */
/* What may be shown to people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"

#include "common/base/utf8.h"

static void test_printable(void **state)
{
    static const char *const texts[] = {"a",
                                        "1.0-rc~2 (blue)",
                                        "\xc2\xa0",
                                        "gr\xc3\xbc\xc3\x9f",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x8c\x99",
                                        "\xed\x9f\xbf",
                                        "\xee\x80\x80",
                                        "\xf4\x8f\xbf\xbd"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (!utf8_is_printable(texts[i], 20))
            fail_msg("refused: %zu", i);
}

static void test_not_printable(void **state)
{
    static const char *const texts[] = {
        "",
        "a\nb",
        "\t",
        "\x1b[31m",
        "\x7f",
        "\x80",
        "\xbf",
        "\xc0\x80", /* longer than need be */
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xc2", /* cut off */
        "\xe2\x82",
        "\xf0\x9f\x8c",
        "\xc2z",
        "\xc2\x80", /* C1 control characters */
        "\xc2\x9f",
        "\xed\xa0\x80", /* half a UTF-16 pair */
        "\xed\xbf\xbf",
        "\xf4\x90\x80\x80", /* past the last code point */
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "\xe2\x80\xa8", /* line and paragraph separators */
        "\xe2\x80\xa9",
        "\xe2\x80\xae", /* direction of writing */
        "\xe2\x81\xa6",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (utf8_is_printable(texts[i], 20))
            fail_msg("accepted: %zu", i);
}

static void test_size(void **state)
{
    assert_true(utf8_is_printable("abcd", 4));
    assert_false(utf8_is_printable("abcde", 4));
    assert_false(utf8_is_printable("abc\xc3\xbc", 4));
}

static void test_replace_invalid(void **state)
{
    static const char *const texts[][2] = {
        {"", ""},
        {"a\x1b\xc3\xbc\xe2\x82\xac\xf0\x9f\x9a\x80", "a\x1b\xc3\xbc\xe2\x82\xac\xf0\x9f\x9a\x80"},
        {"\x80z\xff", "?z?"},
        {"\xc0\xaf", "??"},           /* longer than it need be */
        {"\xed\xa0\x80", "???"},      /* half of a UTF-16 pair */
        {"\xf4\x90\x80\x80", "????"}, /* past the last */
        {"x\xe2\x82", "x??"},         /* cut off */
        {"\xe2\x82z", "??z"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        CLEANUP_FREE char *valid = utf8_replace_invalid(texts[i][0]);
        assert_string_equal(valid, texts[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_printable),
        cmocka_unit_test(test_not_printable),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_replace_invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
