/* SPDX-License-Identifier: MIT */
#include "tests/unit/clone_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>

static void count(struct clone_watch *watch, enum told told)
{
    assert_int_equal(watch->dones, 0);
    watch->told[told]++;
    if (++watch->events == watch->cancel_in_event)
        clone_cancel(watch->clone);
}

static void on_phase(void *owner, enum clone_phase phase)
{
    struct clone_watch *watch = owner;

    assert_true(phase >= watch->phase);
    watch->phase = phase;
    if (watch->on_phase)
        watch->on_phase(watch->owner, phase);
    count(watch, TOLD_PHASE);
}

static void on_planned(void *owner, const struct plan *plan)
{
    struct clone_watch *watch = owner;

    watch->totals = *plan_totals(plan);
    if (watch->on_planned)
        watch->on_planned(watch->owner);
    count(watch, TOLD_PLANNED);
}

static void on_chunks(void *owner, enum clone_fate fate, uint32_t first, uint32_t chunks, uint64_t bytes)
{
    struct clone_watch *watch = owner;

    assert_true(first + chunks <= CLONE_WATCH_CHUNKS);
    watch->bytes_of[fate] += bytes;
    for (uint32_t i = first; i < first + chunks; i++)
        watch->chunk_told[i]++;
    count(watch, TOLD_CHUNKS);
}

static void on_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms)
{
    assert_true(error->message[0]);
    count(owner, TOLD_RETRY);
}

static void on_seed_skipped(void *owner, const char *path, const struct error *error)
{
    assert_true(path && error->message[0]);
    count(owner, TOLD_SEED_SKIPPED);
}

static void on_pack_skipped(void *owner, const struct error *error)
{
    assert_true(error->message[0]);
    count(owner, TOLD_PACK_SKIPPED);
}

static void on_table_skipped(void *owner, const struct error *error)
{
    assert_true(error->message[0]);
    count(owner, TOLD_TABLE_SKIPPED);
}

static void on_source_hashed(void *owner, const char *path, uint32_t xxh32)
{
    struct clone_watch *watch = owner;

    if (!path)
        watch->target_hash = xxh32;
    count(watch, TOLD_SOURCE_HASHED);
}

static void on_read_back(void *owner, uint32_t xxh32)
{
    struct clone_watch *watch = owner;

    watch->read_back = xxh32;
    count(watch, TOLD_READ_BACK);
}

static void on_done(void *owner, const struct error *error)
{
    struct clone_watch *watch = owner;

    assert_int_equal(watch->dones++, 0);
    assert_int_equal(clone_phase(watch->clone), CLONE_PHASE_FINISHED);
    watch->failed = error != NULL;
    if (error)
        watch->error = *error;
    watch->progress = *clone_progress(watch->clone);
    watch->overtaken = clone_was_overtaken(watch->clone);
    watch->proved = clone_get_sha256(watch->clone, watch->sha256);
    clone_leave_stock(watch->clone);
    watch->clone = clone_free(watch->clone);
    event_base_loopbreak(watch->bench->base);
}

void clone_watch_start(struct clone_watch *watch, struct engine_bench *bench,
                       const struct clone_settings *settings)
{
    static const struct clone_events events = {
        .phase = on_phase,
        .planned = on_planned,
        .chunks = on_chunks,
        .retry = on_retry,
        .seed_skipped = on_seed_skipped,
        .pack_skipped = on_pack_skipped,
        .table_skipped = on_table_skipped,
        .source_hashed = on_source_hashed,
        .read_back = on_read_back,
        .done = on_done,
    };

    *watch = (struct clone_watch){.cancel_in_event = watch->cancel_in_event,
                                  .on_phase = watch->on_phase,
                                  .on_planned = watch->on_planned,
                                  .owner = watch->owner,
                                  .bench = bench};
    watch->clone = clone_new(bench->base, bench->http, bench->pool, settings, &events, watch);
    clone_start(watch->clone);
    assert_int_equal(watch->dones, 0);
}

void clone_watch_finish(struct clone_watch *watch)
{
    engine_bench_run(watch->bench, &watch->dones);
}

void clone_watch_check_failure(const struct clone_watch *watch, enum error_kind kind)
{
    assert_true(watch->failed);
    if (watch->error.kind != kind)
        fail_msg("%s: %s", error_kind_name(watch->error.kind), watch->error.message);
    assert_true(strlen(watch->error.message) > 10);
}
