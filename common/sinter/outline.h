/* SPDX-License-Identifier: MIT */
/*
 * What must be known of an image before it can be planned for: its table of chunks, which chunks are alike,
 * and what the pack offers. The table is fetched whole, or made from an earlier release that a source holds
 * and the difference that the pack names; then only the parts that do not come out are fetched. Where no
 * table can be had, the ancestor's fixed chunks serve. Everything is proved by the manifest's SHA-256s. What
 * an earlier look has put into the release's stock is not fetched again. The loop's thread only; nothing
 * blocks.
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
    struct release *release; /* its stock is taken from, or with `keep_stock` filled */
    struct sources *sources; /* open; told what to expect as soon as the table is there */
    uint64_t give_up_ms;
    uint64_t chunks_max; /* a table of more is not wanted, see table_room.h; 0 = no limit */
    bool keep_stock;
    bool hash; /* also compute the XXH32 of a seed that is cut, see sources_events */
    /* Which base of the pack is at hand in which source. */
    bool has_base;
    uint32_t base_number, source_number;
};

struct outline_events {
    void (*retry)(void *owner, const struct error *error, uint64_t wait_ms);
    /* A source is being read: it begins, and goes on. */
    void (*cutting)(void *owner, uint64_t total_bytes);
    void (*cut)(void *owner, uint64_t bytes);
    void (*hashed)(void *owner, uint32_t number, uint32_t xxh32);
    /* Notes: what was wrong, and something else serves. */
    void (*pack_skipped)(void *owner, const struct error *error);
    void (*table_skipped)(void *owner, const struct error *error);
    /* The end of outline_start() or outline_fetch_frames(), exactly once for each; `error` (valid during the
     * call) is set where it is of no use to go on. outline_free() is allowed inside. */
    void (*done)(void *owner, const struct error *error);
};

/* Copies the settings. Starts nothing. */
struct outline *outline_new(const struct outline_settings *settings, const struct outline_events *events,
                            void *owner);

void outline_start(struct outline *outline);

/* Fetches where in the pack the chunks are; outline_has_frames() must be true. */
void outline_fetch_frames(struct outline *outline);

/* `done` comes with ERROR_CANCELLED as soon as jobs under way have ended; never from within. Nothing happens
 * where nothing is under way. */
void outline_cancel(struct outline *outline);

/* Where keep_stock is set: leaves the table, unless it is of fixed chunks, in the release's stock. It must
 * not be used any more, so outline_free() follows. */
void outline_leave_table(struct outline *outline);

/* Frees what has no job under way; NULL is fine. Returns NULL. */
struct outline *outline_free(struct outline *outline);

/* All as long as the outline. NULL before the table is there. */
const struct chunk_table *outline_table(const struct outline *outline);
const struct chunk_index *outline_index(const struct outline *outline);

/* The patches against what source outline_source() holds; NULL where there are none. */
const struct patch_list *outline_patches(const struct outline *outline);
uint32_t outline_source(const struct outline *outline);

/* Whether chunks come from the pack; outline_frames() is NULL until they were fetched. */
bool outline_has_frames(const struct outline *outline);
const struct frame_index *outline_frames(const struct outline *outline);

/* The pack's URL; NULL where nothing comes of it. */
const struct url *outline_pack_url(const struct outline *outline);

/* Whether the last error means that the server has another release by now. */
bool outline_was_overtaken(const struct outline *outline);

/* Whether it rather means that the server does not give a file that the manifest names: unless the manifest
 * is another one by now, starting over cannot help. outline_was_overtaken() is true then as well. */
bool outline_lacks_file(const struct outline *outline);

/* What was fetched so far; manifest_bytes is 0. */
struct plan_overhead outline_overhead(const struct outline *outline);
