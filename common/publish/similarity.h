/* SPDX-License-Identifier: MIT */
/*
 * Which blocks of an old image look like a piece of a new one. The old image's windows of 32 bytes are
 * sampled by content (one in 64, or fewer of an image beyond 1 GiB, so that memory stays bounded), and each
 * sample remembers its block of 16 KiB. A piece of the new image is sampled the same way, and whatever both
 * have in common says where its like is, at any offset. A guess: nothing depends on it but the size of a
 * patch. A sample is its hash in the upper 32 bits, and in the lower ones the block it begins in. Immutable
 * once finished, so any number of threads may ask it. Never blocks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    SIMILARITY_WINDOW = 32,            /* bytes */
    SIMILARITY_BLOCK_SIZE = 16 * 1024, /* bytes */
    SIMILARITY_BLOCKS_PER_SAMPLE = 16, /* a sample that is in more blocks says nothing, and is dropped */
};

struct similarity;

/* For an old image of `size` bytes. */
struct similarity *similarity_new(uint64_t size);

/* Frees; NULL is fine. Returns NULL. */
struct similarity *similarity_free(struct similarity *similarity);

/* Samples the windows that lie within `data`, which is at `offset` of its image; *ret_samples is the
 * caller's. Any thread, also before similarity_finish(). Returns their number. */
size_t similarity_take_samples(const struct similarity *similarity, const uint8_t *data, size_t size,
                               uint64_t offset, uint64_t **ret_samples);

/* Adds samples of the old image. */
void similarity_add(struct similarity *similarity, const uint64_t *samples, size_t count);

/* All of the old image is in: sorts it, and from here on it may be asked. */
void similarity_finish(struct similarity *similarity);

/* The old image's samples with the hash of `sample`: at most SIMILARITY_BLOCKS_PER_SAMPLE, one for each
 * block, in the order of the blocks. */
const uint64_t *similarity_find(const struct similarity *similarity, uint64_t sample, size_t *ret_count);
