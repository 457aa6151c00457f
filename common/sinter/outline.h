/* SPDX-License-Identifier: MIT */
/*
 * What must be known of an image before a clone of it can be planned: its table of chunks, which chunks are
 * alike, and what the pack offers. The table is fetched whole, or made from an earlier release that a source
 * holds and the difference in the pack; then only the parts that come out wrong are fetched. Where no table
 * can be had, the ancestor's fixed chunks are used. Everything is proved by the manifest's SHA-256s. What an
 * earlier clone or check has left in the release's stock is not fetched again. The loop's thread only;
 * nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/image/frame_index.h"
#include "common/image/patch_list.h"
#include "common/image/url.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/sinter/chunk_index.h"
#include "common/sinter/plan.h"
#include "common/sinter/release.h"
#include "common/sinter/sources.h"

struct event_base;
struct outline;

struct outline_settings {
    struct event_base *base;
    struct http *http;
    struct pool *pool;
    struct release *release; /* its stock is used up, or with `keep_stock` filled */
    struct sources *sources; /* open; sources_expect() is called as soon as the table is there */
    uint64_t give_up_ms;
    uint64_t chunks_max; /* refuse a table of more chunks, see table_room.h; 0 = no limit */
    bool keep_stock;
    bool hash; /* also compute the XXH32 of a seed that is cut, see sources_events */
    /* Whether a source holds a base of the pack; which base, and which source. */
    bool has_base;
    uint32_t base_number, source_number;
};

struct outline_events {
    void (*retry)(void *owner, const struct error *error, uint64_t wait_ms);
    /* A source is being read and cut into chunks: `cutting` at the beginning, `cut` as it goes on. */
    void (*cutting)(void *owner, uint64_t total_bytes);
    void (*cut)(void *owner, uint64_t bytes);
    void (*hashed)(void *owner, uint32_t number, uint32_t xxh32);
    /* Notes: why the pack or the table cannot be used; something else is used instead. */
    void (*pack_skipped)(void *owner, const struct error *error);
    void (*table_skipped)(void *owner, const struct error *error);
    /* The end of outline_start() or outline_fetch_frames(), exactly once for each; `error` (valid during the
     * call) is set if the clone cannot go on. outline_free() is allowed inside. */
    void (*done)(void *owner, const struct error *error);
};

/* Copies the settings. Starts nothing. */
struct outline *outline_new(const struct outline_settings *settings, const struct outline_events *events,
                            void *owner);

void outline_start(struct outline *outline);

/* Fetches where in the pack the chunks are; outline_has_frames() must be true. */
void outline_fetch_frames(struct outline *outline);

/* `done` comes with ERROR_CANCELLED as soon as jobs under way have ended, never before this returns. Does
 * nothing if nothing is under way. */
void outline_cancel(struct outline *outline);

/* With keep_stock: moves the table, unless it is of fixed chunks, to the release's stock. The outline has no
 * table then; only outline_free() may follow. */
void outline_leave_table(struct outline *outline);

/* Frees what has no job under way; NULL is fine. Returns NULL. */
struct outline *outline_free(struct outline *outline);

/* Valid as long as the outline. NULL before the table is there. */
const struct chunk_table *outline_table(const struct outline *outline);
const struct chunk_index *outline_index(const struct outline *outline);

/* The patches against the base that source outline_source() holds; NULL if there are none. */
const struct patch_list *outline_patches(const struct outline *outline);
uint32_t outline_source(const struct outline *outline);

/* Whether chunks come from the pack; outline_frames() is NULL until they were fetched. */
bool outline_has_frames(const struct outline *outline);
const struct frame_index *outline_frames(const struct outline *outline);

/* The pack's URL; NULL if nothing is taken from it. */
const struct url *outline_pack_url(const struct outline *outline);

/* Whether the last error probably means that the server has another release by now. */
bool outline_was_overtaken(const struct outline *outline);

/* Whether the last error means that the server does not have a file that the manifest names. Starting over
 * helps only if the manifest is another one by now. outline_was_overtaken() is then true as well. */
bool outline_lacks_file(const struct outline *outline);

/* What was fetched so far; manifest_bytes is 0. */
struct plan_overhead outline_overhead(const struct outline *outline);
