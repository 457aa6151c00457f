/* SPDX-License-Identifier: MIT */
/*
 * Watches one clone for a test: counts and remembers its events, and can cancel it within any of them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/sinter/clone.h"
#include "tests/unit/engine_bench.h"

enum { CLONE_WATCH_CHUNKS = 2000 /* the most that an image may have */ };

/* The events of a clone, in the order of struct clone_events. */
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
    /* Set by the test: */
    unsigned cancel_in_event; /* number of the event in which to cancel, from 1; 0 = never */
    void (*on_phase)(void *owner, enum clone_phase phase);
    void (*on_planned)(void *owner);
    void *owner;
    /* Events since clone_watch_start(): */
    struct engine_bench *bench;
    struct clone *clone;
    unsigned told[TOLD_COUNT], events, dones;
    enum clone_phase phase;
    uint64_t bytes_of[4]; /* by enum clone_fate */
    uint8_t chunk_told[CLONE_WATCH_CHUNKS + 1];
    uint32_t target_hash, read_back;
    struct plan_totals totals;
    /* Known at the end: */
    bool failed;
    struct error error;
    struct clone_progress progress;
    bool overtaken, proved;
    uint8_t sha256[DIGEST_SHA256_SIZE];
};

/* Begins a clone; the test must have set its members. */
void clone_watch_start(struct clone_watch *watch, struct engine_bench *bench,
                       const struct clone_settings *settings);

/* Runs the loop until the clone has ended. */
void clone_watch_finish(struct clone_watch *watch);

/* Fails unless the clone has failed with an error of this kind, and with a sentence. */
void clone_watch_check_failure(const struct clone_watch *watch, enum error_kind kind);
