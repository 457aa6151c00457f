/* SPDX-License-Identifier: MIT */
/*
 * A small random world for tests of plans: an image, what the target holds of it, seeds, and what a pack
 * offers. Aborts if there is no memory.
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

struct world {
    struct dice dice;
    struct bytes image, target, seeds[SEEDS_MAX];
    uint32_t seed_count;
    struct chunk_table *table;
    struct chunk_index *index;
    bool kept[CHUNKS_MAX];
    struct plan_place places[CHUNKS_MAX];
    uint32_t run_size_max;
    /* What a pack offers; NULL = nothing. */
    struct patch_list *patches;
    struct frame_index *frames;
    uint8_t patch_sources[CHUNKS_MAX];
    uint32_t patch_source;
    struct bytes before; /* the target as it was when the plan was made */
    struct plan *plan;
    uint64_t fetched; /* bytes, over all plans */
};

/* Appends as many of the bytes as there is room for. */
void bytes_append(struct bytes *bytes, const uint8_t *data, size_t size);

/* Makes a random world, scans and plans. */
void world_init(struct world *world, uint64_t seed);

/* Makes a world whose image has `count` chunks of 256 bytes, all different, and whose target is empty. Does
 * not scan or plan. */
void world_init_plain(struct world *world, uint32_t count);

void world_finish(struct world *world);

/* The bytes of the target, or of a seed. */
const struct bytes *world_source(const struct world *world, uint32_t source);

/* Fills in something that a scan could have found or, with `all`, all that there is to find. */
void world_scan(struct world *world, bool all);

/* Makes patches for some runs that a publisher could have patched, against random bytes of `patch_source`. */
void world_make_patches(struct world *world);

/* Makes the frames of the chunks. */
void world_make_frames(struct world *world);

/* Makes the plan; there must be none yet. */
void world_plan(struct world *world);
