/* SPDX-License-Identifier: MIT */
/*
 * One clone under a test's eyes: what it tells is counted and remembered, and it can be cancelled within any
 * event.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/sinter/clone.h"
#include "tests/unit/engine_bench.h"

enum { CLONE_WATCH_CHUNKS = 2000 /* of an image, at most */ };

/* What a clone tells, in the order of struct clone_events. */
enum told {
    TOLD_PHASE,
    TOLD_PLANNED,
    TOLD_CHUNKS,
    TOLD_RETRY,
    TOLD_SEED_SKIPPED,
    TOLD_PACK_SKIPPED,
    TOLD_TABLE_SKIPPED,
    TOLD_SOURCE_HASHED,
    TOLD_READ_BACK,
    TOLD_COUNT,
};

struct clone_watch {
    /* The test's: */
    unsigned cancel_in_event; /* cancel in the so manieth event; 0 = never */
    void (*on_phase)(void *owner, enum clone_phase phase);
    void (*on_planned)(void *owner);
    void *owner;
    /* What was told since clone_watch_start(): */
    struct engine_bench *bench;
    struct clone *clone;
    unsigned told[TOLD_COUNT], events, dones;
    enum clone_phase phase;
    uint64_t bytes_of[4]; /* by enum clone_fate */
    uint8_t chunk_told[CLONE_WATCH_CHUNKS + 1];
    uint32_t target_hash, read_back;
    struct plan_totals totals;
    /* and at the end: */
    bool failed;
    struct error error;
    struct clone_progress progress;
    bool overtaken, proved;
    uint8_t sha256[DIGEST_SHA256_SIZE];
};

/* Begins a clone; the test's own members are set before. */
void clone_watch_start(struct clone_watch *watch, struct engine_bench *bench,
                       const struct clone_settings *settings);

/* Turns the loop until it has ended. */
void clone_watch_finish(struct clone_watch *watch);

/* Fails unless it has failed for this reason, with a sentence. */
void clone_watch_check_failure(const struct clone_watch *watch, enum error_kind kind);
