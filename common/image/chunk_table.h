/* SPDX-License-Identifier: MIT */
/*
 * The chunks of one image, in order: size, a fast key to find them by, and a proof. Two kinds behind one set
 * of accessors: content-defined chunks from IMAGE.chunks (XXH3-64 finds, SHA-256 proves), and the ancestor's
 * fixed chunks from the manifest (XXH32 does both). Immutable once made, so any number of threads may read
 * it. The file's layout is specified in docs/manifest.md. Never blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/image/chunker.h"

enum {
    CHUNK_TABLE_VERSION = 1,
    CHUNK_TABLE_HEADER_SIZE = 44, /* bytes; as long as a row, so that rows lie at multiples of a row */
    CHUNK_TABLE_ROW_SIZE = 44,
    /* Bytes of IMAGE.chunks; at the default average as many chunks as a 200 GiB image has. */
    CHUNK_TABLE_SIZE_MAX = 256 * 1024 * 1024,
};

struct chunk_table;

/* Parses IMAGE.chunks. Takes over `data` (malloc'd) in every case: the caller must not free it. The number of
 * chunks, their sizes (each from the chunker's minimum to its maximum, only the last may be shorter) and
 * their sum (= image_size) are all checked. */
bool chunk_table_parse(uint8_t *data, size_t size, uint64_t image_size, struct chunk_table **ret_table,
                       struct error *error);

/* A table of fixed chunks: `hashes` (XXH32 each, `count` of them) is taken over; each chunk has `chunk_size`
 * bytes, except the last, which has `last_chunk_size`. The numbers were checked by manifest_parse(). */
struct chunk_table *chunk_table_new_fixed(uint32_t *hashes, uint32_t count, uint32_t chunk_size,
                                          uint32_t last_chunk_size);

/* Frees the table; NULL is fine. Returns NULL. */
struct chunk_table *chunk_table_free(struct chunk_table *table);

/* The bytes that chunk_table_parse() was given, the caller's to free; NULL for fixed chunks. Only
 * chunk_table_free() may follow. */
uint8_t *chunk_table_take_data(struct chunk_table *table);

/* True for content-defined chunks, false for the ancestor's fixed ones. */
bool chunk_table_is_content_defined(const struct chunk_table *table);

/* The chunker that cut a content-defined table. */
const struct chunker *chunk_table_chunker(const struct chunk_table *table);

uint32_t chunk_table_count(const struct chunk_table *table);

/* Bytes of the image: the sum of all chunks. */
uint64_t chunk_table_image_size(const struct chunk_table *table);

/* Where chunk `index` starts in the image; index = count gives the image's size. */
uint64_t chunk_table_offset(const struct chunk_table *table, uint32_t index);

/* Bytes of chunk `index`. */
uint32_t chunk_table_size(const struct chunk_table *table, uint32_t index);

/* The largest chunk's size in bytes; 0 for an empty table. */
uint32_t chunk_table_size_max(const struct chunk_table *table);

/* The key of chunk `index`: XXH3-64, or XXH32 for fixed chunks. */
uint64_t chunk_table_key(const struct chunk_table *table, uint32_t index);

/* The key of `size` bytes of data, computed like this table's keys. */
uint64_t chunk_table_key_of(const struct chunk_table *table, const void *data, size_t size);

/* The chunk that starts at `offset` of the image; there must be one. */
uint32_t chunk_table_at(const struct chunk_table *table, uint64_t offset);

/* Whether `data` (chunk_table_size(index) bytes) is chunk `index`: by SHA-256, or by XXH32 for fixed
 * chunks. */
bool chunk_table_proves(const struct chunk_table *table, uint32_t index, const void *data);

/* Whether two chunks of a content-defined table are the same bytes, by SHA-256. */
bool chunk_table_are_same(const struct chunk_table *table, uint32_t index, uint32_t other);

/* Writes the header (CHUNK_TABLE_HEADER_SIZE bytes) of a table of `count` chunks with this average. */
void chunk_table_write_header(uint8_t *data, uint32_t average, uint32_t count);

/* Writes the row (CHUNK_TABLE_ROW_SIZE bytes) of a chunk of `size` bytes with these digests. */
void chunk_table_write_row(uint8_t *data, uint32_t size, uint64_t xxh3,
                           const uint8_t sha256[DIGEST_SHA256_SIZE]);

/* Reads the chunk's size and XXH3 from a row. */
void chunk_table_read_row(const uint8_t *data, uint32_t *ret_size, uint64_t *ret_xxh3);

/* Writes a table: rows are appended, then the bytes of the whole file are taken. */
struct chunk_table_writer;

/* A writer for chunks cut by `chunker`, of which only the average is kept. */
struct chunk_table_writer *chunk_table_writer_new(const struct chunker *chunker);

/* Frees the writer; NULL is fine. Returns NULL. */
struct chunk_table_writer *chunk_table_writer_free(struct chunk_table_writer *writer);

/* Appends a chunk: `size` bytes with their digests. Returns 0, -EFBIG if the table would exceed
 * CHUNK_TABLE_SIZE_MAX, or -ENOMEM. */
int chunk_table_writer_add(struct chunk_table_writer *writer, uint32_t size, uint64_t xxh3,
                           const uint8_t sha256[DIGEST_SHA256_SIZE]);

/* The bytes of IMAGE.chunks, owned by the caller; the writer is left empty. */
void chunk_table_writer_take(struct chunk_table_writer *writer, uint8_t **ret_data, size_t *ret_size);
