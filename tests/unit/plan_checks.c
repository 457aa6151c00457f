/* SPDX-License-Identifier: MIT */
#include "tests/unit/plan_checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"

/* The run as it would have been without circles being broken; false where it was to be fetched from the
 * start. */
static bool original_move(const struct world *world, const struct plan_run *run, uint64_t *ret_source)
{
    const struct plan_place *place = &world->places[chunk_index_first_alike(world->index, run->first)];

    *ret_source = place->offset;
    return place->source == PLAN_SOURCE_TARGET;
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

/* Whether run `from` reads what run `to` overwrites. */
static bool must_precede(const struct world *world, const struct plan_run *from, const struct plan_run *to)
{
    uint64_t source;

    return original_move(world, from, &source) &&
           overlaps(source, from->size, chunk_table_offset(world->table, to->first), to->size);
}

/* Whether run `start` lies on a circle of moves. */
static bool on_a_circle(const struct world *world, const struct plan_run *runs, uint32_t count,
                        uint32_t start)
{
    bool reached[CHUNKS_MAX] = {0};
    uint32_t queue[CHUNKS_MAX], queued = 0;

    queue[queued++] = start;
    while (queued > 0) {
        const struct plan_run *run = &runs[queue[--queued]];
        for (uint32_t to = 0; to < count; to++) {
            if (reached[to] || &runs[to] == run || !must_precede(world, run, &runs[to]))
                continue;
            if (to == start)
                return true;
            reached[to] = true;
            queue[queued++] = to;
        }
    }
    return false;
}

static void check_run(const struct world *world, const struct plan_run *run)
{
    uint64_t size = 0;

    for (uint32_t i = 0; i < run->count; i++)
        size += chunk_table_size(world->table, run->first + i);
    assert_int_equal(run->size, size);
    assert_true(run->count > 0 && (run->kind == PLAN_KIND_PATCH || run->size <= world->run_size_max));
    if (run->kind == PLAN_KIND_COPY)
        assert_true(run->source == PLAN_SOURCE_TARGET || run->source == PLAN_SOURCE_WRITTEN ||
                    run->source <= world->seed_count);
}

/* The plan's runs, but for fetched ones that are split where a move was taken back: there the pieces are as
 * the moves would have been. */
static uint32_t split_runs(const struct world *world, const struct plan_run *runs, uint32_t count,
                           struct plan_run *ret_runs)
{
    uint32_t split = 0;

    for (uint32_t r = 0; r < count; r++) {
        uint64_t expected = 0;
        for (uint32_t i = 0; i < (runs[r].kind == PLAN_KIND_FETCH ? runs[r].count : 1); i++) {
            struct plan_run piece = runs[r];
            uint64_t source = 0;
            if (runs[r].kind == PLAN_KIND_FETCH) {
                piece.first += i;
                piece.count = 1;
                piece.size = chunk_table_size(world->table, piece.first);
            }
            bool moved = original_move(world, &piece, &source) && runs[r].kind == PLAN_KIND_FETCH;
            bool joins = i > 0 && moved && source == expected;
            expected = moved ? source + piece.size : UINT64_MAX;
            if (joins) {
                ret_runs[split - 1].count++;
                ret_runs[split - 1].size += piece.size;
            } else {
                ret_runs[split++] = piece;
            }
        }
    }
    return split;
}

/* What is fetched was nowhere, or lay on a circle of moves. */
static void check_taken_back(const struct world *world, const struct plan_run *runs, uint32_t count)
{
    struct plan_run split[CHUNKS_MAX];
    uint32_t pieces = split_runs(world, runs, count, split), broken = 0;

    for (uint32_t r = 0; r < pieces; r++) {
        if (split[r].kind != PLAN_KIND_FETCH)
            continue;
        uint32_t first = chunk_index_first_alike(world->index, split[r].first);
        if (world->places[first].source == PLAN_SOURCE_NONE) {
            /* And nothing like it is in place or made before. */
            for (uint32_t i = 0; i < split[r].first; i++)
                assert_int_not_equal(chunk_index_first_alike(world->index, i), first);
            continue;
        }
        broken++;
        if (!on_a_circle(world, split, pieces, r))
            fail_msg("run %u is fetched, though no circle goes through it", r);
    }
    assert_true(broken <= plan_totals(world->plan)->cycles_broken);
    assert_int_equal(broken > 0, plan_totals(world->plan)->cycles_broken > 0);
}

/* Every run that fetches is in one batch, and a batch is what its runs need with small gaps between. */
static void check_batches(const struct world *world, const struct plan_run *runs, uint32_t run_count,
                          struct plan_totals *sums)
{
    uint32_t batch_count, batched = 0, fetching = 0;
    const struct plan_batch *batches = plan_batches(world->plan, &batch_count);

    for (uint32_t b = 0; b < batch_count; b++) {
        const uint32_t *numbers = plan_batch_runs(world->plan, &batches[b]);
        uint64_t end = batches[b].offset;
        for (uint32_t i = 0; i < batches[b].run_count; i++) {
            const struct plan_run *run = &runs[numbers[i]];
            assert_true(run->kind != PLAN_KIND_COPY && run->batch == b);
            assert_int_equal(batches[b].from_pack, run->kind == PLAN_KIND_PATCH || world->frames != NULL);
            assert_true(run->source_offset >= end && run->source_offset - end <= PLAN_GAP_MAX);
            assert_true(batches[b].run_count == 1 || run->source != PLAN_SOURCE_TARGET);
            sums->gap_bytes += run->source_offset - end;
            end = run->source_offset + run->fetch_size;
            batched++;
        }
        assert_true(end == batches[b].offset + batches[b].size);
        assert_true(batches[b].run_count == 1 || batches[b].size <= world->run_size_max);
    }
    for (uint32_t r = 0; r < run_count; r++)
        fetching += runs[r].kind != PLAN_KIND_COPY;
    assert_int_equal(batched, fetching);
    sums->requests = batch_count;
}

/* Every chunk is kept or in exactly one run, and the sums are those of a plain recount. */
void check_totals(const struct world *world)
{
    struct plan_totals sums = {.image_bytes = world->image.size,
                               .cycles_broken = plan_totals(world->plan)->cycles_broken};
    uint32_t run_count, chunk = 0;
    const struct plan_run *runs = plan_runs(world->plan, &run_count);

    for (uint32_t r = 0; r <= run_count; r++) {
        uint32_t stop = r < run_count ? runs[r].first : chunk_table_count(world->table);
        for (; chunk < stop; chunk++) {
            assert_true(world->kept[chunk]);
            sums.chunks_kept++;
            sums.bytes_kept += chunk_table_size(world->table, chunk);
        }
        if (r == run_count)
            break;
        const struct plan_run *run = &runs[r];
        check_run(world, run);
        for (; chunk < run->first + run->count; chunk++) {
            uint32_t size = chunk_table_size(world->table, chunk);
            assert_true(!world->kept[chunk] || run->kind == PLAN_KIND_PATCH);
            *(world->kept[chunk]             ? &sums.bytes_kept
              : run->kind == PLAN_KIND_COPY  ? &sums.bytes_copied
              : run->kind == PLAN_KIND_PATCH ? &sums.bytes_patched
                                             : &sums.bytes_fetched) += size;
            *(world->kept[chunk]             ? &sums.chunks_kept
              : run->kind == PLAN_KIND_COPY  ? &sums.chunks_copied
              : run->kind == PLAN_KIND_PATCH ? &sums.chunks_patched
                                             : &sums.chunks_fetched) += 1;
        }
        if (run->kind == PLAN_KIND_PATCH)
            sums.patch_bytes += run->fetch_size;
        else if (run->kind == PLAN_KIND_FETCH)
            sums.chunk_bytes += run->fetch_size;
    }
    check_batches(world, runs, run_count, &sums);
    if (!world->patches && !world->frames)
        check_taken_back(world, runs, run_count);
    assert_memory_equal(&sums, plan_totals(world->plan), sizeof(sums));
}

/* ---- carrying it out ---- */

enum { LANES = 4 /* runs under way at the same time, as in a transfer */ };

enum step {
    STEP_WAITING,
    STEP_STARTED, /* it may read and write at any moment now */
    STEP_READ,
    STEP_DONE,
};

struct execution {
    enum step steps[CHUNKS_MAX];
    uint8_t buffers[CHUNKS_MAX][RUN_SIZE_MAX];
    uint32_t under_way;
    uint32_t blockers[CHUNKS_MAX]; /* of each run: others that it waits for */
};

static void run_read(struct world *world, const struct plan_run *run, uint8_t *buffer)
{
    const uint8_t *right = world->image.data + chunk_table_offset(world->table, run->first);
    const struct bytes *source = &world->image;
    uint64_t offset = (uint64_t)(right - world->image.data);

    if (run->kind == PLAN_KIND_PATCH) {
        /* The bytes of the base are still what they were. */
        const struct patch *patch = patch_list_at(world->patches, run->patch);
        const struct patch_span *spans = patch_list_spans(world->patches, patch);
        for (uint32_t i = 0; i < patch->span_count && run->source == PLAN_SOURCE_TARGET; i++)
            assert_memory_equal(world->target.data + spans[i].offset, world->before.data + spans[i].offset,
                                spans[i].size);
    }
    if (run->kind == PLAN_KIND_COPY) {
        source = world_source(world, run->source == PLAN_SOURCE_WRITTEN ? PLAN_SOURCE_TARGET : run->source);
        offset = run->source_offset;
    }
    assert_true(offset + run->size <= source->size);
    memcpy(buffer, source->data + offset, run->size);
    /* The proof of a transfer: a copy that failed it would have to be fetched, and the plan were not exact.
     */
    assert_memory_equal(buffer, right, run->size);
}

static void run_write(struct world *world, const struct plan_run *run, const uint8_t *buffer, uint32_t size)
{
    uint64_t offset = chunk_table_offset(world->table, run->first);

    memcpy(world->target.data + offset, buffer, size);
    if (world->target.size < offset + size)
        world->target.size = offset + size;
}

static void count_blockers(struct execution *execution, const struct world *world, uint32_t run_count)
{
    for (uint32_t r = 0; r < run_count; r++) {
        uint32_t count;
        const uint32_t *waiting = plan_waiting_for(world->plan, r, &count);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(waiting[i] != r && waiting[i] < run_count);
            execution->blockers[waiting[i]]++;
        }
    }
}

