/* SPDX-License-Identifier: MIT */
#include "common/sinter/transfer_private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/container.h"
#include "common/io/retry.h"

void lane_enter(struct lane *lane, enum lane_state state)
{
    lane->transfer->lanes_in[lane->state]--;
    lane->transfer->lanes_in[state]++;
    lane->state = state;
}

const struct plan_batch *lane_batch(const struct lane *lane)
{
    return &lane->transfer->batches[lane->number];
}

const struct plan_run *lane_batch_run(const struct lane *lane, uint32_t i, uint32_t *ret_number)
{
    uint32_t number = plan_batch_runs(lane->transfer->settings.plan, lane_batch(lane))[i];

    if (ret_number)
        *ret_number = number;
    return &lane->transfer->runs[number];
}

static void lane_run_copy(struct pool_job *job)
{
    struct lane *lane = container_of(job, struct lane, job);
    const struct transfer *transfer = lane->transfer;

    lane->failed = !assemble_copy(&transfer->assemble, &transfer->runs[lane->number], lane->buffer,
                                  lane->results, &lane->error);
}

/* Makes one run of the batch. When a batch is fetched again only its bad chunks are written: patches are not
 * tried twice. */
static bool lane_make_run(struct lane *lane, const struct plan_run *run, uint8_t *ret_results)
{
    struct transfer *transfer = lane->transfer;

    memset(ret_results, ASSEMBLE_RESULT_PASSED, run->count);
    if (atomic_load_explicit(&transfer->stop, memory_order_relaxed))
        return true;
    if (run->kind == PLAN_KIND_FETCH)
        return assemble_fetched(transfer->assembly, run, lane->buffer, lane->window_offset, ret_results,
                                &lane->error);
    if (lane->tries > 0)
        return true;
    return assemble_patch(transfer->assembly, run, lane->buffer + (run->source_offset - lane->window_offset),
                          ret_results, &lane->error);
}

static void lane_run_write(struct pool_job *job)
{
    struct lane *lane = container_of(job, struct lane, job);
    uint8_t *results = lane->results;

    for (uint32_t i = 0; i < lane_batch(lane)->run_count && !lane->failed; i++) {
        const struct plan_run *run = lane_batch_run(lane, i, NULL);
        lane->failed = !lane_make_run(lane, run, results);
        results += run->count;
    }
}

/* How many chunks of a run were written, and how many were bad. */
struct run_outcome {
    uint32_t written, bad; /* chunks */
};

/* Reports the chunks of a run that were written. */
static struct run_outcome transfer_account(struct transfer *transfer, const struct plan_run *run,
                                           const uint8_t *results)
{
    const struct chunk_table *table = transfer->settings.table;
    struct run_outcome outcome = {0};

    for (uint32_t from = 0, to; from < run->count; from = to) {
        for (to = from; to < run->count && results[to] == results[from]; to++)
            continue;
        if (results[from] == ASSEMBLE_RESULT_BAD)
            outcome.bad += to - from;
        if (results[from] != ASSEMBLE_RESULT_WRITTEN)
            continue;
        outcome.written += to - from;
        transfer->events->chunks(transfer->owner, run->kind, run->first + from, to - from,
                                 chunk_table_offset(table, run->first + to) -
                                     chunk_table_offset(table, run->first + from));
    }
    return outcome;
}

static bool lane_has_batch(const struct lane *lane)
{
    return lane->state != LANE_FREE && lane->state != LANE_COPYING;
}

/* Makes the lane free for other work. */
static void lane_release(struct lane *lane)
{
    if (lane_has_batch(lane))
        lane->transfer->in_flight_bytes -= lane_batch(lane)->size;
    lane->have = 0;
    lane->tries = 0;
    backoff_reset(&lane->backoff);
    /* Only a few large frames need more than a run; do not keep that memory. */
    if (lane->buffer_size > lane->transfer->settings.run_size_max) {
        free(lane->buffer);
        lane->buffer = NULL;
        lane->buffer_size = 0;
    }
    lane_enter(lane, LANE_FREE);
}

/* Narrows what is asked for to the chunks that were fetched badly; returns the first of them. */
static uint32_t lane_narrow(struct lane *lane)
{
    const struct transfer *transfer = lane->transfer;
    uint64_t start = UINT64_MAX, end = 0;
    uint32_t first_bad = 0;

    for (uint32_t i = 0; i < lane_batch(lane)->run_count; i++) {
        const struct plan_run *run = lane_batch_run(lane, i, NULL);
        for (uint32_t chunk = run->first; chunk < run->first + run->count; chunk++) {
            uint64_t offset = assemble_fetch_offset(&transfer->assemble, chunk);
            if (run->kind != PLAN_KIND_FETCH || transfer->settings.kept[chunk])
                continue;
            if (offset < start) {
                start = offset;
                first_bad = chunk;
            }
            offset += assemble_fetch_size(&transfer->assemble, chunk);
            end = offset > end ? offset : end;
        }
    }
    lane->window_offset = start;
    lane->window_size = (size_t)(end - start);
    lane->have = 0;
    return first_bad;
}

/* The fetched bytes do not match the table. They are fetched once more, in case something on the way damaged
 * them; after that the server's file is taken to be wrong. */
