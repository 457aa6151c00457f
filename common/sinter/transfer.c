#include "common/sinter/transfer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/io/backoff.h"
#include "common/sinter/assemble.h"

enum {
    RETRY_FIRST_MS = 1000,
    RETRY_MAX_MS = 60 * 1000,
    /* Bytes from the server that do not fit the table are asked for once more: a proxy may have mangled them.
     */
    FETCH_TRIES = 2,
    /* So many new bytes within give_up_ms count as getting on: a slow line is not a dead one. */
    PROGRESS_MIN_BYTES = 16 * 1024,
};

enum lane_state {
    LANE_FREE,
    LANE_COPYING,     /* a pool job reads, proves and writes */
    LANE_FETCHING,    /* a request fills the buffer */
    LANE_BACKING_OFF, /* a timer runs before the rest is asked for again */
    LANE_READY,       /* all is there and waits for the buffers to unpack it with */
    LANE_WRITING,     /* a pool job unpacks, proves and writes what was fetched */
    LANE_STATE_COUNT,
};

/* Carries one copy or one batch at a time. During a pool job the lane is the job's, but for `state`. */
struct lane {
    struct transfer *transfer;
    enum lane_state state;
    uint32_t number; /* of the run that is copied, or of the batch */
    uint8_t *buffer;
    size_t buffer_size;
    uint64_t window_offset; /* what is asked for: the whole batch, or what was bad of it */
    size_t window_size;
    size_t have; /* bytes of it in the buffer, fetched over one or more requests */
    unsigned tries;
    struct http_request *request;
    struct event *timer;
    struct backoff backoff;
    /* the job's result */
    struct pool_job job;
    uint8_t *results; /* enum assemble_result of each chunk of the run, or of all the batch's runs */
    uint32_t results_room;
    bool failed; /* the target could not be written */
    struct error error;
};

/* First in, first out; every number enters a queue at most once, so it never wraps. */
struct queue {
    uint32_t *numbers;
    uint32_t head, tail;
};

/* What ranges are asked of. */
struct entity {
    const char *url;
    char *shown_url; /* for messages: without user and password */
    uint64_t size;   /* bytes, as the manifest says */
    char *etag;      /* once known */
    bool answered;   /* the server has it, and of the right size */
};

struct transfer {
    struct transfer_settings settings;
    const struct transfer_events *events;
    void *owner;
    struct plan_run *runs;
    uint32_t run_count, runs_done;
    struct plan_batch *batches;
    struct queue ready_to_copy, ready_to_fetch;
    uint32_t lanes_in[LANE_STATE_COUNT]; /* how many lanes are in each state */
    uint64_t in_flight_bytes;            /* of all lanes that carry a batch */
    struct entity image, pack;
    const struct entity *last_asked;
    struct assemble_settings assemble;
    struct assembly *assembly;
    bool unpacking; /* a job has the assembly's buffers */
    struct event *give_up;
    struct event *begin;
    uint64_t news_bytes; /* received since the give-up timer was last set back */
    struct error last_error;
    bool incomplete;
    atomic_bool stop; /* for jobs: no more runs */
    bool stopping;
    enum transfer_outcome outcome;
    struct error error;
    unsigned lane_count;
    struct lane lanes[];
};

static void transfer_fill(struct transfer *transfer);

/* The only writer of lane::state. */
static void lane_enter(struct lane *lane, enum lane_state state)
{
    lane->transfer->lanes_in[lane->state]--;
    lane->transfer->lanes_in[state]++;
    lane->state = state;
}

static struct plan_batch *lane_batch(const struct lane *lane)
{
    return &lane->transfer->batches[lane->number];
}

static struct entity *lane_entity(const struct lane *lane)
{
    return lane_batch(lane)->from_pack ? &lane->transfer->pack : &lane->transfer->image;
}

/* Run `i` of the lane's batch, and its number. */
static struct plan_run *lane_batch_run(const struct lane *lane, uint32_t i, uint32_t *ret_number)
{
    uint32_t number = plan_batch_runs(lane->transfer->settings.plan, lane_batch(lane))[i];

