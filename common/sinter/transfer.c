#include "common/sinter/transfer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/io/backoff.h"

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
    LANE_WRITING,     /* a pool job proves and writes what was fetched */
    LANE_STATE_COUNT,
};

/* Carries one run at a time. During a pool job the lane is the job's, but for `state`. */
struct lane {
    struct transfer *transfer;
    enum lane_state state;
    uint32_t run; /* number of the run */
    uint8_t *buffer;
    size_t have; /* bytes of the run in the buffer, fetched over one or more requests */
    unsigned tries;
    struct http_request *request;
    struct event *timer;
    struct backoff backoff;
    /* the job's result: chunks from first_bad to last_bad are not what they should be, all others are written
     */
    struct pool_job job;
    uint32_t first_bad, last_bad; /* counted from the run's first; first_bad > last_bad: none */
    bool failed;                  /* the target could not be written */
    struct error error;
};

/* First in, first out; every run enters a queue at most once, so it never wraps. */
struct run_queue {
    uint32_t *runs;
    uint32_t head, tail;
};

struct transfer {
    struct transfer_settings settings;
    const struct transfer_events *events;
    void *owner;
    struct plan_run *runs;
    uint32_t run_count, runs_done;
    struct run_queue ready_to_copy, ready_to_fetch;
    uint32_t lanes_in[LANE_STATE_COUNT]; /* how many lanes are in each state */
    char *etag;                          /* of the image, once known */
    bool answered;                       /* the server has the image, and of the right size */
    char *shown_url;                     /* the image's, for messages: without user and password */
    struct event *give_up;
    struct event *begin;
    uint64_t news_bytes; /* received since the give-up timer was last set back */
    struct error last_error;
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

static struct plan_run *lane_run(const struct lane *lane)
{
    return &lane->transfer->runs[lane->run];
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
    transfer->outcome = outcome;
    if (error)
        transfer->error = *error;
    evtimer_del(transfer->give_up);
    for (unsigned i = 0; i < transfer->lane_count; i++) {
        struct lane *lane = &transfer->lanes[i];
        lane->request = http_cancel(lane->request);
        evtimer_del(lane->timer);
        if (lane->state == LANE_FETCHING || lane->state == LANE_BACKING_OFF)
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
                               transfer->outcome == TRANSFER_OUTCOME_DONE ? NULL : &transfer->error);
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
                  transfer->shown_url, transfer->settings.give_up_ms / 1000,
                  transfer->last_error.kind ? "; last: " : "",
                  transfer->last_error.kind ? transfer->last_error.message : "");
    transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &error);
}

static void transfer_queue(struct transfer *transfer, uint32_t run)
{
    struct run_queue *queue =
        transfer->runs[run].kind == PLAN_KIND_FETCH ? &transfer->ready_to_fetch : &transfer->ready_to_copy;

    queue->runs[queue->tail++] = run;
}

static void transfer_run_done(struct transfer *transfer, uint32_t run)
{
    uint32_t count;
    const uint32_t *waiting = plan_waiting_for(transfer->settings.plan, run, &count);

    transfer->runs_done++;
    for (uint32_t i = 0; i < count; i++)
        /* An edge to itself is one that no longer counts (see plan.c). */
        if (waiting[i] != run && --transfer->runs[waiting[i]].blockers == 0)
            transfer_queue(transfer, waiting[i]);
}

