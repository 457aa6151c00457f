/* SPDX-License-Identifier: MIT */
/*
 * Clones a release from the server into the target slot, all images where it is a set, or only plans that:
 * shows how much is to be moved, how far it is and how fast, whether it stands still, and ends it when it has
 * received too many bytes. After an installation the targets stay open and exclusive until they are taken, so
 * that nobody changes what was verified before it is armed. One run at a time. Knows nothing of rules, record
 * or boot selection. Nothing blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/sinter/clone_set.h"
#include "common/sinter/plan.h"
#include "common/sinter/release.h"
#include "daemon/decide/record.h"
#include "daemon/host/carry.h"
#include "daemon/host/slots.h"
#include "daemon/host/targets.h"

struct event_base;
struct installer;

enum installer_state {
    INSTALLER_IDLE,
    INSTALLER_PLANNING,
    INSTALLER_INSTALLING,
    INSTALLER_VERIFIED, /* all was read back whole, and is held: installer_take_targets() */
};

struct installer_deps {
    struct event_base *base;
    struct pool *pool;
    uint64_t silence_ms; /* the view says so if nothing moves for this long */
};

/* How a run ended. */
struct installer_end {
    const struct error *error; /* NULL = success; valid during the call */
    bool overtaken;            /* the server has something newer: check again */
    bool over_budget;          /* max_bytes ended it, and the error is of kind refused */
};

struct installer_events {
    /* Something in installer_view() changed. */
    void (*changed)(void *owner);
    /* A run for the plan only is over. The next run may be started from within this call. */
    void (*planned)(void *owner, const struct installer_end *end);
    /* An installation is over; without an error the state is INSTALLER_VERIFIED. */
    void (*installed)(void *owner, const struct installer_end *end);
};

/* What it points at stays the caller's and must not change until the run is over. */
struct installer_request {
    struct http *http;
    struct release *release;              /* with the releases of its parts */
    const struct record_release *offered; /* the same as the record has it; copied */
    const char *name;                     /* what the log calls it */
    const struct carry_settings *carried; /* the parts that the release lacks and that are carried over; NULL
                                             = none. Copied, with `slots` and `target` set by the installer */
    const struct slots *slots;
    enum slot slot; /* the target, one of `slots` that may be written; the other one is the seed */
    bool plan_only;
    bool ignore_etag;     /* see struct clone_settings */
    unsigned connections; /* see struct clone_settings */
    uint64_t max_bytes;   /* an installation that receives more ends; 0 = no limit */
};

/* Nothing arrives because a request failed and is to be tried again. */
struct installer_waiting {
    uint64_t since_s, until_s; /* Unix time: since when nothing arrives, and of the next try */
    enum error_kind kind;      /* ERROR_NONE = nothing is waited for */
    char why[RECORD_TEXT_SIZE];
};

/* One image of the release. */
struct installer_image {
    char name[MANIFEST_PART_NAME_MAX + 1]; /* of the part, or MANIFEST_MAIN_NAME */
    uint64_t bytes;
    char sha256[DIGEST_SHA256_HEX_SIZE];    /* by its manifest; "" = an ancestor's has none */
    char read_back[DIGEST_SHA256_HEX_SIZE]; /* SHA-256 of all that was read back from the target; "" = none */
};

/* What is known of the run under way, or of the last one; all zeroes before the first. */
struct installer_view {
    struct record_release release;
    const char *phase; /* as the status shows it; NULL = none is under way */
    struct installer_image
        images[CLONE_SET_IMAGES_MAX]; /* the parts first, the main image, then what is carried */
    unsigned image_count;
    struct clone_progress progress; /* of all images together */
    double percent;
    uint64_t rate_bytes_per_s;        /* a mean over the last seconds; 0 = none is under way */
    uint64_t begun_ms;                /* by wall_clock_boot_ms() */
    char table_why[RECORD_TEXT_SIZE]; /* why the plan does not use a table of chunks; "" = it does */
    char pack_why[RECORD_TEXT_SIZE];  /* why the plan does not use a pack; "" = it does, or there is none */
    char stall_why[512];              /* nothing moves: a sentence; "" = all is well */
    struct installer_waiting waiting;
};

/* A plan made by a planning run or by an installation. */
struct installer_plan {
    struct plan_totals totals;
    struct record_release release;
    enum slot slot;
    uint64_t made_s; /* Unix time */
};

struct installer *installer_new(const struct installer_deps *deps, const struct installer_events *events,
                                void *owner);

/* No run may be under way. Closes targets that were not taken. NULL is fine. Returns NULL. */
struct installer *installer_free(struct installer *installer);

/* Begins a run; only while INSTALLER_IDLE. It ends in an event, which never comes from within this call. */
void installer_start(struct installer *installer, const struct installer_request *request);

/* Resets installer_view() to this release with nothing moved, for an installation that ended before its run
 * began. */
void installer_reset(struct installer *installer, const struct record_release *release);

/* Asks the run under way to stop, if any: it ends soon with an error of kind cancelled. */
void installer_cancel(struct installer *installer);

enum installer_state installer_state(const struct installer *installer);

/* Whether a run is under way; it uses the slots, the release and the HTTP client of its request. */
bool installer_is_running(const struct installer *installer);

/* Valid as long as the installer; what it says changes with each event. */
const struct installer_view *installer_view(const struct installer *installer);

/* The last plan that was made; NULL where there was none yet. */
const struct installer_plan *installer_plan(const struct installer *installer);

/* Hands over the targets; only while INSTALLER_VERIFIED, which this ends. The caller closes them, on a pool
 * thread, as that may block. */
struct targets *installer_take_targets(struct installer *installer);
