/* SPDX-License-Identifier: MIT */
/*
 * The inside of a clone. Only for common/sinter/clone*.c. The loop's thread only, except for what a job is
 * given.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/sinter/clone.h"
#include "common/sinter/outline.h"
#include "common/sinter/patch_judge.h"
#include "common/sinter/sources.h"
#include "common/sinter/transfer.h"
#include "common/sinter/verify.h"

struct clone {
    struct event_base *base;
    struct http *http;
    struct pool *pool;
    struct clone_settings settings; /* its strings are not used after clone_new() */
    const struct clone_events *events;
    void *owner;

    enum clone_phase phase;
    struct clone_progress progress;
    uint64_t received_before, requests_before; /* the counts of `http` before this clone */
    bool waits; /* for clone_go_on(); `progress` has its own counts of `http` meanwhile, for others use that,
                   too */

    /* Pool jobs that belong to none of the parts below; one at a time. */
    struct pool_job job;
    void (*job_next)(struct clone *clone);
    bool job_failed;
    struct error job_error;
    atomic_bool stop; /* for jobs */

    struct sources *sources;
    bool *source_changed; /* of each source: it changed since it was scanned, and that was reported */
    bool has_base;
    uint32_t base_number, source_number;
    struct outline *outline;
    bool *never_copy;                 /* of each chunk: see plan.h */
    bool *patch_failed;               /* of each patch */
    uint8_t *patch_sources;           /* of each patch: see plan.h */
    struct patch_judge_source *bases; /* of each source that may hold the base */
    struct patch_judge *judge;        /* under way */
    uint64_t judged_bytes;            /* read by the last slice of `judge` */
    uint32_t run_size_max;
    struct plan *plan;
    unsigned rounds; /* of planning and transferring */
    struct transfer *transfer;
    struct verify *verify;

    bool stopping; /* cancelled or failed; `done` follows when nothing is under way any more */
    bool overtaken, lacking;
    struct error table_error; /* why there is no table of chunks */
    struct error error;

    bool is_proved; /* the SHA-256 of the target, read back whole, is right */
    uint8_t sha256[DIGEST_SHA256_SIZE];
};

/* ---- clone.c: begin and end, and the steps between ---- */

const struct manifest *clone_manifest(const struct clone *clone);

/* Enters the next phase and reports it. */
void clone_enter(struct clone *clone, enum clone_phase phase);

/* The clone failed or was cancelled; the first error counts. The caller calls clone_end() when nothing is
 * under way. */
void clone_stop(struct clone *clone, const struct error *error);

/* Closes the devices and calls `done`; nothing else may be under way. From here on the clone can no longer be
 * cancelled. */
void clone_end(struct clone *clone);

/* Runs `run` on a thread, then `next` on the loop; on failure `run` sets job_failed and job_error. */
void clone_run_job(struct clone *clone, pool_run_fn run, void (*next)(struct clone *clone));

/* Counts and reports that a request is tried again. */
void clone_on_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms);

/* Stands still until clone_go_on(). */
void clone_wait(struct clone *clone);

/* All is written: syncs and reads back. */
void clone_finish_target(struct clone *clone);

/* ---- clone_prepare.c: from the sources to what they hold ---- */

/* The first job, which opens the sources, and what follows it. */
void clone_run_open(struct pool_job *job);
void clone_opened(struct clone *clone);

/* Events of the sources; `owner` is the clone. */
void clone_on_scan_progress(void *owner, uint64_t bytes);
void clone_on_source_hashed(void *owner, uint32_t number, uint32_t xxh32);
void clone_on_source_skipped(void *owner, const char *path, const struct error *error);
void clone_on_scanned(void *owner);

/* Adds to scan_total what will be read to check the patches. */
void clone_count_judging(struct clone *clone);

/* ---- clone_plan.c: planning, and carrying the plan out ---- */

/* Finds out which patches can be used, and then plans. */
void clone_judge(struct clone *clone);

/* Plans with what is known by now. */
void clone_make_plan(struct clone *clone);

/* Carries out the plan. */
void clone_transfer(struct clone *clone);
