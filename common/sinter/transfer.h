/* SPDX-License-Identifier: MIT */
/*
 * Carrying a plan out: runs are copied, patched or fetched, proved, and written to the target, several at a
 * time. Each lane carries one copy or one request with one buffer; what has no free lane waits, so the lanes
 * bound memory, requests and what a kill can lose. What comes of the pack is unpacked by one job at a time,
 * so that there is one set of buffers for that. The loop's thread calls everything here; reading, hashing,
 * unpacking and writing are pool jobs; nothing blocks.
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
    /* What is requested at any moment but not yet written stays under this. With the copies under way, which
     * may be torn over their own source, a kill costs at most 7 MiB, but where single chunks are larger. */
    TRANSFER_IN_FLIGHT_MAX = 5 * 1024 * 1024,
    TRANSFER_RUN_SIZE_MAX = 512 * 1024,
    TRANSFER_COPY_LANES = 2,
};

/* How a transfer ended. */
enum transfer_outcome {
    TRANSFER_OUTCOME_DONE,
    /* All was tried, but some copies or patches did not give what they should (see transfer_events): plan
       again without them. */
    TRANSFER_OUTCOME_INCOMPLETE,
    TRANSFER_OUTCOME_FAILED,
    TRANSFER_OUTCOME_OVERTAKEN, /* image or pack on the server are not (any more) the manifest's: read the
                                   manifest again */
};

struct transfer_events {
    void (*chunks)(void *owner, enum plan_kind kind, uint32_t first, uint32_t count, uint64_t bytes);
    void (*retry)(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms);
    /* A copy or a patch did not give what it should: those chunks of the run that are not kept now are left
     * as they were. */
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
    const bool *kept; /* the plan's. The owner sets it for the chunks that `chunks` tells of, before that
                         returns: what failed is told, and asked for once more, by what is not set */
    const struct url *image_url;
    const struct url *pack_url;       /* NULL where nothing comes of a pack */
    uint64_t pack_size;               /* bytes */
    const struct frame_index *frames; /* the plan's */
    const struct patch_list *patches; /* the plan's */
    struct device *target;
    struct device *const *seeds; /* seeds[0] is plan source PLAN_SOURCE_SEED_FIRST */
    unsigned connections;        /* ranges under way at the same time, at least 1 */
    uint32_t run_size_max;       /* the plan's */
    bool ignore_etag;            /* the server's ETags are known to vary for the same image */
    uint64_t give_up_ms;         /* fail when nothing of note arrived for so long */
    bool patient; /* that was asked for: so long a file that was never there is waited for, too */
};

/* How many of `connections` may be used with this table's chunks: at least 1. */
unsigned transfer_connections(const struct chunk_table *table, unsigned connections);

/* The largest run that keeps `connections` requests under TRANSFER_IN_FLIGHT_MAX, at least one chunk; bytes.
 */
uint32_t transfer_run_size_max(const struct chunk_table *table, unsigned connections);

/* Begins; what the settings point to must outlive the transfer. `done` is never called from within. */
struct transfer *transfer_start(const struct transfer_settings *settings,
                                const struct transfer_events *events, void *owner);

/* `done` comes with ERROR_CANCELLED as soon as the jobs under way have ended. */
void transfer_cancel(struct transfer *transfer);

/* Frees after `done`; NULL is fine. Returns NULL. */
struct transfer *transfer_free(struct transfer *transfer);
