/* SPDX-License-Identifier: MIT */
/*
 * What tests of the engine publish and hold: bytes that look random and are the same at every run, a folder
 * that goes away with the test, and images with their table and manifest made in memory. Failing to make them
 * aborts.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/image/chunk_table.h"
#include "common/sinter/chunk_index.h"
#include "common/sinter/release.h"

/* Numbers from a seed (SplitMix64). */
struct dice {
    uint64_t state;
};

uint64_t dice_roll(struct dice *dice);

/* 0 to bound - 1; bound is at least 1. */
uint32_t dice_below(struct dice *dice, uint32_t bound);

void dice_fill(struct dice *dice, void *data, size_t size);

/* Bytes without a pattern, the same on every machine; from another `seed` (not 0) other ones. The caller's.
 */
uint8_t *noise(size_t size, uint64_t seed);

/* An empty folder of the test's own, owned by the caller. */
char *folder_new(void);

/* Removes the folder with all that is in it, and frees the path. */
void folder_free(char *path);

/* Writes folder/name anew and returns its path, owned by the caller. */
char *folder_write(const char *folder, const char *name, const void *data, size_t size);

/* Whether the file holds exactly these bytes. */
int file_holds(const char *path, const void *data, size_t size);

/* The table of chunks of `size` bytes, cut by content; `ret_data` and `ret_size` (may be NULL) get
 * IMAGE.chunks. */
struct chunk_table *publish_table(const uint8_t *data, size_t size, uint32_t average, uint8_t **ret_data,
                                  size_t *ret_size);

/* A table whose chunks have the given sizes, one after the other. */
struct chunk_table *publish_table_cut(const uint8_t *data, const uint32_t *sizes, uint32_t count,
                                      uint32_t average);

struct chunk_table *publish_fixed_table(const uint8_t *data, size_t size, uint32_t chunk_size);

/* The release of an image at `url`, its table at `url`.chunks, or in the ancestor's form where chunks is
 * NULL. */
struct release *publish_release(const struct url *url, const uint8_t *data, size_t size, uint32_t chunk_size,
                                const uint8_t *chunks, size_t chunks_size);

/* The signature of these bytes by the tests' own key, owned by the caller. */
char *publish_signature(const void *data, size_t size);

/* The keys a device has that trusts the tests' own key, or only minisign's author; freed by the caller. */
struct trust_keys *publish_keys(int own);
