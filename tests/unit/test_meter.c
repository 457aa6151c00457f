/* SPDX-License-Identifier: MIT */
/* How far, how fast, how long yet: the rate that the command draws (cli/meter.c), and the share of the work
 * that a clone has done (common/sinter/clone_progress.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/meter.h"
#include "common/sinter/clone.h"

enum { TICK_MS = 200 };

/* Steps every tick for `ms` at `bytes_s`; what was shown last. */
static struct progress_view go_on(struct meter *meter, uint64_t *now_ms, uint64_t *done, uint64_t total,
                                  uint64_t ms, uint64_t bytes_s)
{
    struct progress_view view = {0};

    for (uint64_t i = 0; i < ms / TICK_MS; i++) {
        *now_ms += TICK_MS;
        *done += bytes_s * TICK_MS / 1000;
        assert_true(meter_step(meter, *now_ms, 0.5, *done, total, &view));
    }
    return view;
}

static void test_the_rate_is_that_of_the_last_seconds(void **state)
{
    struct meter meter = {.label = "downloading"};
    struct progress_view view;
    uint64_t now_ms = 1000000, done = 5000000, total = 105000000;

    /* What there was before is no part of it, and the first second is no rate. */
    assert_true(meter_step(&meter, now_ms, 0.5, done, total, &view));
    assert_int_equal(view.rate_bytes_s, 0);
    assert_false(meter_step(&meter, now_ms + 50, 0.5, done, total, &view));
    view = go_on(&meter, &now_ms, &done, total, 800, 80000);
    assert_int_equal(view.rate_bytes_s, 0);
    view = go_on(&meter, &now_ms, &done, total, 2000, 80000);
    assert_in_range(view.rate_bytes_s, 79000, 81000);
    assert_in_range(view.eta_s, (total - done) / 81000, (total - done) / 79000);
    assert_int_equal(view.percent, 50);
    view = go_on(&meter, &now_ms, &done, total, 60000, 80000);
    assert_in_range(view.rate_bytes_s, 79000, 81000);
    /* Slower from now on: known within seconds, and not after as long as it was fast. */
    view = go_on(&meter, &now_ms, &done, total, 30000, 20000);
    assert_in_range(view.rate_bytes_s, 19900, 20500);
    view = go_on(&meter, &now_ms, &done, total, 60000, 0);
    assert_in_range(view.rate_bytes_s, 0, 10);
    /* Another stage counts anew. */
    meter.label = "copying";
    assert_true(meter_step(&meter, now_ms += 200, 0.5, 0, total, &view));
    assert_int_equal(view.rate_bytes_s, 0);
}

/* 28 MB with 4.5 MB to download, from the field: the bar stood at 75 % for a minute. */
static void test_the_percent_goes_with_the_download(void **state)
{
    struct clone_progress progress = {.scan_total = 56000000};
    double before = 0;

    for (int i = 0; i <= 100; i++) {
        progress.scan_bytes = progress.scan_total / 100 * (uint64_t)i;
        double percent = clone_progress_percent(&progress);
        assert_true(percent >= before && percent <= 10);
        before = percent;
    }
    progress.image_bytes = 28000000;
    progress.bytes_kept = 10000000;
    progress.bytes_planned = 4500000;
    for (int i = 0; i <= 100; i++) { /* copies are made at once */
        progress.bytes_copied = 13500000;
        progress.bytes_received = progress.bytes_planned / 100 * (uint64_t)i;
        progress.bytes_fetched = progress.bytes_received;
        double percent = clone_progress_percent(&progress);
        assert_true(percent >= before && percent - before < 10);
        if (i == 50)
            assert_in_range(percent, 40, 65);
        before = percent;
    }
    assert_in_range(before, 85, 95);
    assert_true(clone_progress_transfer_share(&progress) > 0.999);
    progress.bytes_verified = progress.image_bytes;
    assert_true(clone_progress_percent(&progress) > 99.99);
}

static void test_shares_at_the_ends(void **state)
{
    struct clone_progress progress = {0};

    assert_true(clone_progress_percent(&progress) == 0);
    /* All is there already: what is left is to read it back. */
    progress =
        (struct clone_progress){.scan_total = 10, .scan_bytes = 10, .image_bytes = 100, .bytes_kept = 100};
    assert_true(clone_progress_percent(&progress) == 10);
    assert_true(clone_progress_transfer_share(&progress) == 1);
    progress.bytes_verified = 50;
    assert_true(clone_progress_percent(&progress) == 55);
    /* More than was planned, after a retry. */
    progress = (struct clone_progress){
        .image_bytes = 100, .bytes_fetched = 100, .bytes_planned = 100, .bytes_received = UINT64_MAX};
    assert_true(clone_progress_transfer_share(&progress) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rate_is_that_of_the_last_seconds),
        cmocka_unit_test(test_the_percent_goes_with_the_download),
        cmocka_unit_test(test_shares_at_the_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
