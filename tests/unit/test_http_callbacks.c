/* SPDX-License-Identifier: MIT */
/* Callbacks may start, cancel and free what they like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/unit/web_server.h"

enum { IMAGE_SIZE = 300000 };

static struct web_server server;
static struct event_base *base;
static struct http *http;

static int set_up_all(void **state)
{
    CLEANUP_FREE uint8_t *image = alloc_zeroed(IMAGE_SIZE);

    web_server_start(&server, image, IMAGE_SIZE, NULL, NULL);
    return 0;
}

static int tear_down_all(void **state)
{
    web_server_stop(&server);
    return 0;
}

static void set_up_with(const struct http_settings *settings)
{
    struct error error;

    http = http_free(http);
    if (!http_new(base, settings, &http, &error))
        fail_msg("%s", error.message);
}

static int set_up(void **state)
{
    base = event_base_new();
    set_up_with(&(struct http_settings){.connections = 4});
    return 0;
}

/* An idle http holds no timer and no socket event: it would keep the loop running. */
static int tear_down(void **state)
{
    if (http)
        assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    http = http_free(http);
    event_base_free(base);
    return 0;
}

struct chain {
    struct web_result result;
    struct http_request *own, *other;
    int left;
    bool in_progress; /* acts in the progress callback, else in the last one */
    void (*act)(struct chain *chain);
};

static void chain_start(struct chain *chain);

static void chain_done(void *owner, struct http_response *response)
{
    struct chain *chain = owner;

    if (!chain->in_progress)
        chain->act(chain);
    chain->result.done = chain->left == 0;
    if (response->outcome != HTTP_OUTCOME_OK)
        fail_msg("%s", response->error.message);
}

static void chain_progress(void *owner, size_t bytes)
{
    struct chain *chain = owner;

    if (chain->in_progress && !chain->result.done) {
        chain->act(chain);
        chain->result.done = chain->left == 0;
    }
}

static void chain_start(struct chain *chain)
{
    CLEANUP_FREE char *url = web_server_url(&server, "image");
    struct http_get get = {.url = url, .max_size = IMAGE_SIZE, .progress = chain_progress};

    chain->own = http_get(http, &get, chain_done, chain);
}

static void act_start_next(struct chain *chain)
{
    if (--chain->left > 0)
        chain_start(chain);
}

static void act_restart(struct chain *chain)
{
    http_cancel(chain->own);
    if (--chain->left > 0)
        chain_start(chain);
}

static void act_cancel_all(struct chain *chain)
{
    http_cancel(chain->own);
    http_cancel(chain->other);
    chain->left = 0;
}

static void act_free(struct chain *chain)
{
    http = http_free(http);
    chain->left = 0;
}

static void run_chain(void (*act)(struct chain *chain), bool in_progress, bool stalled_other, int left)
{
    struct chain chain = {.act = act, .in_progress = in_progress, .left = left};
    struct web_result other = {0};
    CLEANUP_FREE char *url = web_server_url(&server, "stall/image");

    if (stalled_other)
        chain.other =
            http_get(http, &(struct http_get){.url = url, .max_size = IMAGE_SIZE}, web_result_set, &other);
    chain_start(&chain);
    web_wait(base, &chain.result.done);
    /* Let what was cancelled call back, if it dares. */
    event_base_loop(base, EVLOOP_NONBLOCK);
    assert_false(other.done);
}

static void test_callbacks_start_the_next(void **state)
{
    struct http_settings one = {.connections = 1};

    run_chain(act_start_next, false, false, 10);
    set_up_with(&one);
    run_chain(act_start_next, false, false, 10);
}

static void test_progress_cancels_and_starts(void **state)
{
    run_chain(act_restart, true, false, 5);
}

static void test_callbacks_cancel_all(void **state)
{
    run_chain(act_cancel_all, false, true, 1);
    run_chain(act_cancel_all, true, true, 1);
}

static void test_callbacks_free_http(void **state)
{
    run_chain(act_free, false, true, 1);
}

static void test_progress_frees_http(void **state)
{
    run_chain(act_free, true, true, 1);
}

static void test_free_cancels_what_runs_and_waits(void **state)
{
    struct web_result results[8] = {0};
    CLEANUP_FREE char *url = web_server_url(&server, "stall/image");

    for (size_t i = 0; i < 8; i++)
        http_get(http, &(struct http_get){.url = url, .max_size = IMAGE_SIZE}, web_result_set, &results[i]);
    while (http_received_bytes(http) == 0)
        event_base_loop(base, EVLOOP_ONCE);
    http = http_free(http);
    assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
    for (size_t i = 0; i < 8; i++)
        assert_false(results[i].done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_callbacks_start_the_next, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_progress_cancels_and_starts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_callbacks_cancel_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_callbacks_free_http, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_progress_frees_http, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_free_cancels_what_runs_and_waits, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
