/* SPDX-License-Identifier: MIT */
/*
 * Reading one source (the target or a seed) once, from end to end, to find the image's chunks in it: cut by
 * content at any offset, and for the target also in place. The ancestor's fixed chunks are looked for only at
 * their own offset, in all sources, as the ancestor does. A block that cannot be read costs the chunks that
 * it touches and is passed over. Works in slices on pool threads, so that it can be stopped and shows
 * progress. The loop's thread calls everything here; nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/image/chunk_table.h"
#include "common/io/device.h"
#include "common/io/pool.h"
#include "common/sinter/chunk_index.h"

struct scan;

/* A chunk that was found. In place: exactly this chunk stands at its own offset of the target. Otherwise a
 * chunk like it (`chunk` is the first of the class, see chunk_index.h) stands at `offset` of the source. */
struct scan_find {
    uint32_t chunk;
    bool in_place;
    uint64_t offset;
};

struct scan_settings {
    const struct device *device; /* must outlive the scan */
    uint64_t size_bytes;         /* how much of it to read */
    const struct chunk_table *table;
    const struct chunk_index *index;
    bool is_target; /* look for chunks in place as well */
    bool prove;     /* accept chunks in place by their SHA-256 and not by their key alone */
    bool hash;      /* also compute the XXH32 of the first image-size bytes, for the ancestor's events */
};

struct scan_events {
    /* Some more was read. The finds are valid during the call only. */
    void (*progress)(void *owner, uint64_t bytes, const struct scan_find *finds, size_t count);
    /* The end, exactly once: all was read, or scan_stop() was called. `error` is set if parts or the rest of
     * the source could not be read, or there is no memory for the largest chunks. xxh32 is 0 unless asked
     * for. scan_free() is allowed inside. */
    void (*done)(void *owner, const struct error *error, uint32_t xxh32);
};

/* Begins to scan. */
struct scan *scan_start(struct pool *pool, const struct scan_settings *settings,
                        const struct scan_events *events, void *owner);

/* `done` comes as soon as the slice under way ends. */
void scan_stop(struct scan *scan);

/* Frees after `done`; NULL is fine. Returns NULL. */
struct scan *scan_free(struct scan *scan);
