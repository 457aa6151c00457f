/* SPDX-License-Identifier: MIT */
/*
 * Finds the blocks of an old image that are similar to a piece of a new one. Of the old image's windows of 32
 * bytes some are sampled: one in 64, chosen by content, or fewer of an image beyond 1 GiB, so that memory has
 * a limit. Each sample remembers which block of 16 KiB it is in. A piece of the new image is sampled the same
 * way; the samples that both have show where something similar is, at any offset. That is a guess, on which
 * only the size of a patch depends.
 *
 * A sample has the window's hash in the upper 32 bits, and the number of the block that it begins in below.
 * Never blocks. Immutable after similarity_finish(), so that any number of threads may use it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    SIMILARITY_WINDOW = 32,            /* bytes */
    SIMILARITY_BLOCK_SIZE = 16 * 1024, /* bytes */
    SIMILARITY_BLOCKS_PER_SAMPLE = 16, /* what is in more blocks than that tells nothing and is dropped */
};

struct similarity;

/* Begins with an old image of `size` bytes. Freed by similarity_free(). */
struct similarity *similarity_new(uint64_t size);

/* Frees; NULL is fine. Returns NULL. */
struct similarity *similarity_free(struct similarity *similarity);

/* Samples the windows within `data`, which are the bytes at `offset` of the old or the new image. The caller
 * frees *ret_samples. Any thread, also before similarity_finish(). Returns how many samples there are. */
size_t similarity_take_samples(const struct similarity *similarity, const uint8_t *data, size_t size,
                               uint64_t offset, uint64_t **ret_samples);

/* Adds samples of the old image, which must come in the order of their blocks. */
void similarity_add(struct similarity *similarity, const uint64_t *samples, size_t count);

/* Sorts the samples, after all of the old image was added. Only then may similarity_find() be called. */
void similarity_finish(struct similarity *similarity);

/* The old image's samples that have the hash of `sample`: at most SIMILARITY_BLOCKS_PER_SAMPLE, one for each
 * block, in the order of the blocks; valid as long as `similarity`. */
const uint64_t *similarity_find(const struct similarity *similarity, uint64_t sample, size_t *ret_count);
