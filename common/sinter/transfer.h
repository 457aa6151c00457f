/* SPDX-License-Identifier: MIT */
/*
 * Carrying a plan out: runs are copied, patched or fetched, proved, and written to the target, several at a
 * time. Each lane carries one copy or one request with one buffer; what has no free lane waits, so the lanes
 * bound memory, requests and what a kill can lose. What was fetched from the pack is unpacked by one job at a
 * time, so one set of buffers is enough. The loop's thread calls everything here; reading, hashing, unpacking
 * and writing are pool jobs; nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/image/url.h"
#include "common/io/device.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/sinter/plan.h"

struct event_base;
struct transfer;

enum {
    /* Limit for what is requested but not yet written, unless a single chunk is larger. A kill loses that,
     * and the copies under way, which may be half written over their own source: 7 MiB in all at most. */
    TRANSFER_IN_FLIGHT_MAX = 5 * 1024 * 1024,
    TRANSFER_RUN_SIZE_MAX = 512 * 1024,
    TRANSFER_COPY_LANES = 2,
};

/* How a transfer ended. */
enum transfer_outcome {
    TRANSFER_OUTCOME_DONE,
    /* All was tried, but some copies or patches gave other bytes than they should (see
     * transfer_events::failed): plan again without them. */
    TRANSFER_OUTCOME_INCOMPLETE,
    TRANSFER_OUTCOME_FAILED,
    TRANSFER_OUTCOME_OVERTAKEN, /* the image or the pack on the server is not, or no longer, the one the
                                   manifest describes: read the manifest again */
};

struct transfer_events {
    void (*chunks)(void *owner, enum plan_kind kind, uint32_t first, uint32_t count, uint64_t bytes);
    void (*retry)(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms);
    /* A copy or a patch gave other bytes than it should: the chunks of the run that are still not kept have
     * not been written. */
    void (*failed)(void *owner, const struct plan_run *run);
    /* The end, exactly once; `error` is set unless DONE or INCOMPLETE. transfer_free() is allowed inside. */
    void (*done)(void *owner, enum transfer_outcome outcome, const struct error *error);
};

struct transfer_settings {
    struct event_base *base;
    struct http *http;
    struct pool *pool;
    const struct chunk_table *table;
    const struct plan *plan;
    /* The array the plan was made with. When `chunks` is called the owner must set its entries before
     * returning: those still unset are reported as failed, or fetched once more. */
    const bool *kept;
    const struct url *image_url;
    const struct url *pack_url;       /* NULL if the plan takes nothing from a pack */
    uint64_t pack_size;               /* bytes */
    const struct frame_index *frames; /* the plan's */
    const struct patch_list *patches; /* the plan's */
    struct device *target;
    struct device *const *seeds; /* seeds[0] is plan source PLAN_SOURCE_SEED_FIRST */
    unsigned connections;        /* ranges under way at the same time, at least 1 */
    uint32_t run_size_max;       /* the plan's */
    bool ignore_etag;            /* the server's ETags are known to vary for the same image */
    uint64_t give_up_ms;         /* fail when this long passes without progress */
    bool patient; /* the user chose give_up_ms: wait that long also for a file that the server never had */
};

/* How many of `connections` may be used, given the size of this table's chunks: at least 1. */
unsigned transfer_connections(const struct chunk_table *table, unsigned connections);

/* The largest run, in bytes, with which `connections` requests stay under TRANSFER_IN_FLIGHT_MAX, but no less
 * than the largest chunk. */
uint32_t transfer_run_size_max(const struct chunk_table *table, unsigned connections);

/* Begins; what the settings point to must outlive the transfer. `done` is called later, never before this
 * returns. */
struct transfer *transfer_start(const struct transfer_settings *settings,
                                const struct transfer_events *events, void *owner);

/* `done` comes with ERROR_CANCELLED as soon as the jobs under way have ended. */
void transfer_cancel(struct transfer *transfer);

/* Frees after `done`; NULL is fine. Returns NULL. */
struct transfer *transfer_free(struct transfer *transfer);
