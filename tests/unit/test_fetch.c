/* SPDX-License-Identifier: MIT */
/* Files and ranges of moderate size: when a fetch is given up. Runs against the misbehaving server on
 * loopback. */
#include "common/sinter/fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/io/retry.h"
#include "tests/unit/web_server.h"

enum {
    FILE_SIZE = 300000,
    OFFSET = 1000,
    SIZE = 20000,
    PATIENCE_MS = 60 * 1000,
};

static struct web_server server;
static struct event_base *base;
static struct http *http;

/* What became of a fetch. */
struct end {
    bool done;
    unsigned retries;
    enum http_outcome outcome;
    struct error error;
    size_t size;
};

static void on_retry(void *owner, const struct error *error, uint64_t wait_ms)
{
    struct end *end = owner;

    end->retries++;
}

static void on_done(void *owner, char *body, size_t size, enum http_outcome outcome,
                    const struct error *error)
{
    struct end *end = owner;

    end->done = true;
    end->outcome = outcome;
    end->size = size;
    if (error)
        end->error = *error;
    free(body);
}

static const struct fetch_events events = {.retry = on_retry, .done = on_done};

static struct url *make_url(const char *path)
{
    CLEANUP_FREE char *text = web_server_url(&server, path);
    struct error error;
    struct url *url;

    if (!url_new(text, &url, &error))
        fail_msg("%s", error.message);
    return url;
}

static int set_up(void **state)
{
    static const uint8_t file[FILE_SIZE] = {1};
    struct http_settings settings = {.connections = 2, .stall_timeout_ms = 1000};
    struct error error;

    web_server_start(&server, file, sizeof(file), NULL, NULL);
    base = event_base_new();
    if (!http_new(base, &settings, &http, &error))
        fail_msg("%s", error.message);
    return 0;
}

static int tear_down(void **state)
{
    http = http_free(http);
    event_base_free(base);
    web_server_stop(&server);
    return 0;
}

/* Fast enough not to stall, and all of it would come in half a minute. */
static void test_a_range_that_drips_has_a_deadline(void **state)
{
    struct url *url = make_url("drip/image");
    struct end end = {0};

    fetch_start_range(base, http, url, OFFSET, SIZE, FILE_SIZE, 0, &events, &end);
    web_wait(base, &end.done);
    assert_int_equal(end.outcome, HTTP_OUTCOME_TRANSIENT);
    assert_int_equal(end.error.kind, ERROR_NETWORK);
    assert_int_equal(end.retries, 0);
    url_free(url);
}

/* It may lead to a better server at the next time, and is believed after some. */
static void test_a_redirector_that_always_leads_astray(void **state)
{
    struct url *url = make_url("redirect/image?to=/404/image");
    struct end end = {0};

    fetch_start(base, http, url, FILE_SIZE, PATIENCE_MS, &events, &end);
    web_wait(base, &end.done);
    assert_int_equal(end.outcome, HTTP_OUTCOME_FAILED);
    assert_int_equal(end.error.kind, ERROR_REMOTE);
    assert_int_equal(end.retries, RETRY_FILE_REFUSALS_MAX - 1);
    url_free(url);
}

/* It says what is so. */
static void test_a_server_that_has_no_such_file(void **state)
{
    struct url *url = make_url("404/image");
    struct end end = {0};

    fetch_start(base, http, url, FILE_SIZE, PATIENCE_MS, &events, &end);
    web_wait(base, &end.done);
    assert_int_equal(end.outcome, HTTP_OUTCOME_FAILED);
    assert_int_equal(end.retries, 0);
    url_free(url);
}

/* What came of it is kept, and only the rest is asked for. */
static void test_a_range_that_breaks_off(void **state)
{
    struct url *url = make_url("short/image?times=2");
    struct end end = {0};

    fetch_start_range(base, http, url, OFFSET, SIZE, FILE_SIZE, PATIENCE_MS, &events, &end);
    web_wait(base, &end.done);
    assert_int_equal(end.outcome, HTTP_OUTCOME_OK);
    assert_int_equal(end.size, SIZE);
    assert_int_equal(end.retries, 2);
    url_free(url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_range_that_drips_has_a_deadline),
        cmocka_unit_test(test_a_redirector_that_always_leads_astray),
        cmocka_unit_test(test_a_server_that_has_no_such_file),
        cmocka_unit_test(test_a_range_that_breaks_off),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
