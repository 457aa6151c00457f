/* SPDX-License-Identifier: MIT */
/*
 * The inside of an outline. A part of common/sinter/outline*.c, and of no use to others. The loop's thread
 * only, but for what a job is given.
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

/* Neighbouring blocks of the table that the source did not give. */
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
    enum http_outcome fetch_outcome; /* of the last one */
    void (*fetched)(struct outline *outline, uint8_t *data, const struct error *error);
    struct cutting *cutting;
    struct pool_job job;
    bool job_failed;
    void (*job_next)(struct outline *outline);
    struct error job_error;
    struct later *turn; /* begins, and ends where no job is under way that could */
    bool active;        /* started and not done */
    bool stopping;

    uint8_t *section;    /* as it came */
    uint8_t *index_data; /* unpacked */
    struct table_difference *difference;
    size_t patches_at; /* in index_data */
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

/* Tells the owner that it is done. */
void outline_end(struct outline *outline, const struct error *error);

/* Runs `run` on a thread, then `next` on the loop; `run` sets job_failed and job_error where it fails. */
void outline_run_job(struct outline *outline, pool_run_fn run, void (*next)(struct outline *outline));

/* After a cancel from within an event nothing new is begun: the end comes by the next turn of the loop. */
bool outline_is_stopping(struct outline *outline);

/* Whether the last fetch was given up because the server wants to be asked later than is waited: that is its
 * word on all that it has, so nothing else serves, least of all what costs it more. */
bool outline_is_put_off(const struct outline *outline);

/* A fetch's event; `owner` is the outline. */
void outline_on_retry(void *owner, const struct error *error, uint64_t wait_ms);

/* Fetches a range, which `fetched` gets; false, with an error, where there is no memory for it. */
bool outline_fetch_range(struct outline *outline, const struct url *url, uint64_t offset, size_t size,
                         uint64_t total_size,
                         void (*fetched)(struct outline *, uint8_t *, const struct error *),
                         struct error *error);

/* ---- outline_table.c: the table, and what follows from it ---- */

/* Fetches it whole. */
void outline_fetch_table(struct outline *outline);

/* Takes table_data for the table. */
void outline_make_table(struct outline *outline);

/* No table of content-defined chunks: the fixed ones serve. `error` is NULL where none was to be expected. */
void outline_skip_table(struct outline *outline, const struct error *error);

/* ---- outline_pack.c: the pack's sections, and the table from its difference ---- */

/* Fetches the base's index, and makes the table by it unless table_data is there. */
void outline_get_index(struct outline *outline);

/* Goes on without the base: the table comes whole, chunks come as they are. */
void outline_skip_base(struct outline *outline, const struct error *error);
