/* SPDX-License-Identifier: MIT */
/*
 * Packs made of images in memory by the publisher's own code, read back and taken apart: every chunk and
 * every patch must come out as the image has it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/image/chunk_table.h"
#include "common/image/manifest.h"
#include "common/publish/generate.h"
#include "common/sinter/chunk_index.h"
#include "tests/unit/publisher.h"

enum { AVERAGE = 1024, SPAN_MAX = 128 * 1024, OUTPUT_MAX = 64 * 1024, BASES_MAX = 17 };

/* An image in memory. */
struct bytes {
    uint8_t *data;
    size_t size;
};

/* What was published, read back. */
struct published {
    struct manifest *manifest;
    struct chunk_table *table;
    struct chunk_index *index;
    struct bytes pack;
    struct bytes chunks;
    struct zstd_unpacker *unpacker;
    struct generate_result result;
};

struct fixture {
    char *folder;
    struct bytes image;
    struct bytes bases[BASES_MAX];
    uint32_t base_count;
    bool with_pack;
    struct published published;
};

/* *state is an empty fixture in a folder of its own. */
int pack_bench_set_up(void **state);
int pack_bench_tear_down(void **state);

/* Frees the images and what was published. */
void pack_bench_forget(struct fixture *fixture);

/* Words that come again and again, noise, and zeros: something of what images are made of. */
struct bytes make_image(struct dice *dice, size_t size);

struct bytes copy_of(struct bytes bytes);

/* One change as images have them. */
void edit(struct dice *dice, struct bytes *bytes);

/* Writes the images and runs the publisher over them. */
bool pack_bench_generate(struct fixture *fixture, struct generate_result *ret_result, struct error *error);

/* The same, reads back what came of it, and checks all of it; returns what a device with the last base
 * fetches, bytes. */
uint64_t pack_bench_check(struct fixture *fixture);
