/* SPDX-License-Identifier: MIT */
/* What the command draws: the line of progress (cli/progress.c), and text made safe to show
 * (cli/plain_text.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/plain_text.h"
#include "cli/progress.h"
#include "common/base/alloc.h"

static void test_line(void **state)
{
    struct progress_view view = {.phase = "transferring",
                                 .percent = 50,
                                 .bytes_done = 1500000,
                                 .bytes_total = 3000000,
                                 .rate_bytes_s = 250000,
                                 .eta_s = 6};
    char text[256];

    assert_string_equal(progress_format(text, sizeof(text), 80, &view),
                        "transferring [########---------]  50.0 %  1.5 MB of 3.0 MB  250.0 kB/s  6s left");
    view.eta_s = 0;
    view.rate_bytes_s = 0;
    view.bytes_total = 0;
    view.phase = NULL;
    assert_string_equal(progress_format(text, sizeof(text), 200, &view),
                        "[####################--------------------]  50.0 %  1.5 MB");
}

static void test_line_fits_every_width(void **state)
{
    struct progress_view view = {.phase = "transferring",
                                 .percent = 99.99,
                                 .bytes_done = UINT64_MAX,
                                 .bytes_total = UINT64_MAX,
                                 .rate_bytes_s = UINT64_MAX,
                                 .eta_s = UINT64_MAX};
    char text[256];

    for (unsigned columns = 1; columns < 300; columns++) {
        for (size_t size = 1; size < sizeof(text); size += 17) {
            char *room = alloc_zeroed(size); /* of that size exactly, for the address sanitizer */
            progress_format(room, size, columns, &view);
            assert_true(strlen(room) < size);
            assert_true(strlen(room) < columns);
            free(room);
        }
    }
}

static void test_percent_out_of_range(void **state)
{
    static const double values[] = {-1, 101, 1e300, -1e300, 0.0 / 0.0};
    char text[256];

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct progress_view view = {.percent = values[i]};
        progress_format(text, sizeof(text), 80, &view);
        assert_true(strstr(text, "  0.0 %") || strstr(text, "100.0 %"));
    }
}

static void test_nothing_is_drawn_where_there_is_no_terminal(void **state)
{
    struct progress_view view = {.percent = 50};
    struct progress progress;
    char buffer[64] = "";
    FILE *stream = tmpfile();

    assert_non_null(stream);
    progress_init(&progress, fileno(stream), false);
    progress_draw(&progress, &view);
    progress_clear(&progress);
    progress_finish(&progress);
    rewind(stream);
    assert_int_equal(fread(buffer, 1, sizeof(buffer), stream), 0);
    fclose(stream);
}

static void test_plain_text(void **state)
{
    static const struct {
        const char *text, *plain;
    } cases[] = {
        {"", ""},
        {"Größe 3 €, 𝄞", "Größe 3 €, 𝄞"},
        {"\x1b[2J\r\n\t\x7f", "?[2J????"},
        {"a\xc2\x9b"
         "b",
         "a?b"}, /* CSI as one C1 character */
        {"a\xe2\x80\xae"
         "b",
         "a?b"},             /* right-to-left override */
        {"\xff\xfe", "??"},  /* no UTF-8 */
        {"\xe2\x82", "?"},   /* cut in the middle */
        {"\xc0\x80x", "?x"}, /* overlong zero */
    };
    char text[64];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(plain_text_copy(text, sizeof(text), cases[i].text), cases[i].plain);
        char *printed = NULL;
        size_t size;
        FILE *stream = open_memstream(&printed, &size);
        assert_non_null(stream);
        plain_text_print(stream, cases[i].text);
        fclose(stream);
        assert_string_equal(printed, cases[i].plain);
        free(printed);
    }
    assert_string_equal(plain_text_copy(text, sizeof(text), NULL), "");
    /* Never cut within a character. */
    assert_string_equal(plain_text_copy(text, 4, "ab€"), "ab");
    assert_string_equal(plain_text_copy(text, 6, "ab€"), "ab€");
    assert_string_equal(plain_text_copy(text, 1, "ab€"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_line_fits_every_width),
        cmocka_unit_test(test_percent_out_of_range),
        cmocka_unit_test(test_nothing_is_drawn_where_there_is_no_terminal),
        cmocka_unit_test(test_plain_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
