/* SPDX-License-Identifier: MIT */
/*
 * Makes packs of images in memory by common/publish/, reads them back and takes them apart: every chunk and
 * every patch must give the bytes of the image.
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

/* Setup and teardown of a test: *state is an empty fixture with a temporary folder. */
int pack_bench_set_up(void **state);
int pack_bench_tear_down(void **state);

/* Frees the images and what was published. */
void pack_bench_forget(struct fixture *fixture);

/* Makes bytes like those of real images: words that repeat, noise, and zeros. Freed by pack_bench_forget()
 * when they are in a fixture, as those of copy_of(). */
struct bytes make_image(struct dice *dice, size_t size);

struct bytes copy_of(struct bytes bytes);

/* Makes a change as there may be between images: overwrites, inserts, removes, moves or copies bytes. */
void edit(struct dice *dice, struct bytes *bytes);

/* Writes the images to files and publishes them. */
bool pack_bench_generate(struct fixture *fixture, struct generate_result *ret_result, struct error *error);

/* Publishes, reads all of it back and checks it. Returns the bytes that the last base leaves to fetch. */
uint64_t pack_bench_check(struct fixture *fixture);
