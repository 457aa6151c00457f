/* SPDX-License-Identifier: MIT */
/*
 * The inside of an outline. Only for common/sinter/outline*.c. The loop's thread only, except for what a job
 * is given.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/table_difference.h"
#include "common/image/url.h"
#include "common/io/later.h"
#include "common/io/pool.h"
#include "common/sinter/cutting.h"
#include "common/sinter/fetch.h"
#include "common/sinter/outline.h"

/* Neighbouring blocks of the table that could not be made from the source. */
struct missing_range {
    uint64_t offset; /* in IMAGE.chunks */
    uint32_t size;   /* bytes */
};

struct outline {
    struct outline_settings settings;
    const struct outline_events *events;
    void *owner;
    struct url *table_url, *pack_url;
    struct plan_overhead overhead;

    /* One thing is under way at a time. */
    struct fetch *fetch;
    enum http_outcome fetch_outcome; /* of the last fetch */
    void (*fetched)(struct outline *outline, uint8_t *data, const struct error *error);
    struct cutting *cutting;
    struct pool_job job;
    bool job_failed;
    void (*job_next)(struct outline *outline);
    struct error job_error;
    /* Begins the outline, and ends it after a cancel if no job is under way whose end would do it. */
    struct later *turn;
    bool active; /* started and not done */
    bool stopping;

    uint8_t *section;    /* a section of the pack, as fetched */
    uint8_t *index_data; /* the base's index, unpacked */
    struct table_difference *difference;
    size_t patches_at; /* where the patches begin in index_data */
    struct table_rows rows;
    struct missing_range *missing;
    uint32_t missing_count, missing_next;

    uint8_t *table_data; /* IMAGE.chunks, not yet parsed */
    bool table_is_ours;  /* made from a difference, not fetched whole */
    struct chunk_table *table;
    struct chunk_index *index;
    struct patch_list *patches;
    struct frame_index *frames;
    bool overtaken, lacking;
};

/* ---- outline.c: begin and end, and the steps between ---- */

const struct manifest *outline_manifest(const struct outline *outline);

/* The base at hand; has_base must be set. */
const struct manifest_base *outline_base(const struct outline *outline);

/* Calls `done`, with ERROR_CANCELLED after a cancel. */
void outline_end(struct outline *outline, const struct error *error);

/* Runs `run` on a thread, then `next` on the loop; on failure `run` sets job_failed and job_error. */
void outline_run_job(struct outline *outline, pool_run_fn run, void (*next)(struct outline *outline));

/* To be asked after each event, which may have cancelled: if true, nothing new may be begun; the end is
 * called on the next turn of the loop. */
bool outline_is_stopping(struct outline *outline);

/* Whether the last fetch ended because the server wants to be left alone for longer than give_up_ms. That
 * goes for all of its files, so nothing else is tried instead, least of all something larger. */
bool outline_is_put_off(const struct outline *outline);

/* fetch_events::retry; `owner` is the outline. */
void outline_on_retry(void *owner, const struct error *error, uint64_t wait_ms);

/* Fetches a range; `fetched` is given its bytes, to free. False, with an error, if there is no memory for
 * them. */
bool outline_fetch_range(struct outline *outline, const struct url *url, uint64_t offset, size_t size,
                         uint64_t total_size,
                         void (*fetched)(struct outline *, uint8_t *, const struct error *),
                         struct error *error);

/* ---- outline_table.c: the table, and what follows from it ---- */

/* Fetches the whole table. */
void outline_fetch_table(struct outline *outline);

/* Makes the table of table_data, which must have the manifest's SHA-256. */
void outline_make_table(struct outline *outline);

/* There is no table of content-defined chunks: goes on with the fixed ones, or ends where a signature is
 * demanded. `error` is NULL if the manifest names no table. */
void outline_skip_table(struct outline *outline, const struct error *error);

/* ---- outline_pack.c: the pack's sections, and the table from its difference ---- */

/* Fetches the base's index, and makes the table with it unless table_data is there. */
void outline_get_index(struct outline *outline);

/* Goes on without the base: the whole table is fetched, and there are no patches. */
void outline_skip_base(struct outline *outline, const struct error *error);
