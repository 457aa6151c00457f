/* SPDX-License-Identifier: MIT */
#include "common/publish/similarity.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"

enum {
    SAMPLE_BITS = 6,  /* one window in 2^6 is sampled */
    RADIX_BITS = 11,  /* bits of a hash in one pass of the sort, which makes three passes for 32 */
    BUCKET_BITS = 20, /* upper bits of a hash by which its place is looked up */
    HASH_SHIFT = 32,  /* where the hash is in a sample */
};

/* Bytes of an image up to which one window in 64 is sampled. */
#define SAMPLE_FULLY_MAX (UINT64_C(1) << 30)

struct similarity {
    uint32_t gear[256];
    unsigned sample_shift; /* a window is a sample if the bits of its gear hash from this one on are zero */
    uint64_t *samples;
    size_t count;
    size_t room;
    uint32_t *buckets; /* for each value of the upper bits, the index of the first sample with them */
};

struct similarity *similarity_new(uint64_t size)
{
    struct similarity *similarity = alloc_zeroed(sizeof(*similarity));
    unsigned bits = SAMPLE_BITS;
    uint64_t state = 0;

    for (; size > SAMPLE_FULLY_MAX && bits < 20; size /= 2)
        bits++;
    similarity->sample_shift = 32 - bits;
    /* SplitMix64, as in the chunker: any numbers without a pattern will do. */
    for (int i = 0; i < 256; i++) {
        uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        similarity->gear[i] = (uint32_t)((z ^ z >> 31) >> 32);
    }
    return similarity;
}

struct similarity *similarity_free(struct similarity *similarity)
{
    if (!similarity)
        return NULL;
    free(similarity->samples);
    free(similarity->buckets);
    free(similarity);
    return NULL;
}

size_t similarity_take_samples(const struct similarity *similarity, const uint8_t *data, size_t size,
                               uint64_t offset, uint64_t **ret_samples)
{
    uint64_t *samples = NULL, last = 0;
    size_t count = 0, room = 0;
    uint32_t gear = 0;

    for (size_t i = 0; i < size; i++) {
        /* The hash is of the last 32 bytes: what was before has been shifted out. */
        gear = (gear << 1) + similarity->gear[data[i]];
        if (gear >> similarity->sample_shift != 0 || i + 1 < SIMILARITY_WINDOW)
            continue;
        size_t begin = i + 1 - SIMILARITY_WINDOW;
        uint64_t sample = (digest_xxh3(data + begin, SIMILARITY_WINDOW) & UINT64_C(0xffffffff))
                              << HASH_SHIFT |
                          (uint32_t)((offset + begin) / SIMILARITY_BLOCK_SIZE);
        /* In a run of equal bytes all windows are the same: one of them is enough. */
        if (sample == last)
            continue;
        samples = alloc_grow(samples, sizeof(*samples), count + 1, &room);
        samples[count++] = last = sample;
    }
    *ret_samples = samples;
    return count;
}

void similarity_add(struct similarity *similarity, const uint64_t *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        similarity->samples =
            alloc_grow(similarity->samples, sizeof(*samples), similarity->count + 1, &similarity->room);
        similarity->samples[similarity->count++] = samples[i];
    }
}

/* Sorts by hash (a radix sort), and keeps the order of the blocks in which the samples were added. */
static void sort_by_hash(struct similarity *similarity)
{
    uint64_t *from = similarity->samples, *to = alloc_array(similarity->count + 1, sizeof(*to));
    size_t *starts = alloc_array((size_t)1 << RADIX_BITS, sizeof(*starts));

    for (unsigned shift = HASH_SHIFT; shift < 64; shift += RADIX_BITS) {
        uint64_t mask = ((uint64_t)1 << RADIX_BITS) - 1;
        memset(starts, 0, sizeof(*starts) << RADIX_BITS);
        for (size_t i = 0; i < similarity->count; i++)
            starts[from[i] >> shift & mask]++;
        for (size_t i = 0, sum = 0; i <= mask; i++) {
            size_t size = starts[i];
            starts[i] = sum;
            sum += size;
        }
        for (size_t i = 0; i < similarity->count; i++)
            to[starts[from[i] >> shift & mask]++] = from[i];
        uint64_t *other = from;
        from = to;
        to = other;
    }
    similarity->samples = from;
    free(to);
    free(starts);
}

/* Keeps one sample of each hash and block, and none of a hash that is in too many blocks. */
static void drop_useless(struct similarity *similarity)
{
    uint64_t *samples = similarity->samples;
    size_t kept = 0;

    for (size_t i = 0; i < similarity->count;) {
        size_t begin = kept;
        uint64_t hash = samples[i] >> HASH_SHIFT;
        for (; i < similarity->count && samples[i] >> HASH_SHIFT == hash; i++)
            if (kept == begin || samples[kept - 1] != samples[i])
                samples[kept++] = samples[i];
        if (kept - begin > SIMILARITY_BLOCKS_PER_SAMPLE)
            kept = begin;
    }
    similarity->count = kept;
}

void similarity_finish(struct similarity *similarity)
{
    sort_by_hash(similarity);
    drop_useless(similarity);
    assert(similarity->count <= UINT32_MAX);
    similarity->buckets = alloc_array(((size_t)1 << BUCKET_BITS) + 1, sizeof(*similarity->buckets));
    size_t bucket = 0;
    for (size_t i = 0; i < similarity->count; i++)
        while (bucket <= similarity->samples[i] >> (64 - BUCKET_BITS))
            similarity->buckets[bucket++] = (uint32_t)i;
    while (bucket <= (size_t)1 << BUCKET_BITS)
        similarity->buckets[bucket++] = (uint32_t)similarity->count;
}

const uint64_t *similarity_find(const struct similarity *similarity, uint64_t sample, size_t *ret_count)
{
    const uint64_t *samples = similarity->samples;
    size_t bucket = sample >> (64 - BUCKET_BITS), i = similarity->buckets[bucket],
           end = similarity->buckets[bucket + 1];
    uint64_t hash = sample >> HASH_SHIFT;

    while (i < end && samples[i] >> HASH_SHIFT < hash)
        i++;
    size_t begin = i;
    while (i < end && samples[i] >> HASH_SHIFT == hash)
        i++;
    *ret_count = i - begin;
    return samples + begin;
}
