/* SPDX-License-Identifier: MIT */
#include "common/publish/base_probes.h"

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/io/device.h"

/* An image that the base must not be mistaken for. */
struct opponent {
    const struct device *device;
    uint64_t size;                   /* bytes */
    const struct base_image *base;   /* another base, or */
    const struct chunk_table *table; /* NULL unless it is the new image */
};

static uint32_t count_of(const struct opponent *opponent)
{
    return opponent->base ? opponent->base->chunk_count : chunk_table_count(opponent->table);
}

static struct base_chunk chunk_of(const struct opponent *opponent, uint32_t index)
{
    if (opponent->base)
        return opponent->base->chunks[index];
    return (struct base_chunk){.key = chunk_table_key(opponent->table, index),
                               .offset = chunk_table_offset(opponent->table, index),
                               .size = chunk_table_size(opponent->table, index)};
}

/* Lists the base's chunks that the opponent does not have at the same offset; returns how many. */
static uint32_t find_differences(const struct base_image *base, const struct opponent *opponent,
                                 uint32_t *ret_chunks)
{
    uint32_t count = 0, other = 0;

    for (uint32_t i = 0; i < base->chunk_count; i++) {
        const struct base_chunk *own = &base->chunks[i];
        while (other < count_of(opponent) && chunk_of(opponent, other).offset < own->offset)
            other++;
        struct base_chunk found =
            other < count_of(opponent) ? chunk_of(opponent, other) : (struct base_chunk){0};
        if (found.offset != own->offset || found.key != own->key || found.size != own->size)
            ret_chunks[count++] = i;
    }
    return count;
}

/* Reads and hashes what a device would read for a probe at `offset`: fewer bytes at the image's end, and 0
 * past it. */
static bool probe(const struct device *device, uint64_t size, uint64_t offset, uint64_t *ret_hash,
                  size_t *ret_size, struct error *error)
{
    uint8_t data[MANIFEST_PROBE_SIZE];
    uint64_t left = offset < size ? size - offset : 0;

    *ret_size = left < sizeof(data) ? (size_t)left : sizeof(data);
    if (!device_read(device, data, *ret_size, offset, error))
        return false;
    *ret_hash = digest_xxh3(data, *ret_size);
    return true;
}

/* Appends a probe at the first place in the base's chunk where the opponent has other bytes. There may be
 * none, as the opponent may have the same bytes, cut elsewhere. */
static bool add_probe(const struct base_image *base, const struct base_chunk *chunk,
                      const struct opponent *opponent, struct manifest_base *manifest, bool *ret_added,
                      struct error *error)
{
    *ret_added = false;
    for (uint64_t offset = chunk->offset; offset < chunk->offset + chunk->size && !*ret_added;
         offset += MANIFEST_PROBE_SIZE) {
        uint64_t own, other;
        size_t own_size, other_size;
        if (!probe(base->device, base->size, offset, &own, &own_size, error) ||
            !probe(opponent->device, opponent->size, offset, &other, &other_size, error))
            return false;
        *ret_added = own != other || own_size != other_size;
        if (*ret_added)
            manifest->probes[manifest->probe_count++] =
                (struct manifest_probe){.offset = offset, .xxh3 = own};
    }
    return true;
}

/* Appends up to `count` probes, spread over all that differs, so that a seed that was modified in one place
 * still has the bytes of the others. */
static bool add_probes(const struct base_image *base, const struct opponent *opponent, uint64_t count,
                       struct manifest_base *manifest, struct error *error)
{
    CLEANUP_FREE uint32_t *chunks = alloc_array(base->chunk_count, sizeof(*chunks));
    uint64_t differences = find_differences(base, opponent, chunks);

    for (uint64_t i = 0; i < count; i++) {
        bool added = false;
        for (uint64_t j = i * differences / count; j < (i + 1) * differences / count && !added; j++)
            if (!add_probe(base, &base->chunks[chunks[j]], opponent, manifest, &added, error))
                return false;
    }
    return true;
}

bool base_probes_choose(struct base_image *const *bases, uint32_t base_count, uint32_t which,
                        const struct device *image, const struct chunk_table *table,
                        struct manifest_base *ret_base, struct error *error)
{
    const struct base_image *base = bases[which];
    uint64_t hash;
    size_t size;

    ret_base->probe_count = 0;
    /* Each of the other bases gets a share of the probes, and the new image gets the share of this base. */
    for (uint32_t i = 0; i < base_count; i++) {
        struct opponent opponent = {.device = bases[i]->device, .size = bases[i]->size, .base = bases[i]};
        if (i == which)
            opponent =
                (struct opponent){.device = image, .size = chunk_table_image_size(table), .table = table};
        uint32_t count = MANIFEST_PROBES_MAX * (i + 1) / base_count - MANIFEST_PROBES_MAX * i / base_count;
        if (!add_probes(base, &opponent, count, ret_base, error))
            return false;
    }
    if (ret_base->probe_count > 0)
        return true;
    /* The base differs from none of them, so any place will do. */
    if (!probe(base->device, base->size, 0, &hash, &size, error))
        return false;
    ret_base->probes[ret_base->probe_count++] = (struct manifest_probe){.offset = 0, .xxh3 = hash};
    return true;
}
