/* SPDX-License-Identifier: MIT */
/*
 * Content-defined chunking: where a stream of bytes is cut depends only on the 64 bytes before the cut and on
 * the distance from the last cut, so an insertion moves later chunks without changing them. A gear hash with
 * normalised cuts (FastCDC); the exact function, its table and its masks are part of the file format and
 * specified in docs/manifest.md. Pure; any thread, but a stream is for one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHUNKER_AVERAGE_DEFAULT = 32 * 1024,
    CHUNKER_AVERAGE_MIN = 1024,
    CHUNKER_AVERAGE_MAX = 256 * 1024, /* so that a chunk is at most 1 MiB */
};

/* Sizes in bytes; average is a power of two, minimum = average / 4, maximum = average * 4. Immutable once set
 * up, may be copied. */
struct chunker {
    uint32_t average;
    uint32_t minimum;
    uint32_t maximum;
    uint64_t mask_hard; /* for cuts before the average: they are rarer */
    uint64_t mask_easy; /* for cuts after the average: they are likelier */
    uint64_t gear[256]; /* 2 KiB, in the first-level cache while cutting */
};

/* Sets up `chunker`. Returns 0, or -EINVAL if `average` is no power of two within the bounds above. */
int chunker_init(struct chunker *chunker, uint32_t average);

/* The length of the chunk that starts at data[0]. `size` must be at least chunker->maximum, unless the stream
 * ends there; the last chunk may be shorter than the minimum. Never 0 for size > 0. */
size_t chunker_cut(const struct chunker *chunker, const uint8_t *data, size_t size);

/* Cutting a stream that arrives in pieces of any size. */
struct chunker_stream;

/* Called for each chunk in order; `data` is valid during the call. Returns false to stop the stream. */
typedef bool (*chunker_chunk_fn)(void *owner, const uint8_t *data, size_t size);

/* A stream cut by `chunker` (which is copied), with a buffer of twice its maximum. NULL if there is no memory
 * for the buffer, as the average may come from a stranger's file. */
struct chunker_stream *chunker_stream_new(const struct chunker *chunker, chunker_chunk_fn chunk, void *owner);

/* Frees the stream; NULL is fine. Returns NULL. */
struct chunker_stream *chunker_stream_free(struct chunker_stream *stream);

/* Takes the next `size` bytes; false as soon as the callback returned false. */
bool chunker_stream_add(struct chunker_stream *stream, const uint8_t *data, size_t size);

/* The stream has ended: cuts what is left. */
bool chunker_stream_end(struct chunker_stream *stream);
