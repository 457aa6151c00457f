/* SPDX-License-Identifier: MIT */
#include "common/publish/report/diff_estimate.h"

#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/base/min_max.h"
#include "common/image/zstd_frame.h"
#include "common/io/device.h"

enum {
    WHOLE_LEVEL = 19,
    WHOLE_SAMPLE_SIZE = 4 * 1024 * 1024,
    WHOLE_SAMPLES = 8,
    READ_SIZE = 1024 * 1024,
};

bool diff_estimate_whole(const struct device *device, uint64_t size, uint64_t *ret_bytes, bool *ret_estimated,
                         struct error *error)
{
    bool sampled = size > (uint64_t)WHOLE_SAMPLES * WHOLE_SAMPLE_SIZE;
    uint64_t count = sampled ? WHOLE_SAMPLES : (size + WHOLE_SAMPLE_SIZE - 1) / WHOLE_SAMPLE_SIZE;
    uint64_t step = sampled ? (size - WHOLE_SAMPLE_SIZE) / (WHOLE_SAMPLES - 1) : WHOLE_SAMPLE_SIZE;
    size_t room = zstd_pack_bound(WHOLE_SAMPLE_SIZE);
    uint64_t taken = 0, packed = 0;
    struct zstd_packer *packer = zstd_packer_new(WHOLE_LEVEL);
    CLEANUP_FREE uint8_t *data = malloc(WHOLE_SAMPLE_SIZE);
    CLEANUP_FREE uint8_t *frame = malloc(room);
    bool ok = packer && data && frame;

    if (!ok)
        error_set(error, ERROR_SYSTEM, "there is no memory to compress samples of %s", device_path(device));
    for (uint64_t i = 0; ok && i < count; i++) {
        size_t part = (size_t)min_u64(WHOLE_SAMPLE_SIZE, size - i * step), frame_size;
        ok = device_read(device, data, part, i * step, error);
        if (ok && zstd_pack(packer, NULL, 0, data, part, frame, room, &frame_size) < 0)
            ok = error_set(error, ERROR_SYSTEM, "there is no memory to compress a sample of %s",
                           device_path(device));
        if (!ok)
            break;
        taken += part;
        packed += frame_size;
    }
    zstd_packer_free(packer);
    if (!ok)
        return false;
    *ret_bytes = sampled ? (uint64_t)((double)size * (double)packed / (double)taken) : packed;
    *ret_estimated = sampled;
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t key_a = *(const uint64_t *)a, key_b = *(const uint64_t *)b;

    return (key_a > key_b) - (key_a < key_b);
}

/* Reads the keys of all whole blocks of an image, sorted. */
static bool read_keys(const struct device *device, uint64_t size, uint64_t **ret_keys, uint64_t *ret_count,
                      struct error *error)
{
    uint64_t count = size / DIFF_ESTIMATE_BLOCK_SIZE, done = 0;
    CLEANUP_FREE uint64_t *keys = count < SIZE_MAX / sizeof(*keys) ? calloc(count + 1, sizeof(*keys)) : NULL;
    CLEANUP_FREE uint8_t *data = malloc(READ_SIZE);

    if (!keys || !data)
        return error_set(error, ERROR_SYSTEM, "there is no memory for the blocks of %s", device_path(device));
    while (done < count) {
        uint64_t part = min_u64(count - done, READ_SIZE / DIFF_ESTIMATE_BLOCK_SIZE);
        if (!device_read(device, data, part * DIFF_ESTIMATE_BLOCK_SIZE, done * DIFF_ESTIMATE_BLOCK_SIZE,
                         error))
            return false;
        for (uint64_t i = 0; i < part; i++)
            keys[done + i] = digest_xxh3(data + i * DIFF_ESTIMATE_BLOCK_SIZE, DIFF_ESTIMATE_BLOCK_SIZE);
        done += part;
    }
    qsort(keys, count, sizeof(*keys), compare_keys);
    *ret_keys = keys;
    *ret_count = count;
    keys = NULL;
    return true;
}

bool diff_estimate_blocks(const struct device *new_device, uint64_t new_size, const struct device *old_device,
                          uint64_t old_size, uint64_t *ret_bytes, struct error *error)
{
    CLEANUP_FREE uint64_t *new_keys = NULL;
    CLEANUP_FREE uint64_t *old_keys = NULL;
    uint64_t new_count, old_count, missing = 0, old = 0;

    if (!read_keys(new_device, new_size, &new_keys, &new_count, error) ||
        !read_keys(old_device, old_size, &old_keys, &old_count, error))
        return false;
    for (uint64_t i = 0; i < new_count; i++) {
        while (old < old_count && old_keys[old] < new_keys[i])
            old++;
        bool repeated = i > 0 && new_keys[i - 1] == new_keys[i];
        missing += !repeated && (old == old_count || old_keys[old] != new_keys[i]);
    }
    *ret_bytes = missing * DIFF_ESTIMATE_BLOCK_SIZE + new_size % DIFF_ESTIMATE_BLOCK_SIZE;
    return true;
}

bool diff_estimate_superblock(const struct device *device, uint64_t size, struct superblock *ret_superblock,
                              struct error *error)
{
    uint8_t data[SUPERBLOCK_BYTES];
    size_t part = (size_t)min_u64(size, sizeof(data));

    if (!device_read(device, data, part, 0, error))
        return false;
    superblock_read(data, part, ret_superblock);
    return true;
}
