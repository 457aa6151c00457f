/* SPDX-License-Identifier: MIT */
/*
 * A table of chunks as its difference from that of an earlier release: the first part of a base's index in
 * IMAGE.pack (docs/manifest.md, 3.4). Each block of 256 rows is made, and checked, on its own, from the rows
 * that cutting the earlier release gives; if a source was modified, only the blocks concerned come out wrong.
 * Parsed from hostile bytes. Immutable once made; any thread. Never blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
    TABLE_DIFFERENCE_BLOCK_ROWS = 256,
};

/* The rows that cutting a source from its first byte gives, in order. */
struct table_rows {
    uint64_t *offsets; /* of each chunk in the source, bytes; rising */
    uint8_t *rows;     /* CHUNK_TABLE_ROW_SIZE bytes each, as they stand in a table of chunks */
    uint32_t count;
};

struct table_difference;

/* Parses the first part of an unpacked index of `size` bytes; `data` must outlive the result. table_size is
 * the table's size in the manifest, base_size that of the base's image. *ret_used is where the patches
 * begin. */
bool table_difference_parse(const uint8_t *data, size_t size, uint64_t table_size, uint64_t base_size,
                            struct table_difference **ret_difference, size_t *ret_used, struct error *error);

/* Frees; NULL is fine. Returns NULL. */
struct table_difference *table_difference_free(struct table_difference *difference);

/* The average that sources are to be cut with, as chunker_init() takes it. */
uint32_t table_difference_average(const struct table_difference *difference);

/* How many rows the table has. */
uint32_t table_difference_count(const struct table_difference *difference);

/* How many blocks there are, each of TABLE_DIFFERENCE_BLOCK_ROWS rows, the last one of the rest. */
uint32_t table_difference_blocks(const struct table_difference *difference);

/* How many rows block `block` has. */
uint32_t table_difference_block_rows(const struct table_difference *difference, uint32_t block);

/* Writes the rows of block `block` to ret_rows; false if they come out wrong. */
bool table_difference_make_block(const struct table_difference *difference, uint32_t block,
                                 const struct table_rows *base, uint8_t *ret_rows);
