/* SPDX-License-Identifier: MIT */
/*
 * What tests of the engine publish: pseudo-random bytes, temporary folders, and images with table and
 * manifest, made in memory. Aborts if something cannot be made.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/image/chunk_table.h"
#include "common/sinter/chunk_index.h"
#include "common/sinter/release.h"

/* A pseudo-random generator (SplitMix64): the same numbers for the same seed, on every machine. */
struct dice {
    uint64_t state;
};

uint64_t dice_roll(struct dice *dice);

/* A number from 0 to bound - 1; bound is at least 1. */
uint32_t dice_below(struct dice *dice, uint32_t bound);

void dice_fill(struct dice *dice, void *data, size_t size);

/* Pseudo-random bytes for `seed`, which is not 0; freed by the caller. */
uint8_t *noise(size_t size, uint64_t seed);

/* Makes an empty temporary folder and returns its path, for folder_free(). */
char *folder_new(void);

/* Removes the folder with all that is in it, and frees the path. */
void folder_free(char *path);

/* Writes the file folder/name and returns its path, owned by the caller. */
char *folder_write(const char *folder, const char *name, const void *data, size_t size);

/* Whether the file holds exactly these bytes. */
bool file_holds(const char *path, const void *data, size_t size);

/* The table of chunks of `size` bytes, cut by content; `ret_data` and `ret_size`, which may be NULL, get the
 * bytes of IMAGE.chunks. */
struct chunk_table *publish_table(const uint8_t *data, size_t size, uint32_t average, uint8_t **ret_data,
                                  size_t *ret_size);

/* The table of chunks that have these sizes. */
struct chunk_table *publish_table_cut(const uint8_t *data, const uint32_t *sizes, uint32_t count,
                                      uint32_t average);

/* The table of the ancestor's fixed chunks. */
struct chunk_table *publish_fixed_table(const uint8_t *data, size_t size, uint32_t chunk_size);

/* The release of an image at `url`. `chunks` are the bytes of its table at `url`.chunks; if NULL, the
 * manifest is the ancestor's. */
struct release *publish_release(const struct url *url, const uint8_t *data, size_t size, uint32_t chunk_size,
                                const uint8_t *chunks, size_t chunks_size);

/* publish_release() of a set with these `count` parts, which stay the caller's. */
struct release *publish_set(const struct url *url, const uint8_t *data, size_t size, const uint8_t *chunks,
                            size_t chunks_size, struct manifest_part *parts, uint32_t count);

/* What a set says of a part's manifest at `url`, which stays the caller's. */
struct manifest_part_file publish_part(char *url, const struct release *part);

/* The signature of these bytes by the tests' key, owned by the caller. */
char *publish_signature(const void *data, size_t size);

/* The keys of a device that trusts the tests' key (`own`) or only another one; freed by the caller. */
struct trust_keys *publish_keys(bool own);
