/* SPDX-License-Identifier: MIT */
#include "common/sinter/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/io/retry.h"
#include "common/sinter/transfer_private.h"

uint32_t transfer_jobs(const struct transfer *transfer)
{
    return transfer->lanes_in[LANE_COPYING] + transfer->lanes_in[LANE_WRITING];
}

void transfer_got_on(struct transfer *transfer)
{
    transfer->news_bytes = 0;
    timer_start(transfer->give_up, transfer->settings.give_up_ms);
}

void transfer_stop(struct transfer *transfer, enum transfer_outcome outcome, const struct error *error)
{
    if (transfer->stopping)
        return;
    transfer->stopping = true;
    atomic_store_explicit(&transfer->stop, true, memory_order_relaxed);
    transfer->outcome = outcome;
    if (error)
        transfer->error = *error;
    timer_stop(transfer->give_up);
    for (unsigned i = 0; i < transfer->lane_count; i++) {
        struct lane *lane = &transfer->lanes[i];
        lane->request = http_cancel(lane->request);
        timer_stop(lane->timer);
        if (lane->state == LANE_FETCHING || lane->state == LANE_BACKING_OFF || lane->state == LANE_READY)
            lane_enter(lane, LANE_FREE);
    }
    /* If jobs are under way, lane_job_done() does this for the last of them. */
    if (transfer_jobs(transfer) == 0)
        later_call(transfer->turn);
}

/* On the loop: begins the transfer, or reports its end after a stop. */
static void transfer_on_turn(void *owner)
{
    struct transfer *transfer = owner;

    if (!transfer->stopping)
        transfer_fill(transfer);
    else if (transfer_jobs(transfer) == 0)
        transfer->events->done(transfer->owner, transfer->outcome,
                               transfer->error.kind == ERROR_NONE ? NULL : &transfer->error);
}

static void transfer_on_give_up(void *owner)
{
    struct transfer *transfer = owner;
    const struct entity *entity = transfer->last_asked;
    struct error error;

    if (transfer->lanes_in[LANE_BACKING_OFF] && entity->refused_since_ms) {
        /* The server does answer, so the network is not to blame. */
        transfer_stop(transfer, entity->refusal_outcome, &entity->refusal);
        return;
    }
    if (transfer->lanes_in[LANE_FETCHING] + transfer->lanes_in[LANE_BACKING_OFF] == 0)
        error_set(&error, ERROR_SYSTEM, "%s has not answered for %" PRIu64 " s; its medium may be failing",
                  device_path(transfer->settings.target), transfer->settings.give_up_ms / 1000);
    else
        error_set(&error, ERROR_NETWORK,
                  "nothing new arrived from %s for %" PRIu64
                  " s; what was fetched is kept, so try again later%s%s",
                  url_shown(transfer->last_asked->url), transfer->settings.give_up_ms / 1000,
                  transfer->last_error.kind ? "; last: " : "",
                  transfer->last_error.kind ? transfer->last_error.message : "");
    transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &error);
}

static void queue_add(struct queue *queue, uint32_t number)
{
    queue->numbers[queue->tail++] = number;
}

/* Nothing blocks this run any more: it can be copied, or fetched as soon as no run of its batch is
 * blocked. */
static void transfer_unblocked(struct transfer *transfer, uint32_t run)
{
    if (transfer->runs[run].kind == PLAN_KIND_COPY)
        queue_add(&transfer->ready_to_copy, run);
    else if (--transfer->blocked[transfer->runs[run].batch] == 0)
        queue_add(&transfer->ready_to_fetch, transfer->runs[run].batch);
}

void transfer_run_done(struct transfer *transfer, uint32_t run)
{
    uint32_t count;
    const uint32_t *waiting = plan_waiting_for(transfer->settings.plan, run, &count);

    transfer->runs_done++;
    for (uint32_t i = 0; i < count; i++)
        if (--transfer->blockers[waiting[i]] == 0)
            transfer_unblocked(transfer, waiting[i]);
}

/* Whether the next batch may be requested. A lane stays taken until what it fetched is written, so a slow
 * medium holds requests back. */
static bool transfer_may_fetch(const struct transfer *transfer)
{
    const uint32_t *in = transfer->lanes_in;
    const struct queue *queue = &transfer->ready_to_fetch;

    if (queue->head == queue->tail ||
        in[LANE_FETCHING] + in[LANE_BACKING_OFF] + in[LANE_READY] + in[LANE_WRITING] >=
            transfer->settings.connections)
        return false;
    return transfer->in_flight_bytes == 0 ||
           transfer->in_flight_bytes + transfer->batches[queue->numbers[queue->head]].size <=
               TRANSFER_IN_FLIGHT_MAX;
}

void transfer_fill(struct transfer *transfer)
{
    struct queue *copies = &transfer->ready_to_copy, *batches = &transfer->ready_to_fetch;

    for (unsigned i = 0; i < transfer->lane_count && !transfer->unpacking; i++)
        if (transfer->lanes[i].state == LANE_READY)
            lane_write(&transfer->lanes[i]);
    while (!transfer->stopping && transfer_may_fetch(transfer))
        lane_start_fetch(transfer, batches->numbers[batches->head++]);
    while (!transfer->stopping && transfer->lanes_in[LANE_COPYING] < TRANSFER_COPY_LANES &&
           copies->head < copies->tail)
        lane_start_copy(transfer, copies->numbers[copies->head++]);
    if (!transfer->stopping && transfer->runs_done == transfer->run_count)
        transfer_stop(transfer, transfer->incomplete ? TRANSFER_OUTCOME_INCOMPLETE : TRANSFER_OUTCOME_DONE,
                      NULL);
}

