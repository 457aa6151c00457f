/* SPDX-License-Identifier: MIT */
/*
 * A small world to plan in: an image, what the target holds of it, seeds, and what a pack offers, made of
 * dice. Failing to make one aborts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/sinter/plan.h"
#include "tests/unit/publisher.h"

enum {
    CHUNKS_MAX = 40,
    SEEDS_MAX = 3,
    SOURCE_MAX = CHUNKS_MAX * 1024,
    RUN_SIZE_MAX = 4096,
};

struct bytes {
    uint8_t data[SOURCE_MAX];
    size_t size;
};

/* An image, what the target holds of it, and the seeds. */
struct world {
    struct dice dice;
    struct bytes image, target, seeds[SEEDS_MAX];
    uint32_t seed_count;
    struct chunk_table *table;
    struct chunk_index *index;
    bool kept[CHUNKS_MAX];
    struct plan_place places[CHUNKS_MAX];
    uint32_t run_size_max;
    /* What a pack offers; NULL: nothing. */
    struct patch_list *patches;
    struct frame_index *frames;
    uint8_t patch_sources[CHUNKS_MAX];
    uint32_t patch_source;
    struct bytes before; /* the target as it was when the plan was made */
    struct plan *plan;
    uint64_t fetched; /* bytes, over all plans */
};

/* Appends as much as there is room for. */
void bytes_append(struct bytes *bytes, const uint8_t *data, size_t size);

/* Everything random, scanned and planned. */
void world_init(struct world *world, uint64_t seed);

/* A world whose image is `count` chunks of 256 bytes, all different, and whose target is empty. Nothing is
 * scanned or planned. */
void world_init_plain(struct world *world, uint32_t count);

void world_finish(struct world *world);

/* The target, or a seed. */
const struct bytes *world_source(const struct world *world, uint32_t source);

/* What a scan could have found; with `all`, what a perfect one finds. */
void world_scan(struct world *world, bool all);

/* Some of the runs that a publisher could have patched, against some bytes or other of `patch_source`. */
void world_make_patches(struct world *world);

/* The chunks, compressed. */
void world_make_frames(struct world *world);

/* Plans with what is known, in place of no plan. */
void world_plan(struct world *world);
