/* SPDX-License-Identifier: MIT */
/* Headers that servers send, true and false ones, and what they are taken for. No server, no curl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/io/http_answer.h"

#define PIN "\"pinned\""

/* Takes the header's lines, without their ends, and the empty line. */
static struct http_answer read_header(const char *const *lines)
{
    struct http_answer answer = {0};
    char line[512];

    for (; *lines; lines++) {
        int length = snprintf(line, sizeof(line), "%s\r\n", *lines);
        assert_true(http_answer_take_line(&answer, line, (size_t)length));
    }
    return answer;
}

#define HEADER(...) read_header((const char *const[]){__VA_ARGS__, NULL})

static enum http_outcome judge(struct http_answer answer, struct http_question question, const char *phrase)
{
    struct error error = {0};
    enum http_outcome outcome = http_answer_judge(&answer, &question, "http://host/x", &error);

    assert_int_equal(outcome == HTTP_OUTCOME_OK || outcome == HTTP_OUTCOME_NOT_MODIFIED,
                     error.kind == ERROR_NONE);
    if (phrase && !strstr(error.message, phrase))
        fail_msg("'%s' is not in '%s'", phrase, error.message);
    return outcome;
}

static struct http_question range_of(uint64_t offset, size_t size, uint64_t total_size, const char *etag)
{
    return (struct http_question){.range = true,
                                  .offset = offset,
                                  .size = size,
                                  .total_size = total_size,
                                  .etag = (char *)(uintptr_t)etag,
                                  .if_range = etag && http_answer_etag_is_strong(etag)};
}

static void test_fields_are_read_whatever_their_case_and_blanks(void **state)
{
    struct http_answer answer = HEADER(
        "HTTP/1.1 206 Partial Content", "etag:" PIN, "LAST-MODIFIED:   Sun, 06 Nov 1994 08:49:37 GMT  ",
        "Content-length: 10", "content-RANGE: bytes 5-14/100", "Content-Encoding: identity", "");

    assert_true(answer.complete);
    assert_int_equal(answer.status, 206);
    assert_string_equal(answer.etag, PIN);
    assert_string_equal(answer.last_modified, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_true(answer.has_length && answer.has_range && !answer.encoded && !answer.bad_range);
    assert_int_equal(answer.length, 10);
    assert_int_equal(answer.range_first, 5);
    assert_int_equal(answer.range_last, 14);
    assert_int_equal(answer.range_total, 100);
}

static void test_each_response_starts_anew(void **state)
{
    struct http_answer answer = HEADER("HTTP/1.1 103 Early Hints", "ETag: \"hint\"", "Content-Encoding: gzip",
                                       "", "HTTP/1.1 302 Found", "ETag: \"redirect\"", "Retry-After: 7", "",
                                       "HTTP/2 200", "Content-Length: 3", "");

    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.etag, "");
    assert_false(answer.encoded);
    assert_int_equal(http_answer_retry_after_ms(&answer, 0), 0);
    assert_int_equal(answer.length, 3);
}

static void test_a_trailer_changes_nothing(void **state)
{
    struct http_answer answer = HEADER("HTTP/1.1 200 OK", "ETag: " PIN, "", "ETag: \"trailer\"",
                                       "HTTP/1.1 404 Not Found", "Content-Encoding: gzip", "");

    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.etag, PIN);
    assert_false(answer.encoded);
}

static void test_a_header_without_end_is_cut(void **state)
{
    struct http_answer answer = {0};
    static const char line[] = "X-Endless: and on and on and on\r\n";
    size_t taken = 0;

    while (http_answer_take_line(&answer, line, sizeof(line) - 1))
        taken += sizeof(line) - 1;
    assert_in_range(taken, HTTP_ANSWER_HEADER_MAX - sizeof(line), HTTP_ANSWER_HEADER_MAX);
}

static void test_overlong_fields_count_as_none(void **state)
{
    char etag[HTTP_ANSWER_ETAG_SIZE + 16], line[1024];
    struct http_answer answer = {0};

    memset(etag, 'e', sizeof(etag) - 1);
    etag[sizeof(etag) - 1] = '\0';
    http_answer_take_line(&answer, "HTTP/1.1 200 OK\r\n", 17);
    int length = snprintf(line, sizeof(line), "ETag: %s\r\n", etag);
    assert_true(http_answer_take_line(&answer, line, (size_t)length));
    assert_string_equal(answer.etag, "");

    memset(line, 'x', sizeof(line));
    memcpy(line, "Last-Modified: ", strlen("Last-Modified: "));
    assert_true(http_answer_take_line(&answer, line, sizeof(line)));
    assert_string_equal(answer.last_modified, "");
    assert_true(http_answer_take_line(&answer, "", 0));
}

