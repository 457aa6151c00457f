/* SPDX-License-Identifier: MIT */
/*
 * The inside of the installer. Only for daemon/parts/installer*.c. The loop's thread only, except for what is
 * said to run on a pool thread.
 */
#pragma once

#include "daemon/host/set_images.h"
#include "daemon/parts/installer.h"

struct installer {
    struct installer_deps deps;
    const struct installer_events *events;
    void *owner;
    enum installer_state state;
    struct timer *progress_timer;
    struct installer_view view;
    struct installer_plan plan;
    bool has_plan;
    bool keep_verified_only; /* the last installation did not read back what it wrote */

    /* the run under way: */
    struct carry *carry; /* compares first, and copies when the clone is done; NULL = nothing to carry */
    struct carry_settings carried;
    uint64_t carry_moved; /* how many bytes it has read, written or verified */
    struct set_images images;
    struct clone_set *clone;
    struct clone_set_settings settings; /* of `clone` */
    struct http *http;
    bool failed; /* `error` is the first error */
    struct error error;
    bool overtaken;
    struct pool_job job; /* closes what is whole after a failure */
    const struct slots *slots;
    enum slot slot;
    uint64_t max_bytes;
    bool over_budget;
    uint64_t rate_bytes, rate_ms;
    uint64_t moved, moved_ms; /* what had moved at the last change, and when that was; to notice a stall */
    uint64_t waiting_moved;   /* what had moved when the waiting began */

    struct targets *verified; /* while INSTALLER_VERIFIED */
};

/* ---- installer_progress.c: what is shown of a run ---- */

enum { INSTALLER_PROGRESS_MS = 250 };

/* The phases of a clone as the status spells them; the last ones have no name. */
const char *installer_phase_name(enum clone_phase phase);

/* Events of the clone that only change the view; `owner` is the installer. */
void installer_on_phase(void *owner, enum clone_phase phase);
void installer_on_planned(void *owner, const struct plan_totals *totals);
void installer_on_retry(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms);
void installer_on_seed_skipped(void *owner, const char *path, const struct error *error);
void installer_on_pack_skipped(void *owner, const char *name, const struct error *error);
void installer_on_table_skipped(void *owner, const char *name, const struct error *error);
void installer_on_read_back_cached(void *owner, const struct error *why);

/* An event of what is carried over. */
void installer_on_carry_progress(void *owner, const struct carry_progress *progress);

/* The timer's: brings the view up to date, and ends a run that has received too many bytes. */
void installer_on_progress_timer(void *owner);
