/* SPDX-License-Identifier: MIT */
/*
 * The inside of a transfer: its lanes, and what they are fetched from. Only for common/sinter/transfer*.c.
 * The loop's thread only, except for what a lane's job is given.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/io/backoff.h"
#include "common/io/http.h"
#include "common/io/later.h"
#include "common/io/pool.h"
#include "common/io/timer.h"
#include "common/sinter/assemble.h"
#include "common/sinter/transfer.h"

enum lane_state {
    LANE_FREE,
    LANE_COPYING,     /* a pool job reads, proves and writes */
    LANE_FETCHING,    /* a request fills the buffer */
    LANE_BACKING_OFF, /* a timer runs before the rest is asked for again */
    LANE_READY,       /* all is fetched; waits for the buffers for unpacking */
    LANE_WRITING,     /* a pool job unpacks, proves and writes what was fetched */
    LANE_STATE_COUNT,
};

/* Carries one copy or one batch at a time. During a pool job only the job uses the lane, except for
 * `state`. */
struct lane {
    struct transfer *transfer;
    enum lane_state state;
    uint32_t number; /* of the run that is copied, or of the batch */
    uint8_t *buffer;
    size_t buffer_size;
    uint64_t window_offset; /* what is asked for: the whole batch, or the part of it that was bad */
    size_t window_size;
    size_t have; /* bytes of the window in the buffer, from one or more requests */
    unsigned tries;
    struct http_request *request;
    struct timer *timer;
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

/* A file that ranges are fetched from: the image or the pack. */
struct entity {
    const struct url *url;
    uint64_t size;    /* bytes, as the manifest says */
    char *etag;       /* once known */
    bool answered;    /* the server gave a range of it, and its size was right */
    bool no_if_range; /* the server answers a matching If-Range with the whole file */
    /* wall_clock_steady_ms() of the first useless answer since the last useful one; 0 = none. Another server
     * behind the same address may still give a useful one. */
    uint64_t refused_since_ms;
    struct error refusal; /* the newest useless answer, and how it would end the transfer */
    enum transfer_outcome refusal_outcome;
};

struct transfer {
    struct transfer_settings settings;
    const struct transfer_events *events;
    void *owner;
    const struct plan_run *runs;
    uint32_t run_count, runs_done;
    uint32_t *blockers; /* of each run: how many runs must still be written before it may start */
    const struct plan_batch *batches;
    uint32_t *blocked; /* of each batch: how many of its runs have blockers */
    struct queue ready_to_copy, ready_to_fetch;
    uint32_t lanes_in[LANE_STATE_COUNT]; /* how many lanes are in each state */
    uint64_t in_flight_bytes;            /* of all lanes that carry a batch */
    struct entity image, pack;
    const struct entity *last_asked;
    struct assemble_settings assemble;
    struct assembly *assembly;
    bool unpacking; /* a job has the assembly's buffers */
    struct timer *give_up;
    struct later *turn;  /* begins the transfer, and later reports its end */
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

/* ---- transfer.c: the whole ---- */

/* Ends everything that can be ended at once; the end itself comes when no job is under way any more. */
void transfer_stop(struct transfer *transfer, enum transfer_outcome outcome, const struct error *error);

/* Pool jobs under way. */
uint32_t transfer_jobs(const struct transfer *transfer);

/* There was progress: give_up_ms begins anew. */
void transfer_got_on(struct transfer *transfer);

/* Nothing more will be done for this run; runs that wait for it may start. */
void transfer_run_done(struct transfer *transfer, uint32_t run);

/* Starts whatever may start. */
void transfer_fill(struct transfer *transfer);

/* ---- transfer_lane.c: what becomes of what was read or fetched ---- */

/* The only writer of lane::state. */
void lane_enter(struct lane *lane, enum lane_state state);

const struct plan_batch *lane_batch(const struct lane *lane);

/* Run `i` of the lane's batch; ret_number (may be NULL) gets its number in the plan. */
const struct plan_run *lane_batch_run(const struct lane *lane, uint32_t i, uint32_t *ret_number);

/* All of the batch is in the buffer: has it written, now or when its turn to be unpacked comes. */
void lane_write(struct lane *lane);

/* Begin to copy a run, or to fetch a batch, in a free lane; the caller knows that there is one. */
void lane_start_copy(struct transfer *transfer, uint32_t run);
void lane_start_fetch(struct transfer *transfer, uint32_t batch);

/* ---- transfer_fetch.c: the requests ---- */

/* What the lane's batch is fetched from. */
struct entity *lane_entity(const struct lane *lane);

/* Asks for what the lane's buffer lacks. */
void lane_fetch(struct lane *lane);

/* Calls lane_fetch() after a wait. */
void lane_back_off(struct lane *lane, const struct error *error, uint64_t retry_after_ms);

/* The callback of that wait's timer; `owner` is the lane. */
void lane_on_timer(void *owner);