static void test_senseless_content_ranges(void **state)
{
    static const char *const ranges[] = {
        "Content-Range: bytes 5-4/100",
        "Content-Range: bytes 5-100/100",
        "Content-Range: bytes -5-9/100",
        "Content-Range: bytes 5-14",
        "Content-Range: bytes 5-14/",
        "Content-Range: bytes 5-14/1*0",
        "Content-Range: bytes 5 -14/100",
        "Content-Range: items 5-14/100",
        "Content-Range: bytes */100",
        "Content-Range: bytes 5-99999999999999999999/100",
        "Content-Range: bytes 5-14/100, 5-9/10",
        "Content-Range: bytes 5-18446744073709551615/*",
        "Content-Range:",
        "Content-Range: bytes 0x5-14/100",
    };

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct http_answer answer = HEADER("HTTP/1.1 206 Partial Content", ranges[i], "");
        if (answer.has_range || !answer.bad_range)
            fail_msg("taken for a range: %s", ranges[i]);
        assert_int_equal(judge(answer, range_of(5, 10, 0, NULL), "senseless"), HTTP_OUTCOME_FAILED);
    }

    struct http_answer twice = HEADER("HTTP/1.1 206 Partial Content", "Content-Range: bytes 5-14/100",
                                      "Content-Range: bytes 5-14/100", "");
    assert_int_equal(judge(twice, range_of(5, 10, 0, NULL), "senseless"), HTTP_OUTCOME_FAILED);
}