unsigned transfer_connections(const struct chunk_table *table, unsigned connections)
{
    uint32_t largest = chunk_table_size_max(table);
    unsigned most = largest ? TRANSFER_IN_FLIGHT_MAX / largest : connections;

    if (most > connections)
        most = connections;
    return most ? most : 1;
}

uint32_t transfer_run_size_max(const struct chunk_table *table, unsigned connections)
{
    uint32_t size = TRANSFER_IN_FLIGHT_MAX / connections, largest = chunk_table_size_max(table);

    if (size > TRANSFER_RUN_SIZE_MAX)
        size = TRANSFER_RUN_SIZE_MAX;
    return size > largest ? size : largest;
}

static void transfer_init_lanes(struct transfer *transfer, unsigned lane_count)
{
    transfer->lane_count = lane_count;
    transfer->lanes_in[LANE_FREE] = lane_count;
    for (unsigned i = 0; i < lane_count; i++) {
        struct lane *lane = &transfer->lanes[i];
        lane->transfer = transfer;
        lane->backoff = (struct backoff){.first_ms = RETRY_RANGE_FIRST_MS, .max_ms = RETRY_RANGE_MAX_MS};
        lane->timer = timer_new(transfer->settings.base, lane_on_timer, lane);
    }
}

static void transfer_init_entities(struct transfer *transfer)
{
    const struct transfer_settings *settings = &transfer->settings;

    transfer->image.url = settings->image_url;
    transfer->image.size = chunk_table_image_size(settings->table);
    if (settings->pack_url) {
        transfer->pack.url = settings->pack_url;
        transfer->pack.size = settings->pack_size;
    }
    transfer->last_asked = &transfer->image;
}

/* The plan says which run waits for which; here is counted how many each still waits for. */
static void transfer_init_queues(struct transfer *transfer)
{
    const struct plan *plan = transfer->settings.plan;
    uint32_t batch_count, count;

    transfer->runs = plan_runs(plan, &transfer->run_count);
    transfer->batches = plan_batches(plan, &batch_count);
    transfer->blockers = alloc_array(transfer->run_count, sizeof(uint32_t));
    transfer->blocked = alloc_array(batch_count, sizeof(uint32_t));
    transfer->ready_to_copy.numbers = alloc_array(transfer->run_count, sizeof(uint32_t));
    transfer->ready_to_fetch.numbers = alloc_array(batch_count, sizeof(uint32_t));
    for (uint32_t run = 0; run < transfer->run_count; run++) {
        const uint32_t *waiting = plan_waiting_for(plan, run, &count);
        for (uint32_t i = 0; i < count; i++)
            transfer->blockers[waiting[i]]++;
    }
    for (uint32_t run = 0; run < transfer->run_count; run++)
        if (transfer->runs[run].kind != PLAN_KIND_COPY)
            transfer->blocked[transfer->runs[run].batch] += transfer->blockers[run] > 0;
        else if (transfer->blockers[run] == 0)
            queue_add(&transfer->ready_to_copy, run);
    for (uint32_t batch = 0; batch < batch_count; batch++)
        if (transfer->blocked[batch] == 0)
            queue_add(&transfer->ready_to_fetch, batch);
}

struct transfer *transfer_start(const struct transfer_settings *settings,
                                const struct transfer_events *events, void *owner)
{
    unsigned lane_count = settings->connections + TRANSFER_COPY_LANES;
    struct transfer *transfer = alloc_zeroed(sizeof(*transfer) + lane_count * sizeof(struct lane));

    transfer->settings = *settings;
    transfer->events = events;
    transfer->owner = owner;
    transfer->assemble = (struct assemble_settings){
        .table = settings->table,
        .kept = settings->kept,
        .target = settings->target,
        .seeds = settings->seeds,
        .frames = settings->frames,
        .patches = settings->patches,
    };
    transfer->give_up = timer_new(settings->base, transfer_on_give_up, transfer);
    transfer->turn = later_new(settings->base, transfer_on_turn, transfer);
    transfer_init_entities(transfer);
    transfer_init_lanes(transfer, lane_count);
    transfer_init_queues(transfer);
    transfer_got_on(transfer);
    transfer->assembly = assembly_new(&transfer->assemble, settings->plan);
    if (!transfer->assembly) {
        struct error error;
        error_set_errno(&error, ENOMEM, "cannot hold what the patches need");
        transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &error);
    }
    later_call(transfer->turn);
    return transfer;
}

void transfer_cancel(struct transfer *transfer)
{
    struct error error;

    error_set(&error, ERROR_CANCELLED, "the update was cancelled");
    transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &error);
}

static void entity_finish(struct entity *entity)
{
    free(entity->etag);
}

struct transfer *transfer_free(struct transfer *transfer)
{
    if (!transfer)
        return NULL;
    for (unsigned i = 0; i < transfer->lane_count; i++) {
        http_cancel(transfer->lanes[i].request);
        timer_free(transfer->lanes[i].timer);
        free(transfer->lanes[i].buffer);
        free(transfer->lanes[i].results);
    }
    timer_free(transfer->give_up);
    later_free(transfer->turn);
    assembly_free(transfer->assembly);
    free(transfer->blockers);
    free(transfer->blocked);
    free(transfer->ready_to_copy.numbers);
    free(transfer->ready_to_fetch.numbers);
    entity_finish(&transfer->image);
    entity_finish(&transfer->pack);
    free(transfer);
    return NULL;
}
