/* SPDX-License-Identifier: MIT */
/*
 * Reads a source once, from end to end, and cuts it by content into the rows of a table of chunks. From these
 * rows and a difference the table of another release is made. Parts that cannot be read are passed over, see
 * device_is_damaged(). Works in slices on pool threads, so that it can be stopped and shows progress. The
 * loop's thread calls everything here; nothing blocks.
 */
#pragma once

#include <stdint.h>

#include "common/base/error.h"
#include "common/image/table_difference.h"
#include "common/io/device.h"
#include "common/io/pool.h"

struct cutting;

struct cutting_settings {
    const struct device *device; /* must outlive the cutting */
    uint64_t size_bytes;         /* how much of it to read */
    uint32_t average;            /* as chunker_init() takes it */
    uint32_t rows_max;           /* more are an error */
    uint64_t hash_bytes;         /* compute the XXH32 of so many bytes, for the ancestor's events; 0 = none */
};

struct cutting_events {
    void (*progress)(void *owner, uint64_t bytes);
    /* The end, exactly once: all was read, or cutting_stop() was called, or `error` is set. cutting_free() is
     * allowed inside. */
    void (*done)(void *owner, const struct error *error, uint32_t xxh32);
};

struct cutting *cutting_start(struct pool *pool, const struct cutting_settings *settings,
                              const struct cutting_events *events, void *owner);

/* `done` comes as soon as the slice under way ends. */
void cutting_stop(struct cutting *cutting);

/* The rows; to be called after `done`. The caller frees each member. */
struct table_rows cutting_take_rows(struct cutting *cutting);

/* Frees after `done`; NULL is fine. Returns NULL. */
struct cutting *cutting_free(struct cutting *cutting);