static void test_retry_after(void **state)
{
    static const struct {
        const char *field;
        uint64_t ms;
    } cases[] = {
        {"Retry-After: 0", 0},
        {"Retry-After: 120", 120000},
        {"Retry-After: 3600", 3600000},
        {"Retry-After: 3601", 3600000},
        {"Retry-After: 99999999999999999999999", 3600000},
        {"Retry-After: -1", 0},
        {"Retry-After: soon", 0},
        {"Retry-After:", 0},
        {"Retry-After: 1.5", 0},
        {"Retry-After: Sun, 06 Nov 1994 08:50:37 GMT", 60000},
        {"Retry-After: Sun, 06 Nov 1994 08:48:37 GMT", 0},
        {"Retry-After: Sun, 06 Nov 2094 08:48:37 GMT", 3600000},
        {"Retry-After: Sun, 06 Nov 1994 08:50:37 GMT or so", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        /* The clock is years off in the first, and the server sends none in the second. */
        struct http_answer dated = HEADER("HTTP/1.1 503 Service Unavailable", cases[i].field,
                                          "Date: Sun, 06 Nov 1994 08:49:37 GMT", "");
        struct http_answer undated = HEADER("HTTP/1.1 503 Service Unavailable", cases[i].field, "");
        assert_int_equal(http_answer_retry_after_ms(&dated, 5), cases[i].ms);
        assert_int_equal(http_answer_retry_after_ms(&undated, 784111777), cases[i].ms);
    }
}

static void test_statuses(void **state)
{
    static const struct {
        const char *line;
        enum http_outcome get, range, pinned;
        const char *phrase;
    } cases[] = {
        {"HTTP/1.1 201 Created", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED,
         "answered 201"},
        {"HTTP/1.1 304 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED,
         "304 Not Modified"},
        {"HTTP/1.1 302 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, "redirect"},
        {"HTTP/1.1 400 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, "400 Bad Request"},
        {"HTTP/1.1 401 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, "credentials"},
        {"HTTP/1.1 403 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, "403 Forbidden"},
        {"HTTP/1.1 404 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_CHANGED, "host/x"},
        {"HTTP/1.1 410 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_CHANGED, "host/x"},
        {"HTTP/1.1 407 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, "proxy's user"},
        {"HTTP/1.1 416 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_CHANGED, "host/x"},
        {"HTTP/1.1 418 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, "answered 418 to"},
        {"HTTP/1.1 408 Hm", HTTP_OUTCOME_TRANSIENT, HTTP_OUTCOME_TRANSIENT, HTTP_OUTCOME_TRANSIENT, "later"},
        {"HTTP/1.1 429 Hm", HTTP_OUTCOME_TRANSIENT, HTTP_OUTCOME_TRANSIENT, HTTP_OUTCOME_TRANSIENT, "later"},
        {"HTTP/1.1 500 Hm", HTTP_OUTCOME_TRANSIENT, HTTP_OUTCOME_TRANSIENT, HTTP_OUTCOME_TRANSIENT, "later"},
        {"HTTP/1.1 501 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, "server"},
        {"HTTP/1.1 503 Hm", HTTP_OUTCOME_TRANSIENT, HTTP_OUTCOME_TRANSIENT, HTTP_OUTCOME_TRANSIENT, "later"},
        {"HTTP/1.1 505 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, "server"},
        {"HTTP/1.1 511 Hm", HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, HTTP_OUTCOME_FAILED, "log in"},
        {"HTTP/1.1 599 Hm", HTTP_OUTCOME_TRANSIENT, HTTP_OUTCOME_TRANSIENT, HTTP_OUTCOME_TRANSIENT, "later"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_answer answer = HEADER(cases[i].line, "");
        assert_int_equal(judge(answer, (struct http_question){.size = 100}, cases[i].phrase), cases[i].get);
        assert_int_equal(judge(answer, range_of(5, 10, 0, NULL), cases[i].phrase), cases[i].range);
        assert_int_equal(judge(answer, range_of(5, 10, 0, PIN), NULL), cases[i].pinned);
        assert_int_equal(judge(answer, range_of(5, 10, 100, NULL), NULL), cases[i].pinned);
    }
}

static void test_whole_files(void **state)
{
    struct http_question question = {.size = 100, .conditional = true};

    assert_int_equal(judge(HEADER("HTTP/1.1 200 OK", "Content-Length: 100", ""), question, NULL),
                     HTTP_OUTCOME_OK);
    assert_int_equal(judge(HEADER("HTTP/1.1 200 OK", ""), question, NULL), HTTP_OUTCOME_OK);
    assert_int_equal(judge(HEADER("HTTP/1.1 304 Not Modified", ""), question, NULL),
                     HTTP_OUTCOME_NOT_MODIFIED);
    assert_int_equal(
        judge(HEADER("HTTP/1.1 200 OK", "Content-Length: 101", ""), question, "more than the 100"),
        HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(HEADER("HTTP/1.1 200 OK", "Content-Encoding: br", ""), question, "compressed"),
                     HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(HEADER("HTTP/1.1 206 OK", "Content-Range: bytes 0-99/100", ""), question, "206"),
                     HTTP_OUTCOME_FAILED);
}

static void test_ranges(void **state)
{
    struct http_answer right =
        HEADER("HTTP/1.1 206 P", "ETag: " PIN, "Content-Range: bytes 5-14/100", "Content-Length: 10", "");

    assert_int_equal(judge(right, range_of(5, 10, 0, NULL), NULL), HTTP_OUTCOME_OK);
    assert_int_equal(judge(right, range_of(5, 10, 100, PIN), NULL), HTTP_OUTCOME_OK);
    assert_int_equal(judge(right, range_of(5, 10, 100, "W/" PIN), NULL), HTTP_OUTCOME_OK);
    assert_int_equal(judge(right, range_of(4, 10, 100, PIN), "bytes 5-14"), HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(right, range_of(5, 11, 100, PIN), "bytes 5-14"), HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(right, range_of(15, 10, 0, NULL), "bytes 5-14"), HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(right, range_of(5, 10, 101, PIN), "size"), HTTP_OUTCOME_CHANGED);
    assert_int_equal(judge(right, range_of(5, 10, 100, "\"other\""), "ETag"), HTTP_OUTCOME_CHANGED);
    assert_int_equal(judge(right, range_of(5, 10, 100, "W/\"other\""), "ETag"), HTTP_OUTCOME_CHANGED);

    right.length = 11;
    assert_int_equal(judge(right, range_of(5, 10, 100, PIN), "11 bytes"), HTTP_OUTCOME_FAILED);
    right.length = 10;
    right.encoded = true;
    assert_int_equal(judge(right, range_of(5, 10, 100, PIN), "compressed"), HTTP_OUTCOME_FAILED);
    /* An ETag is compared only where there are two, an unknown total likewise. */
    struct http_answer bare = HEADER("HTTP/1.1 206 P", "Content-Range: bytes 5-14/*", "");
    assert_int_equal(judge(bare, range_of(5, 10, 100, PIN), NULL), HTTP_OUTCOME_OK);
    assert_int_equal(
        judge(HEADER("HTTP/1.1 206 P", "Content-Length: 10", ""), range_of(5, 10, 100, PIN), "no Content"),
        HTTP_OUTCOME_FAILED);
}

static void assert_fits(const char *range, uint64_t offset, size_t size, size_t fit, uint64_t lead)
{
    struct http_question question = range_of(offset, size, 0, NULL);
    struct http_answer answer = HEADER("HTTP/1.1 206 P", range, "");
    uint64_t got_lead = 77;

    if (!fit) {
        assert_int_equal(judge(answer, question, "when asked for"), HTTP_OUTCOME_FAILED);
        return;
    }
    assert_int_equal(judge(answer, question, NULL), HTTP_OUTCOME_OK);
    assert_int_equal(http_answer_fit(&answer, &question, &got_lead), fit);
    assert_int_equal(got_lead, lead);
}

/* A server may send less than was asked for, and a cache the blocks around it. */
static void test_less_and_more_than_was_asked_for(void **state)
{
    assert_fits("Content-Range: bytes 1000-9999/100000", 1000, 9000, 9000, 0);
    assert_fits("Content-Range: bytes 1000-5095/100000", 1000, 9000, 4096, 0);
    assert_fits("Content-Range: bytes 1000-5094/100000", 1000, 9000, 0, 0); /* next to nothing */
    assert_fits("Content-Range: bytes 1000-1000/1001", 1000, 9000, 1, 0);   /* nothing follows */
    assert_fits("Content-Range: bytes 0-99999/100000", 1000, 9000, 9000, 1000);
    assert_fits("Content-Range: bytes 0-9998/100000", 1000, 9000, 8999, 1000);
    assert_fits("Content-Range: bytes 0-999/100000", 1000, 9000, 0, 0);
    assert_fits("Content-Range: bytes 1001-9999/100000", 1000, 9000, 0, 0);
    assert_fits("Content-Range: bytes 1000-9999999/10000000", 3 << 20, 9000, 0, 0); /* too far before */
    assert_fits("Content-Range: bytes 1048576-9999999/10000000", 3 << 20, 9000, 9000, 2 << 20);
}

static void test_what_compresses(void **state)
{
    static const char *const harmless[] = {
        "identity",  "none", "utf-8",   "binary", "aws-chunked",         "AWS-Chunked",
        "identity,", "",     "gzipped", "x",      ", aws-chunked;a=gzip"};
    static const char *const compressing[] = {"gzip",         "x-gzip",   "GZIP",        "br",
                                              "zstd",         "deflate",  "compress",    "aws-chunked,gzip",
                                              "identity, br", "gzip;q=1", "\tzstd ,none"};
    char line[100];

    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        snprintf(line, sizeof(line), "Content-Encoding: %s", harmless[i]);
        assert_false(HEADER("HTTP/1.1 200 OK", line, "").encoded);
    }
    for (size_t i = 0; i < sizeof(compressing) / sizeof(compressing[0]); i++) {
        snprintf(line, sizeof(line), "Content-Encoding: %s", compressing[i]);
        assert_true(HEADER("HTTP/1.1 200 OK", line, "").encoded);
    }
}

static void test_web_pages(void **state)
{
    struct http_answer page =
        HEADER("HTTP/1.1 200 OK", "Content-Type: text/html; charset=utf-8", "Content-Length: 50", "");
    static const char *const pages[] = {"<html>", "\r\n\t <!DOCTYPE html>", "\xef\xbb\xbf<a>"};
    static const char *const others[] = {"", " ", "{\"a\":\"<\"}", "untrusted comment: <", "\xef\xbb<", "a<"};

    assert_int_equal(judge(page, range_of(5, 10, 0, NULL), "web page"), HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(page, range_of(5, 10, 100, PIN), "web page"), HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(page, (struct http_question){.size = 49}, "web page"), HTTP_OUTCOME_FAILED);
    /* Our own file, by whatever name it goes. */
    assert_int_equal(judge(page, (struct http_question){.size = 50}, NULL), HTTP_OUTCOME_OK);
    assert_int_equal(judge(page, range_of(0, 50, 50, NULL), NULL), HTTP_OUTCOME_OK);
    assert_int_equal(judge(page, range_of(5, 10, 50, NULL), "range requests"), HTTP_OUTCOME_FAILED);
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        assert_true(http_answer_is_page(pages[i], strlen(pages[i])));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(http_answer_is_page(others[i], strlen(others[i])));
}

static void test_whole_file_in_place_of_a_range(void **state)
{
    struct http_answer same = HEADER("HTTP/1.1 200 OK", "ETag: " PIN, "Content-Length: 100", "");
    struct http_answer other = HEADER("HTTP/1.1 200 OK", "ETag: \"other\"", "Content-Length: 100", "");
    struct http_answer none = HEADER("HTTP/1.1 200 OK", "Content-Length: 100", "");

    assert_int_equal(judge(same, range_of(5, 10, 0, NULL), "range requests"), HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(same, range_of(5, 10, 100, PIN), "range requests"), HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(other, range_of(5, 10, 100, PIN), NULL), HTTP_OUTCOME_CHANGED);
    assert_int_equal(judge(none, range_of(5, 10, 100, PIN), NULL), HTTP_OUTCOME_CHANGED);
    /* No If-Range went out for a weak one, so that its absence says nothing. */
    assert_int_equal(judge(none, range_of(5, 10, 100, "W/" PIN), "range requests"), HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(other, range_of(5, 10, 100, "W/" PIN), NULL), HTTP_OUTCOME_CHANGED);
    assert_int_equal(judge(none, range_of(5, 10, 90, NULL), "size"), HTTP_OUTCOME_CHANGED);

    /* The very one that If-Range named: without it, ranges may be answered. */
    struct http_question question = range_of(5, 10, 100, PIN);
    assert_true(http_answer_if_range_unheard(&same, &question));
    assert_false(http_answer_if_range_unheard(&other, &question));
    assert_false(http_answer_if_range_unheard(&none, &question));
    question.if_range = false;
    assert_false(http_answer_if_range_unheard(&same, &question));

    assert_int_equal(judge(same, range_of(0, 100, 0, NULL), NULL), HTTP_OUTCOME_OK);
    assert_int_equal(judge(same, range_of(0, 100, 100, PIN), NULL), HTTP_OUTCOME_OK);
    assert_int_equal(judge(other, range_of(0, 100, 100, PIN), NULL), HTTP_OUTCOME_CHANGED);
    assert_int_equal(judge(same, range_of(0, 99, 0, NULL), "range requests"), HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(same, range_of(0, 99, 100, NULL), "range requests"), HTTP_OUTCOME_FAILED);
    assert_int_equal(judge(same, range_of(0, 99, 99, NULL), "size"), HTTP_OUTCOME_CHANGED);
}

static void test_strong_etags(void **state)
{
    assert_true(http_answer_etag_is_strong("\"\""));
    assert_true(http_answer_etag_is_strong("\"5f3-a\""));
    assert_false(http_answer_etag_is_strong("W/\"5f3-a\""));
    assert_false(http_answer_etag_is_strong("5f3-a"));
    assert_false(http_answer_etag_is_strong("\""));
    assert_false(http_answer_etag_is_strong(""));
    assert_false(http_answer_etag_is_strong("\"a\r\nX: b\""));
    assert_false(http_answer_etag_is_strong("\"a\"b\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_are_read_whatever_their_case_and_blanks),
        cmocka_unit_test(test_each_response_starts_anew),
        cmocka_unit_test(test_a_trailer_changes_nothing),
        cmocka_unit_test(test_a_header_without_end_is_cut),
        cmocka_unit_test(test_overlong_fields_count_as_none),
        cmocka_unit_test(test_senseless_content_ranges),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_whole_files),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_less_and_more_than_was_asked_for),
        cmocka_unit_test(test_what_compresses),
        cmocka_unit_test(test_web_pages),
        cmocka_unit_test(test_whole_file_in_place_of_a_range),
        cmocka_unit_test(test_strong_etags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