static void run_done(struct execution *execution, const struct world *world, uint32_t r)
{
    uint32_t count;
    const uint32_t *waiting = plan_waiting_for(world->plan, r, &count);

    for (uint32_t i = 0; i < count; i++)
        execution->blockers[waiting[i]]--;
}

/* What one request fetches waits for all that any run of it waits for. */
static bool run_is_blocked(const struct execution *execution, const struct world *world,
                           const struct plan_run *runs, uint32_t r)
{
    uint32_t count, blockers = execution->blockers[r];

    if (runs[r].kind == PLAN_KIND_COPY)
        return blockers > 0;
    const struct plan_batch *batch = &plan_batches(world->plan, &count)[runs[r].batch];
    const uint32_t *numbers = plan_batch_runs(world->plan, batch);
    for (uint32_t i = 0; i < batch->run_count; i++)
        blockers += execution->blockers[numbers[i]];
    return blockers > 0;
}

/* Moves one run on, chosen by the dice; false when none can move. */
static bool execution_step(struct execution *execution, struct world *world, const struct plan_run *runs,
                           uint32_t count)
{
    uint32_t start = count ? dice_below(&world->dice, count) : 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t r = (start + i) % count;
        enum step *step = &execution->steps[r];
        if (*step == STEP_DONE || (*step == STEP_WAITING && (run_is_blocked(execution, world, runs, r) ||
                                                             execution->under_way == LANES)))
            continue;
        if (*step == STEP_WAITING) {
            execution->under_way++;
        } else if (*step == STEP_STARTED) {
            run_read(world, &runs[r], execution->buffers[r]);
        } else {
            run_write(world, &runs[r], execution->buffers[r], runs[r].size);
            run_done(execution, world, r);
            execution->under_way--;
            world->fetched += runs[r].kind == PLAN_KIND_FETCH ? runs[r].size : 0;
        }
        ++*step;
        return true;
    }
    return false;
}

