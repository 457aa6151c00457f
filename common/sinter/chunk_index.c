/* SPDX-License-Identifier: MIT */
#include "common/sinter/chunk_index.h"

#include <stdlib.h>
#include <sys/random.h>

#include "common/base/alloc.h"

struct chunk_index {
    const struct chunk_table *table;
    uint32_t *buckets;     /* first chunk of each bucket's chain, or CHUNK_INDEX_NONE */
    unsigned bucket_shift; /* 64 minus log2 of the number of buckets */
    /* Odd and secret, so that nobody can publish a table that fills a single bucket. Two of them, because
     * with one, keys could be chosen that cancel out the sizes. */
    uint64_t key_multiplier, size_multiplier;
    uint32_t *next;        /* of each chunk that is first of its class: the next one in its bucket's chain */
    uint32_t *first_alike; /* of each chunk */
};

/* Multiply-shift hashing of the pair of key and size. */
static uint32_t chunk_index_bucket(const struct chunk_index *index, uint64_t key, uint32_t size)
{
    return (uint32_t)((key * index->key_multiplier + size * index->size_multiplier) >> index->bucket_shift);
}

struct chunk_index *chunk_index_new(const struct chunk_table *table)
{
    struct chunk_index *index = alloc_zeroed(sizeof(*index));
    uint32_t count = chunk_table_count(table), buckets = 16;

    index->bucket_shift = 60;
    for (; buckets < count && index->bucket_shift > 33; buckets *= 2)
        index->bucket_shift--;
    uint64_t secrets[2];
    if (getrandom(secrets, sizeof(secrets), 0) != sizeof(secrets))
        abort();
    index->key_multiplier = secrets[0] | 1;
    index->size_multiplier = secrets[1] | 1;
    index->table = table;
    index->buckets = alloc_array(buckets, sizeof(uint32_t));
    index->next = alloc_array(count, sizeof(uint32_t));
    index->first_alike = alloc_array(count, sizeof(uint32_t));
    for (uint32_t i = 0; i < buckets; i++)
        index->buckets[i] = CHUNK_INDEX_NONE;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t key = chunk_table_key(table, i);
        uint32_t size = chunk_table_size(table, i);
        uint32_t first = chunk_index_find(index, key, size);
        index->next[i] = CHUNK_INDEX_NONE;
        index->first_alike[i] = i;
        /* 32 bits are too few to call two chunks alike: among 16,384 of them it would be wrong in 3 images of
         * 100. */
        if (!chunk_table_is_content_defined(table))
            continue;
        if (first != CHUNK_INDEX_NONE) {
            index->first_alike[i] = first;
            continue;
        }
        uint32_t bucket = chunk_index_bucket(index, key, size);
        index->next[i] = index->buckets[bucket];
        index->buckets[bucket] = i;
    }
    return index;
}

struct chunk_index *chunk_index_free(struct chunk_index *index)
{
    if (!index)
        return NULL;
    free(index->buckets);
    free(index->next);
    free(index->first_alike);
    free(index);
    return NULL;
}

uint32_t chunk_index_find(const struct chunk_index *index, uint64_t key, uint32_t size)
{
    uint32_t chunk = index->buckets[chunk_index_bucket(index, key, size)];

    while (chunk != CHUNK_INDEX_NONE &&
           (chunk_table_key(index->table, chunk) != key || chunk_table_size(index->table, chunk) != size))
        chunk = index->next[chunk];
    return chunk;
}

uint32_t chunk_index_first_alike(const struct chunk_index *index, uint32_t chunk)
{
    return index->first_alike[chunk];
}

const uint32_t *chunk_index_classes(const struct chunk_index *index)
{
    return index->first_alike;
}