static void lane_fetched_badly(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    uint32_t first_bad = lane_narrow(lane);
    struct error error;

    error_set(&error, ERROR_MISMATCH,
              "the server's bytes for chunk %" PRIu32
              " of %s are not those the manifest names; publish the image before its manifest",
              first_bad + 1, url_shown(lane_entity(lane)->url));
    if (++lane->tries >= RETRY_RANGE_MISFITS_MAX) {
        lane_release(lane);
        transfer_stop(transfer, TRANSFER_OUTCOME_OVERTAKEN, &error);
        return;
    }
    lane_back_off(lane, &error, 0);
}

static void transfer_run_failed(struct transfer *transfer, uint32_t number)
{
    transfer->incomplete = true;
    transfer_run_done(transfer, number);
    transfer->events->failed(transfer->owner, &transfer->runs[number]);
}

static void lane_copied(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    uint32_t number = lane->number;
    struct run_outcome outcome = transfer_account(transfer, &transfer->runs[number], lane->results);

    lane_release(lane);
    if (outcome.bad)
        transfer_run_failed(transfer, number);
    else
        transfer_run_done(transfer, number);
}

/* Settles each run of the batch: bad bytes of a fetched chunk are fetched again, a patch that failed is
 * reported and not tried again, the rest is done. After a second fetch most runs pass through here again;
 * those with nothing newly written were settled before. */
static void lane_written(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    const uint8_t *results = lane->results;
    bool fetched_badly = false;

    for (uint32_t i = 0; i < lane_batch(lane)->run_count; i++) {
        uint32_t number;
        const struct plan_run *run = lane_batch_run(lane, i, &number);
        struct run_outcome outcome = transfer_account(transfer, run, results);
        results += run->count;
        if (outcome.bad && run->kind == PLAN_KIND_FETCH)
            fetched_badly = true;
        else if (outcome.bad)
            transfer_run_failed(transfer, number);
        else if (outcome.written) /* if nothing: it was done at the first try */
            transfer_run_done(transfer, number);
    }
    if (fetched_badly && !transfer->stopping)
        lane_fetched_badly(lane);
    else
        lane_release(lane);
}

/* A job has ended. During a stop nothing new is begun, and the last job's end leads to `done`. */
static void lane_job_done(struct pool_job *job)
{
    struct lane *lane = container_of(job, struct lane, job);
    struct transfer *transfer = lane->transfer;
    bool copied = lane->state == LANE_COPYING;

    if (!copied && lane_batch(lane)->from_pack)
        transfer->unpacking = false;
    if (lane->failed) {
        lane_release(lane);
        transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &lane->error);
    } else {
        if (copied)
            lane_copied(lane);
        else
            lane_written(lane);
        if (!transfer->stopping)
            transfer_got_on(transfer);
    }
    if (!transfer->stopping)
        transfer_fill(transfer);
    else if (transfer_jobs(transfer) == 0)
        later_call(transfer->turn);
}

/* Bytes of the image need no buffer but the lane's; frames of the pack wait until the buffers for unpacking
 * are free. */
void lane_write(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    bool from_pack = lane_batch(lane)->from_pack;

    if (from_pack && transfer->unpacking) {
        lane_enter(lane, LANE_READY);
        return;
    }
    transfer->unpacking = transfer->unpacking || from_pack;
    lane->job = (struct pool_job){.run = lane_run_write, .done = lane_job_done};
    lane_enter(lane, LANE_WRITING);
    pool_submit(transfer->settings.pool, &lane->job);
}

/* A free lane with a buffer of `size` bytes and room for `chunks` results; NULL, and the transfer is stopped,
 * where there is no memory. */
static struct lane *lane_take(struct transfer *transfer, uint32_t number, size_t size, uint32_t chunks)
{
    struct lane *lane = transfer->lanes;

    while (lane->state != LANE_FREE)
        lane++;
    assert(lane < transfer->lanes + transfer->lane_count);
    lane->number = number;
    if (lane->buffer_size < size) {
        size_t room = size > transfer->settings.run_size_max ? size : transfer->settings.run_size_max;
        free(lane->buffer);
        lane->buffer = malloc(room);
        lane->buffer_size = lane->buffer ? room : 0;
    }
    if (lane->results_room < chunks) {
        free(lane->results);
        lane->results = malloc(chunks);
        lane->results_room = lane->results ? chunks : 0;
    }
    if (lane->buffer_size >= size && lane->results_room >= chunks)
        return lane;
    struct error error;
    error_set_errno(&error, ENOMEM, "cannot hold %zu bytes of the image", size);
    transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &error);
    return NULL;
}

void lane_start_copy(struct transfer *transfer, uint32_t run)
{
    struct lane *lane = lane_take(transfer, run, transfer->runs[run].size, transfer->runs[run].count);

    if (!lane)
        return;
    lane->job = (struct pool_job){.run = lane_run_copy, .done = lane_job_done};
    lane_enter(lane, LANE_COPYING);
    pool_submit(transfer->settings.pool, &lane->job);
}

void lane_start_fetch(struct transfer *transfer, uint32_t number)
{
    const struct plan_batch *batch = &transfer->batches[number];
    const uint32_t *runs = plan_batch_runs(transfer->settings.plan, batch);
    uint32_t chunks = 0;

    for (uint32_t i = 0; i < batch->run_count; i++)
        chunks += transfer->runs[runs[i]].count;
    struct lane *lane = lane_take(transfer, number, batch->size, chunks);
    if (!lane)
        return;
    lane->window_offset = batch->offset;
    lane->window_size = batch->size;
    transfer->in_flight_bytes += batch->size;
    lane_fetch(lane);
}