/* A kill: what was being written may be half there. Returns the bytes that may have been lost. */
static uint64_t execution_tear(struct execution *execution, struct world *world, const struct plan_run *runs,
                               uint32_t count)
{
    uint64_t lost = 0;

    for (uint32_t r = 0; r < count; r++) {
        if (execution->steps[r] != STEP_STARTED && execution->steps[r] != STEP_READ)
            continue;
        if (execution->steps[r] == STEP_READ)
            run_write(world, &runs[r], execution->buffers[r], dice_below(&world->dice, runs[r].size + 1));
        lost += runs[r].size;
    }
    return lost;
}

bool world_execute(struct world *world, uint32_t steps, uint64_t *ret_lost)
{
    struct execution *execution = alloc_zeroed(sizeof(*execution));
    uint32_t count, left = 0;
    const struct plan_run *runs = plan_runs(world->plan, &count);

    count_blockers(execution, world, count);
    while (steps > 0 && execution_step(execution, world, runs, count))
        steps--;
    for (uint32_t r = 0; r < count; r++)
        left += execution->steps[r] != STEP_DONE;
    if (steps > 0)
        assert_int_equal(left, 0); /* else the runs wait for each other for ever */
    *ret_lost = execution_tear(execution, world, runs, count);
    free(execution);
    return left == 0;
}

void check_result(const struct world *world)
{
    assert_true(world->target.size >= world->image.size);
    assert_memory_equal(world->target.data, world->image.data, world->image.size);
}