    if (ret_number)
        *ret_number = number;
    return &lane->transfer->runs[number];
}

static uint32_t transfer_jobs(const struct transfer *transfer)
{
    return transfer->lanes_in[LANE_COPYING] + transfer->lanes_in[LANE_WRITING];
}

static uint64_t timeval_ms(struct timeval *ret_time, uint64_t ms)
{
    ret_time->tv_sec = (time_t)(ms / 1000);
    ret_time->tv_usec = (suseconds_t)(ms % 1000 * 1000);
    return ms;
}

static void transfer_got_on(struct transfer *transfer)
{
    struct timeval time;

    transfer->news_bytes = 0;
    timeval_ms(&time, transfer->settings.give_up_ms);
    evtimer_add(transfer->give_up, &time);
}

/* Ends everything that can be ended at once; the end itself comes when no job is under way any more. */
static void transfer_stop(struct transfer *transfer, enum transfer_outcome outcome, const struct error *error)
{
    if (transfer->stopping)
        return;
    transfer->stopping = true;
    atomic_store_explicit(&transfer->stop, true, memory_order_relaxed);
    transfer->outcome = outcome;
    if (error)
        transfer->error = *error;
    evtimer_del(transfer->give_up);
    for (unsigned i = 0; i < transfer->lane_count; i++) {
        struct lane *lane = &transfer->lanes[i];
        lane->request = http_cancel(lane->request);
        evtimer_del(lane->timer);
        if (lane->state == LANE_FETCHING || lane->state == LANE_BACKING_OFF || lane->state == LANE_READY)
            lane_enter(lane, LANE_FREE);
    }
    /* The last job's completion, or the timer where there is none, tells the owner. */
    if (transfer_jobs(transfer) == 0)
        event_active(transfer->begin, EV_TIMEOUT, 0);
}

/* The loop's side of a stop, and of the beginning. */
static void transfer_on_turn(evutil_socket_t fd, short what, void *data)
{
    struct transfer *transfer = data;

    if (!transfer->stopping)
        transfer_fill(transfer);
    else if (transfer_jobs(transfer) == 0)
        transfer->events->done(transfer->owner, transfer->outcome,
                               transfer->error.kind == ERROR_NONE ? NULL : &transfer->error);
}

static void transfer_on_give_up(evutil_socket_t fd, short what, void *data)
{
    struct transfer *transfer = data;
    struct error error;

    if (transfer->lanes_in[LANE_FETCHING] + transfer->lanes_in[LANE_BACKING_OFF] == 0)
        error_set(&error, ERROR_SYSTEM, "%s has not answered for %" PRIu64 " s; its medium may be failing",
                  device_path(transfer->settings.target), transfer->settings.give_up_ms / 1000);
    else
        error_set(&error, ERROR_NETWORK,
                  "nothing new arrived from %s for %" PRIu64
                  " s; what was fetched is kept, so try again later%s%s",
                  transfer->last_asked->shown_url, transfer->settings.give_up_ms / 1000,
                  transfer->last_error.kind ? "; last: " : "",
                  transfer->last_error.kind ? transfer->last_error.message : "");
    transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &error);
}

static void queue_add(struct queue *queue, uint32_t number)
{
    queue->numbers[queue->tail++] = number;
}

/* Nothing blocks this run any more. */
static void transfer_unblocked(struct transfer *transfer, uint32_t run)
{
    if (transfer->runs[run].kind == PLAN_KIND_COPY)
        queue_add(&transfer->ready_to_copy, run);
    else if (--transfer->batches[transfer->runs[run].batch].blocked == 0)
        queue_add(&transfer->ready_to_fetch, transfer->runs[run].batch);
}

/* All was done for the run that can be; what waits for it may start. */
static void transfer_run_done(struct transfer *transfer, uint32_t run)
{
    uint32_t count;
    const uint32_t *waiting = plan_waiting_for(transfer->settings.plan, run, &count);

    transfer->runs_done++;
    for (uint32_t i = 0; i < count; i++)
        if (--transfer->runs[waiting[i]].blockers == 0)
            transfer_unblocked(transfer, waiting[i]);
}