/* Proves the chunks in the buffer and writes those that are right, neighbours in one write. On a thread. */
static void lane_prove_and_write(struct lane *lane)
{
    const struct transfer *transfer = lane->transfer;
    const struct chunk_table *table = transfer->settings.table;
    const struct plan_run *run = lane_run(lane);
    uint64_t start = chunk_table_offset(table, run->first);
    uint32_t good_from = 0;

    lane->first_bad = UINT32_MAX;
    lane->last_bad = 0;
    for (uint32_t i = 0; i <= run->count; i++) {
        uint64_t at = chunk_table_offset(table, run->first + i) - start;
        bool end = i == run->count;
        if (!end && chunk_table_proves(table, run->first + i, lane->buffer + at))
            continue;
        if (!end) {
            lane->first_bad = lane->first_bad < i ? lane->first_bad : i;
            lane->last_bad = i;
        }
        uint64_t from = chunk_table_offset(table, run->first + good_from) - start;
        if (at > from) {
            if (!device_write(transfer->settings.target, lane->buffer + from, (size_t)(at - from),
                              start + from, &lane->error)) {
                lane->failed = true;
                return;
            }
            device_start_writeback(transfer->settings.target, start + from, at - from);
        }
        good_from = i + 1;
    }
}

static void lane_run_write(struct pool_job *job)
{
    lane_prove_and_write(container_of(job, struct lane, job));
}

static void lane_run_copy(struct pool_job *job)
{
    struct lane *lane = container_of(job, struct lane, job);
    const struct plan_run *run = lane_run(lane);
    const struct transfer_settings *settings = &lane->transfer->settings;
    bool from_target = run->source == PLAN_SOURCE_TARGET || run->source == PLAN_SOURCE_WRITTEN;
    const struct device *source =
        from_target ? settings->target : settings->seeds[run->source - PLAN_SOURCE_SEED_FIRST];

    if (device_read(source, lane->buffer, run->size, run->source_offset, &lane->error)) {
        lane_prove_and_write(lane);
        return;
    }
    /* A source that cannot be read is as good as one that has changed. */
    lane->first_bad = 0;
    lane->last_bad = run->count - 1;
}

/* Tells of the chunks of the run that are written, and narrows the run to the bad ones between. */
static void lane_account(struct lane *lane, enum plan_kind kind)
{
    struct transfer *transfer = lane->transfer;
    const struct chunk_table *table = transfer->settings.table;
    struct plan_run *run = lane_run(lane);
    bool all = lane->first_bad > lane->last_bad;
    uint32_t before = all ? run->count : lane->first_bad, after = all ? 0 : run->count - 1 - lane->last_bad;
    uint32_t end = run->first + run->count;

    if (before)
        transfer->events->chunks(transfer->owner, kind, run->first, before,
                                 chunk_table_offset(table, run->first + before) -
                                     chunk_table_offset(table, run->first));
    if (after)
        transfer->events->chunks(transfer->owner, kind, end - after, after,
                                 chunk_table_offset(table, end) - chunk_table_offset(table, end - after));
    if (all)
        return;
    run->count -= before + after;
    run->first += before;
    run->size = (uint32_t)(chunk_table_offset(table, run->first + run->count) -
                           chunk_table_offset(table, run->first));
}

static void lane_release(struct lane *lane)
{
    lane->have = 0;
    lane->tries = 0;
    backoff_reset(&lane->backoff);
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
    transfer->events->retry(transfer->owner, lane_run(lane)->first, error, wait_ms);
}

/* What came is not what the table says: once more, in case something between mangled it, then it is the
 * server's. */
static void lane_fetched_badly(struct lane *lane)
{
    struct transfer *transfer = lane->transfer;
    struct error error;

    error_set(&error, ERROR_MISMATCH,
              "the server's bytes for chunk %" PRIu32
              " of %s are not those the manifest names; publish the image before its manifest",
              lane_run(lane)->first + 1, transfer->shown_url);
    if (++lane->tries >= FETCH_TRIES) {
        lane_release(lane);
        transfer_stop(transfer, TRANSFER_OUTCOME_OVERTAKEN, &error);
        return;
    }
    lane->have = 0;
    lane_back_off(lane, &error, 0);
}

