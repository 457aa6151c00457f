/* SPDX-License-Identifier: MIT */
/*
 * One clone from the server into the target slot, or only its plan: what it is about to move, how far it is
 * and how fast, whether it stands still, and when it has had too many bytes. After an installation the target
 * stays open and exclusive until it is taken, so that what was verified stays so until it is armed. One run
 * at a time. Knows the release and the slot it is given, and nothing of rules, record or boot selection. The
 * loop's thread only; nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/io/device.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/sinter/clone.h"
#include "common/sinter/plan.h"
#include "common/sinter/release.h"
#include "daemon/decide/record.h"
#include "daemon/host/slots.h"

struct event_base;
struct installer;

enum installer_state {
    INSTALLER_IDLE,
    INSTALLER_PLANNING,
    INSTALLER_INSTALLING,
    INSTALLER_VERIFIED, /* the target was read back whole, and is held: installer_take_target() */
};

struct installer_deps {
    struct event_base *base;
    struct pool *pool;
    uint64_t silence_ms; /* nothing that moves for so long is worth a word */
};

/* How a run ended. */
struct installer_end {
    const struct error *error; /* NULL = as it should; valid during the call */
    bool overtaken;            /* the server has something newer: looking again is all it takes */
    bool over_budget;          /* max_bytes ended it, and the error is of kind refused */
};

struct installer_events {
    /* Something of installer_view() is another one. */
    void (*changed)(void *owner);
    /* A run for the plan only is over. The next one may be started from within, as from the next. */
    void (*planned)(void *owner, const struct installer_end *end);
    /* An installation is over; without an error the state is INSTALLER_VERIFIED. */
    void (*installed)(void *owner, const struct installer_end *end);
};

/* What is pointed at stays the caller's, and as it is until the run is over. */
struct installer_request {
    struct http *http;
    struct release *release;
    const struct record_release *offered; /* the same as the record has it; copied */
    const char *name;                     /* what the log calls it */
    const struct slots *slots;
    enum slot slot; /* the target, one of `slots` that may be written; the other one is the seed */
    bool plan_only;
    bool ignore_etag;     /* see struct clone_settings */
    unsigned connections; /* likewise */
    uint64_t max_bytes;   /* an installation that receives more ends; 0 = no limit */
};

/* Nothing arrives, and why; a request is tried again. */
struct installer_waiting {
    uint64_t since_s, until_s; /* Unix time: since nothing arrived, and of the next try */
    enum error_kind kind;      /* ERROR_NONE = nothing is waited for */
    char why[RECORD_TEXT_SIZE];
};

/* What the run under way, or the last one, looks like; all zeroes before the first. */
struct installer_view {
    struct record_release release;
    const char *phase; /* as the status shows it; NULL = none is under way */
    struct clone_progress progress;
    double percent;
    uint64_t rate_bytes_per_s;              /* a mean over the last seconds; 0 = none is under way */
    uint64_t begun_ms;                      /* of wall_clock_boot_ms() */
    char read_back[DIGEST_SHA256_HEX_SIZE]; /* SHA-256 of all that was read back from the target; "" = none */
    char table_why[RECORD_TEXT_SIZE];       /* why it was planned without its table of chunks; "" = with it */
    char
        pack_why[RECORD_TEXT_SIZE]; /* ... without what its pack has for the releases at hand; "" = with it */
    char stall_why[512];            /* nothing moves: a sentence; "" = all is well */
    struct installer_waiting waiting;
};

/* A plan that was made, by a run for it or by an installation. */
struct installer_plan {
    struct plan_totals totals;
    struct record_release release;
    enum slot slot;
    uint64_t made_s; /* Unix time */
};

struct installer *installer_new(const struct installer_deps *deps, const struct installer_events *events,
                                void *owner);

/* Frees one with no run under way, and closes a target that was not taken. NULL is fine. Returns NULL. */
struct installer *installer_free(struct installer *installer);

/* Begins a run; only while INSTALLER_IDLE. How it ends is told by an event, never from within. */
void installer_start(struct installer *installer, const struct installer_request *request);

/* Forgets what the last run showed and has installer_view() tell of this release, of which nothing was moved:
 * it ended before a run could begin. */
void installer_reset(struct installer *installer, const struct record_release *release);

/* Asks the run under way to stop, if any: it ends soon with an error of kind cancelled. */
void installer_cancel(struct installer *installer);

enum installer_state installer_state(const struct installer *installer);

/* Whether a run is under way: it stands on the slots, the release and the client it was given. */
bool installer_is_running(const struct installer *installer);

/* Valid as long as the installer; what it says changes with each event. */
const struct installer_view *installer_view(const struct installer *installer);

/* The last plan that was made; NULL where there was none yet. */
const struct installer_plan *installer_plan(const struct installer *installer);

/* Only while INSTALLER_VERIFIED, which ends by it. The caller closes the target, on a pool thread. */
struct device *installer_take_target(struct installer *installer);