static void lane_run_copy(struct pool_job *job)
{
    struct lane *lane = container_of(job, struct lane, job);
    const struct transfer *transfer = lane->transfer;

    lane->failed = !assemble_copy(&transfer->assemble, &transfer->runs[lane->number], lane->buffer,
                                  lane->results, &lane->error);
}

/* One run of the batch. Of one that was asked for again only what was fetched badly is left to do: patches
 * are not tried twice. */
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

/* What became of a run. */
struct run_outcome {
    uint32_t written, bad; /* chunks */
};

/* Tells of the chunks of a run that were written, and keeps them. */
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
        memset(transfer->settings.kept + run->first + from, true, to - from);
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

static void lane_release(struct lane *lane)
{
    if (lane_has_batch(lane))
        lane->transfer->in_flight_bytes -= lane_batch(lane)->size;
    lane->have = 0;
    lane->tries = 0;
    backoff_reset(&lane->backoff);
    /* Few frames are larger than a run; their memory is not kept. */
    if (lane->buffer_size > lane->transfer->settings.run_size_max) {
        free(lane->buffer);
        lane->buffer = NULL;
        lane->buffer_size = 0;
    }
    lane_enter(lane, LANE_FREE);
}

static void lane_back_off(struct lane *lane, const struct error *error, uint64_t retry_after_ms)
{
    struct transfer *transfer = lane->transfer;
    struct timeval time;
    uint32_t random = 0;

    /* Early after the start of a machine there may be none yet: then the longest wait, for a server must not
     * be run against without any. */
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = UINT32_MAX;
    transfer->last_error = *error;
    lane_enter(lane, LANE_BACKING_OFF);
    uint64_t wait_ms = timeval_ms(&time, backoff_next_ms(&lane->backoff, retry_after_ms, random));
    evtimer_add(lane->timer, &time);
    transfer->events->retry(transfer->owner, lane_batch_run(lane, 0, NULL)->first, error, wait_ms);
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

/* What came is not what the table says: once more, in case something between mangled it, then it is the
 * server's. */
static void lane_fetched_badly(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    uint32_t first_bad = lane_narrow(lane);
    struct error error;

    error_set(&error, ERROR_MISMATCH,
              "the server's bytes for chunk %" PRIu32
              " of %s are not those the manifest names; publish the image before its manifest",
              first_bad + 1, lane_entity(lane)->shown_url);
    if (++lane->tries >= FETCH_TRIES) {
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
        else if (outcome.written) /* else it was done with the first try */
            transfer_run_done(transfer, number);
    }
    if (fetched_badly && !transfer->stopping)
        lane_fetched_badly(lane);
    else
        lane_release(lane);
}

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
        event_active(transfer->begin, EV_TIMEOUT, 0);
}

static void lane_on_progress(void *owner, size_t bytes)
{
    struct transfer *transfer = ((struct lane *)owner)->transfer;

    transfer->news_bytes += bytes;
    if (transfer->news_bytes >= PROGRESS_MIN_BYTES)
        transfer_got_on(transfer);
}

/* The first answer names the entity; all others must be of the same. False where they are not. */
static bool lane_check_entity(struct lane *lane, const struct http_response *response)
{
    struct transfer *transfer = lane->transfer;
    struct entity *entity = lane_entity(lane);
    struct error error;

    if (response->total_size && response->total_size != entity->size)
        error_set(&error, ERROR_REMOTE,
                  "%s has %" PRIu64 " bytes and its manifest says %" PRIu64
                  "; publish the image before its manifest",
                  entity->shown_url, response->total_size, entity->size);
    else if (entity->etag && response->etag && strcmp(entity->etag, response->etag) != 0)
        error_set(&error, ERROR_REMOTE, "%s was replaced during the download", entity->shown_url);
    else {
        if (!entity->etag && response->etag && !transfer->settings.ignore_etag)
            entity->etag = alloc_string(response->etag);
        entity->answered = true;
        return true;
    }
    transfer_stop(transfer, TRANSFER_OUTCOME_OVERTAKEN, &error);
    return false;
}