static void lane_job_done(struct pool_job *job)
{
    struct lane *lane = container_of(job, struct lane, job);
    struct transfer *transfer = lane->transfer;
    struct plan_run *run = lane_run(lane);
    bool copied = lane->state == LANE_COPYING;

    if (lane->failed) {
        lane_release(lane);
        transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &lane->error);
    } else {
        lane_account(lane, run->kind);
        if (lane->first_bad > lane->last_bad) {
            lane_release(lane);
            transfer_run_done(transfer, lane->run);
        } else if (copied) {
            uint32_t source = run->source;
            run->kind = PLAN_KIND_FETCH;
            run->source = PLAN_SOURCE_NONE;
            lane_release(lane);
            transfer_queue(transfer, lane->run);
            transfer->events->copy_failed(transfer->owner, source, run->size);
        } else if (transfer->stopping) {
            lane_release(lane);
        } else {
            lane_fetched_badly(lane);
        }
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
static bool transfer_check_entity(struct transfer *transfer, const struct http_response *response)
{
    uint64_t image_size = chunk_table_image_size(transfer->settings.table);
    struct error error;

    if (response->total_size && response->total_size != image_size)
        error_set(&error, ERROR_REMOTE,
                  "%s has %" PRIu64 " bytes and its manifest says %" PRIu64
                  "; publish the image before its manifest",
                  transfer->shown_url, response->total_size, image_size);
    else if (transfer->etag && response->etag && strcmp(transfer->etag, response->etag) != 0)
        error_set(&error, ERROR_REMOTE, "%s was replaced during the download", transfer->shown_url);
    else {
        if (!transfer->etag && response->etag && !transfer->settings.ignore_etag)
            transfer->etag = alloc_string(response->etag);
        transfer->answered = true;
        return true;
    }
    transfer_stop(transfer, TRANSFER_OUTCOME_OVERTAKEN, &error);
    return false;
}

static void lane_write(struct lane *lane)
{
    lane->job = (struct pool_job){.run = lane_run_write, .done = lane_job_done};
    lane_enter(lane, LANE_WRITING);
    pool_submit(lane->transfer->settings.pool, &lane->job);
    transfer_fill(lane->transfer);
}

static void lane_on_response(void *owner, struct http_response *response)
{
    struct lane *lane = owner;
    struct transfer *transfer = lane->transfer;

    lane->request = NULL;
    switch (response->outcome) {
    case HTTP_OUTCOME_OK:
        if (!transfer_check_entity(transfer, response))
            return;
        lane_write(lane);
        return;
    case HTTP_OUTCOME_TRANSIENT:
        /* What came of the range stays; only the rest is asked for again. Where the connection broke after
         * the last byte there is none. */
        lane->have += response->body_size;
        if (lane->have == lane_run(lane)->size) {
            lane_write(lane);
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
    const struct plan_run *run = lane_run(lane);
    const struct http_get_range get = {
        .url = transfer->settings.image_url,
        .offset = chunk_table_offset(transfer->settings.table, run->first) + lane->have,
        .size = run->size - lane->have,
        .buffer = lane->buffer + lane->have,
        .etag = transfer->etag,
        /* Pinned by its size, too, for servers without ETags; but an image that never was there is no changed
           one. */
        .total_size = transfer->answered ? chunk_table_image_size(transfer->settings.table) : 0,
        .progress = lane_on_progress,
    };

    lane_enter(lane, LANE_FETCHING);
    lane->request = http_get_range(transfer->settings.http, &get, lane_on_response, lane);
}

static void lane_on_timer(evutil_socket_t fd, short what, void *data)
{
    lane_fetch(data);
}

static struct lane *transfer_free_lane(struct transfer *transfer, uint32_t run)
{
    for (unsigned i = 0; i < transfer->lane_count; i++) {
        struct lane *lane = &transfer->lanes[i];
        if (lane->state != LANE_FREE)
            continue;
        lane->run = run;
        if (!lane->buffer)
            lane->buffer = alloc_zeroed(transfer->settings.run_size_max);
        return lane;
    }
    assert(!"the limits of transfer_fill() leave a lane");
    return NULL;
}

static bool run_queue_take(struct run_queue *queue, uint32_t *ret_run)
{
    if (queue->head == queue->tail)
        return false;
    *ret_run = queue->runs[queue->head++];
    return true;
}

/* Starts whatever may start. Requests keep their lanes until they are written, so a slow medium holds them
 * back. */
static void transfer_fill(struct transfer *transfer)
{
    const uint32_t *in = transfer->lanes_in;
    uint32_t run;

    while (in[LANE_FETCHING] + in[LANE_BACKING_OFF] + in[LANE_WRITING] < transfer->settings.connections &&
           run_queue_take(&transfer->ready_to_fetch, &run))
        lane_fetch(transfer_free_lane(transfer, run));
    while (in[LANE_COPYING] < TRANSFER_COPY_LANES && run_queue_take(&transfer->ready_to_copy, &run)) {
        struct lane *lane = transfer_free_lane(transfer, run);
        lane->job = (struct pool_job){.run = lane_run_copy, .done = lane_job_done};
        lane_enter(lane, LANE_COPYING);
        pool_submit(transfer->settings.pool, &lane->job);
    }
    if (transfer->runs_done == transfer->run_count)
        transfer_stop(transfer, TRANSFER_OUTCOME_DONE, NULL);
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

struct transfer *transfer_start(const struct transfer_settings *settings,
                                const struct transfer_events *events, void *owner)
{
    unsigned lane_count = settings->connections + TRANSFER_COPY_LANES;
    struct transfer *transfer = alloc_zeroed(sizeof(*transfer) + lane_count * sizeof(struct lane));

    transfer->settings = *settings;
    transfer->events = events;
    transfer->owner = owner;
    transfer->shown_url = http_url_for_display(settings->image_url);
    transfer->runs = plan_runs(settings->plan, &transfer->run_count);
    transfer->ready_to_copy.runs = alloc_array(transfer->run_count, sizeof(uint32_t));
    transfer->ready_to_fetch.runs = alloc_array(transfer->run_count, sizeof(uint32_t));
    transfer->lane_count = lane_count;
    transfer->lanes_in[LANE_FREE] = lane_count;
    transfer->give_up = evtimer_new(settings->base, transfer_on_give_up, transfer);
    transfer->begin = evtimer_new(settings->base, transfer_on_turn, transfer);
    if (!transfer->give_up || !transfer->begin)
        abort();
    for (unsigned i = 0; i < lane_count; i++) {
        struct lane *lane = &transfer->lanes[i];
        lane->transfer = transfer;
        lane->backoff = (struct backoff){.first_ms = RETRY_FIRST_MS, .max_ms = RETRY_MAX_MS};
        lane->timer = evtimer_new(settings->base, lane_on_timer, lane);
        if (!lane->timer)
            abort();
    }
    for (uint32_t run = 0; run < transfer->run_count; run++)
        if (transfer->runs[run].blockers == 0)
            transfer_queue(transfer, run);
    transfer_got_on(transfer);
    event_active(transfer->begin, EV_TIMEOUT, 0);
    return transfer;
}

void transfer_cancel(struct transfer *transfer)
{
    struct error error;

    error_set(&error, ERROR_CANCELLED, "the update was cancelled");
    transfer_stop(transfer, TRANSFER_OUTCOME_FAILED, &error);
}

struct transfer *transfer_free(struct transfer *transfer)
{
    if (!transfer)
        return NULL;
    for (unsigned i = 0; i < transfer->lane_count; i++) {
        http_cancel(transfer->lanes[i].request);
        event_free(transfer->lanes[i].timer);
        free(transfer->lanes[i].buffer);
    }
    event_free(transfer->give_up);
    event_free(transfer->begin);
    free(transfer->ready_to_copy.runs);
    free(transfer->ready_to_fetch.runs);
    free(transfer->etag);
    free(transfer->shown_url);
    free(transfer);
    return NULL;
}
