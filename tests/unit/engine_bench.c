/* SPDX-License-Identifier: MIT */
#include "tests/unit/engine_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>

void engine_bench_init(struct engine_bench *bench)
{
    struct http_settings settings = {.connections = 3};

    bench->base = event_base_new();
    assert_true(pool_new(bench->base, 3, &bench->pool, NULL));
    assert_true(http_new(bench->base, &settings, &bench->http, NULL));
}

void engine_bench_finish(struct engine_bench *bench)
{
    http_free(bench->http);
    pool_free(bench->pool);
    event_base_free(bench->base);
}

void engine_bench_run(struct engine_bench *bench, const unsigned *dones)
{
    if (*dones == 0)
        assert_int_equal(event_base_dispatch(bench->base), 0);
    assert_int_equal(*dones, 1);
    assert_int_equal(pool_outstanding(bench->pool), 0);
    event_base_loop(bench->base, EVLOOP_NONBLOCK);
    assert_int_equal(*dones, 1);
}