/* What comes of the image needs no buffers but the lane's; what comes of the pack waits for its turn. */
static void lane_write(struct lane *lane)
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

static void lane_on_response(void *owner, struct http_response *response)
{
    struct lane *lane = owner;
    struct transfer *transfer = lane->transfer;

    lane->request = NULL;
    switch (response->outcome) {
    case HTTP_OUTCOME_OK:
        if (!lane_check_entity(lane, response))
            return;
        lane_write(lane);
        transfer_fill(transfer);
        return;
    case HTTP_OUTCOME_TRANSIENT:
        /* What came of the range stays; only the rest is asked for again. Where the connection broke after
         * the last byte there is none. */
        lane->have += response->body_size;
        if (lane->have == lane->window_size) {
            lane_write(lane);
            transfer_fill(transfer);
            return;
        }
        if (response->body_size)
            backoff_reset(&lane->backoff);
        lane_back_off(lane, &response->error, response->retry_after_ms);
        return;
    case HTTP_OUTCOME_CHANGED:
        transfer_stop(transfer, TRANSFER_OUTCOME_OVERTAKEN, &response->error);
        return;
    case HTTP_OUTCOME_FAILED:
        transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &response->error);
        return;
    case HTTP_OUTCOME_NOT_MODIFIED:
        break;
    }
    assert(!"304 to a request without a condition is judged FAILED by http.c");
}

static void lane_fetch(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    struct entity *entity = lane_entity(lane);
    const struct http_get_range get = {
        .url = entity->url,
        .offset = lane->window_offset + lane->have,
        .size = lane->window_size - lane->have,
        .buffer = lane->buffer + lane->have,
        .etag = entity->etag,
        /* Pinned by its size, too, for servers without ETags; but what never was there is no changed one. */
        .total_size = entity->answered ? entity->size : 0,
        .progress = lane_on_progress,
    };

    lane_enter(lane, LANE_FETCHING);
    transfer->last_asked = entity;
    lane->request = http_get_range(transfer->settings.http, &get, lane_on_response, lane);
}

static void lane_on_timer(evutil_socket_t fd, short what, void *data)
{
    lane_fetch(data);
}

/* A free lane with a buffer of `size` bytes and room for `chunks` results; NULL where there is no memory. */
static struct lane *transfer_take_lane(struct transfer *transfer, uint32_t number, size_t size,
                                       uint32_t chunks)
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

static void transfer_start_copy(struct transfer *transfer, uint32_t run)
{
    struct lane *lane =
        transfer_take_lane(transfer, run, transfer->runs[run].size, transfer->runs[run].count);

    if (!lane)
        return;
    lane->job = (struct pool_job){.run = lane_run_copy, .done = lane_job_done};
    lane_enter(lane, LANE_COPYING);
    pool_submit(transfer->settings.pool, &lane->job);
}

static void transfer_start_fetch(struct transfer *transfer, uint32_t number)
{
    const struct plan_batch *batch = &transfer->batches[number];
    const uint32_t *runs = plan_batch_runs(transfer->settings.plan, batch);
    uint32_t chunks = 0;

    for (uint32_t i = 0; i < batch->run_count; i++)
        chunks += transfer->runs[runs[i]].count;
    struct lane *lane = transfer_take_lane(transfer, number, batch->size, chunks);
    if (!lane)
        return;
    lane->window_offset = batch->offset;
    lane->window_size = batch->size;
    transfer->in_flight_bytes += batch->size;
    lane_fetch(lane);
}

