/* SPDX-License-Identifier: MIT */
/* What counts of what comes, and how much of it is too much. No server, no curl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/io/http_tally.h"

/* As curl tells of a piece of a body: what came, and what is left of it without chunks. */
static void take_piece(struct http_tally *tally, size_t wire, size_t body)
{
    http_tally_take_wire(tally, wire);
    http_tally_take_body(tally, body);
}

static void test_a_body_counts_once(void **state)
{
    struct http_tally tally = {0};

    http_tally_take_header(&tally, 300);
    http_tally_begin_body(&tally);
    for (int i = 0; i < 10; i++)
        take_piece(&tally, 1000, 1000);
    assert_int_equal(tally.bytes, 10000);
    assert_int_equal(http_tally_beside(&tally), 0);
    /* Where curl does not tell what came, what it hands on is all. */
    http_tally_begin_body(&tally);
    http_tally_take_body(&tally, 500);
    assert_int_equal(tally.bytes, 10500);
    assert_int_equal(http_tally_beside(&tally), 0);
}

static void test_what_chunks_add_counts(void **state)
{
    struct http_tally tally = {0};

    http_tally_begin_body(&tally);
    take_piece(&tally, 5000, 1000);
    assert_int_equal(tally.bytes, 5000);
    assert_int_equal(http_tally_beside(&tally), 4000);
    /* Kept by curl, it has come nevertheless, and does not come again. */
    http_tally_take_wire(&tally, 1000);
    assert_int_equal(tally.bytes, 6000);
    http_tally_take_body(&tally, 1000);
    assert_int_equal(tally.bytes, 6000);
    assert_int_equal(http_tally_beside(&tally), 4000);
    assert_false(http_tally_is_too_much(&tally));
}

static void test_headers_count_where_they_are_long(void **state)
{
    struct http_tally tally = {0};

    for (int i = 0; i < HTTP_TALLY_HEADER_FREE / 64; i++)
        http_tally_take_header(&tally, 64);
    assert_int_equal(tally.bytes, 0);
    http_tally_take_header(&tally, 100);
    assert_int_equal(tally.bytes, 100);
    tally = (struct http_tally){0};
    http_tally_take_header(&tally, 2 * HTTP_TALLY_HEADER_FREE);
    assert_int_equal(tally.bytes, HTTP_TALLY_HEADER_FREE);
}

/* curl counts what it reads of a redirect, still shows that count when the next answer has begun, and where
 * it shows the bytes, too, they count once. */
static void test_bodies_that_curl_keeps(void **state)
{
    struct http_tally tally = {0};

    http_tally_take_count(&tally, 0, false);
    http_tally_begin_body(&tally);
    http_tally_take_wire(&tally, 1100);
    http_tally_take_count(&tally, 1000, true);
    assert_int_equal(tally.passed_bytes, 1000);
    assert_int_equal(tally.bytes, 1100);
    http_tally_begin_body(&tally);
    http_tally_take_count(&tally, 1000, true);
    assert_int_equal(tally.bytes, 1100);
    http_tally_take_count(&tally, 200, true);
    assert_int_equal(tally.bytes, 1300);
    /* Those of a body that we are given are not told twice. */
    http_tally_begin_body(&tally);
    take_piece(&tally, 300, 300);
    http_tally_take_count(&tally, 300, true);
    assert_int_equal(tally.bytes, 1600);
    /* Nor are those that a pause leaves with curl. */
    http_tally_begin_body(&tally);
    http_tally_take_count(&tally, 700, false);
    take_piece(&tally, 700, 700);
    assert_int_equal(tally.bytes, 2300);
}

static void test_too_much(void **state)
{
    struct http_tally tally = {0};

    /* Chunks of one byte each are a way of sending. */
    http_tally_begin_body(&tally);
    for (int i = 0; i < 1000 * 1000; i++)
        take_piece(&tally, strlen("1\r\nx\r\n"), 1);
    assert_false(http_tally_is_too_much(&tally));

    http_tally_begin_body(&tally);
    http_tally_take_wire(&tally, HTTP_TALLY_BESIDE_MAX);
    assert_false(http_tally_is_too_much(&tally));
    http_tally_take_wire(&tally, 1);
    assert_true(http_tally_is_too_much(&tally));
    assert_int_equal(http_tally_beside(&tally), HTTP_TALLY_BESIDE_MAX + 1);
    /* A body that comes in the end explains it. */
    http_tally_take_body(&tally, 1);
    assert_false(http_tally_is_too_much(&tally));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_body_counts_once),
        cmocka_unit_test(test_what_chunks_add_counts),
        cmocka_unit_test(test_headers_count_where_they_are_long),
        cmocka_unit_test(test_bodies_that_curl_keeps),
        cmocka_unit_test(test_too_much),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
