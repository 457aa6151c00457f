/* SPDX-License-Identifier: MIT */
/*
 * How fast one core makes chunks from patches, and in how much memory: for each patch of a published release,
 * what a device does but the fetching and the writing: read the spans, hash them, unpack, prove every chunk.
 *   patch-speed IMAGE OLD      IMAGE with IMAGE.json, .chunks and .pack beside it; OLD is its first base
 * Prints one JSON object. The page cache should be warm.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/image/zstd_frame.h"
#include "common/io/device.h"
#include "common/publish/published.h"

struct speed {
    struct published published;
    struct device *pack, *old;
    struct zstd_unpacker *unpacker;
    uint8_t *spans, *frame, *output;
    uint64_t output_bytes, frame_bytes;
};

static double seconds_of(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool apply(struct speed *speed, const struct patch *patch, struct error *error)
{
    const struct chunk_table *table = speed->published.table;
    const struct patch_span *spans = patch_list_spans(speed->published.patches[0], patch);
    size_t used = 0;

    for (uint32_t i = 0; i < patch->span_count; i++) {
        if (!device_read(speed->old, speed->spans + used, spans[i].size, spans[i].offset, error))
            return false;
        used += spans[i].size;
    }
    if (digest_xxh3(speed->spans, used) != patch->spans_xxh3)
        return error_set(error, ERROR_MISMATCH, "%s is not the release that the patches were made against",
                         device_path(speed->old));
    if (!device_read(speed->pack, speed->frame, patch->frame_size, patch->frame_offset, error))
        return false;
    if (zstd_unpack(speed->unpacker, speed->spans, used, speed->frame, patch->frame_size, speed->output,
                    patch->output_size) < 0)
        return error_set(error, ERROR_MISMATCH, "a patch does not unpack");
    for (uint32_t chunk = patch->first, at = 0; chunk < patch->first + patch->count; chunk++) {
        if (!chunk_table_proves(table, chunk, speed->output + at))
            return error_set(error, ERROR_MISMATCH, "a patch makes other bytes than chunk %" PRIu32, chunk);
        at += chunk_table_size(table, chunk);
    }
    speed->output_bytes += patch->output_size;
    speed->frame_bytes += patch->frame_size;
    return true;
}

static bool apply_all(struct speed *speed, const char *image_path, const char *old_path, struct error *error)
{
    CLEANUP_FREE char *pack_path = alloc_printf("%s.pack", image_path);

    if (!published_read(image_path, &speed->published, error))
        return false;
    if (speed->published.manifest->pack.base_count == 0)
        return error_set(error, ERROR_REFUSED, "%s holds no patches", pack_path);
    if (!device_open_source(pack_path, &speed->pack, error) ||
        !device_open_source(old_path, &speed->old, error))
        return false;
    const struct manifest_base *base = &speed->published.manifest->pack.bases[0];
    const struct patch_list *patches = speed->published.patches[0];
    speed->unpacker = zstd_unpacker_new();
    speed->spans = alloc_zeroed(base->span_max + 1);
    speed->frame = alloc_zeroed(base->output_max + 1); /* a frame is smaller than its run */
    speed->output = alloc_zeroed(base->output_max + 1);
    double begin = seconds_of(CLOCK_MONOTONIC), cpu_begin = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    for (uint32_t i = 0; i < patch_list_count(patches); i++)
        if (!apply(speed, patch_list_at(patches, i), error))
            return false;
    double seconds = seconds_of(CLOCK_MONOTONIC) - begin;
    double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"patches\":%" PRIu32 ",\"patch_bytes\":%" PRIu64 ",\"output_bytes\":%" PRIu64
           ",\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"output_mb_per_cpu_second\":%.1f,\"peak_kib\":%ld}\n",
           patch_list_count(patches), speed->frame_bytes, speed->output_bytes, seconds, cpu,
           cpu > 0 ? (double)speed->output_bytes / 1e6 / cpu : 0, usage.ru_maxrss);
    return true;
}

int main(int argc, char **argv)
{
    struct speed speed = {0};
    struct error error;

    if (argc != 3) {
        fprintf(stderr, "usage: patch-speed IMAGE OLD\n");
        return 2;
    }
    bool ok = apply_all(&speed, argv[1], argv[2], &error);
    if (!ok)
        fprintf(stderr, "patch-speed: %s\n", error.message);
    free(speed.spans);
    free(speed.frame);
    free(speed.output);
    zstd_unpacker_free(speed.unpacker);
    device_close(speed.pack);
    device_close(speed.old);
    published_finish(&speed.published);
    return ok ? 0 : 1;
}