/* Whether the next batch may be asked for: lanes are kept until what they fetched is written, so a slow
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

/* Starts whatever may start. */
static void transfer_fill(struct transfer *transfer)
{
    struct queue *copies = &transfer->ready_to_copy, *batches = &transfer->ready_to_fetch;

    for (unsigned i = 0; i < transfer->lane_count && !transfer->unpacking; i++)
        if (transfer->lanes[i].state == LANE_READY)
            lane_write(&transfer->lanes[i]);
    while (!transfer->stopping && transfer_may_fetch(transfer))
        transfer_start_fetch(transfer, batches->numbers[batches->head++]);
    while (!transfer->stopping && transfer->lanes_in[LANE_COPYING] < TRANSFER_COPY_LANES &&
           copies->head < copies->tail)
        transfer_start_copy(transfer, copies->numbers[copies->head++]);
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
        lane->backoff = (struct backoff){.first_ms = RETRY_FIRST_MS, .max_ms = RETRY_MAX_MS};
        lane->timer = evtimer_new(transfer->settings.base, lane_on_timer, lane);
        if (!lane->timer)
            abort();
    }
}

static void transfer_init_entities(struct transfer *transfer)
{
    const struct transfer_settings *settings = &transfer->settings;

    transfer->image.url = settings->image_url;
    transfer->image.shown_url = http_url_for_display(settings->image_url);
    transfer->image.size = chunk_table_image_size(settings->table);
    if (settings->pack_url) {
        transfer->pack.url = settings->pack_url;
        transfer->pack.shown_url = http_url_for_display(settings->pack_url);
        transfer->pack.size = settings->pack_size;
    }
    transfer->last_asked = &transfer->image;
}

struct transfer *transfer_start(const struct transfer_settings *settings,
                                const struct transfer_events *events, void *owner)
{
    unsigned lane_count = settings->connections + TRANSFER_COPY_LANES;
    struct transfer *transfer = alloc_zeroed(sizeof(*transfer) + lane_count * sizeof(struct lane));
    uint32_t batch_count;

    transfer->settings = *settings;
    transfer->events = events;
    transfer->owner = owner;
    transfer->runs = plan_runs(settings->plan, &transfer->run_count);
    transfer->batches = plan_batches(settings->plan, &batch_count);
    transfer->ready_to_copy.numbers = alloc_array(transfer->run_count, sizeof(uint32_t));
    transfer->ready_to_fetch.numbers = alloc_array(batch_count, sizeof(uint32_t));
    transfer->assemble = (struct assemble_settings){
        .table = settings->table,
        .kept = settings->kept,
        .target = settings->target,
        .seeds = settings->seeds,
        .frames = settings->frames,
        .patches = settings->patches,
    };
    transfer->give_up = evtimer_new(settings->base, transfer_on_give_up, transfer);
    transfer->begin = evtimer_new(settings->base, transfer_on_turn, transfer);
    if (!transfer->give_up || !transfer->begin)
        abort();
    transfer_init_entities(transfer);
    transfer_init_lanes(transfer, lane_count);
    for (uint32_t run = 0; run < transfer->run_count; run++)
        if (transfer->runs[run].kind == PLAN_KIND_COPY && transfer->runs[run].blockers == 0)
            queue_add(&transfer->ready_to_copy, run);
    for (uint32_t batch = 0; batch < batch_count; batch++)
        if (transfer->batches[batch].blocked == 0)
            queue_add(&transfer->ready_to_fetch, batch);
    transfer_got_on(transfer);
    transfer->assembly = assembly_new(&transfer->assemble, settings->plan);
    if (!transfer->assembly) {
        struct error error;
        error_set_errno(&error, ENOMEM, "cannot hold what the patches need");
        transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &error);
    }
    event_active(transfer->begin, EV_TIMEOUT, 0);
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
    free(entity->shown_url);
    free(entity->etag);
}

struct transfer *transfer_free(struct transfer *transfer)
{
    if (!transfer)
        return NULL;
    for (unsigned i = 0; i < transfer->lane_count; i++) {
        http_cancel(transfer->lanes[i].request);
        event_free(transfer->lanes[i].timer);
        free(transfer->lanes[i].buffer);
        free(transfer->lanes[i].results);
    }
    event_free(transfer->give_up);
    event_free(transfer->begin);
    assembly_free(transfer->assembly);
    free(transfer->ready_to_copy.numbers);
    free(transfer->ready_to_fetch.numbers);
    entity_finish(&transfer->image);
    entity_finish(&transfer->pack);
    free(transfer);
    return NULL;
}
