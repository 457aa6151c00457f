/* SPDX-License-Identifier: MIT */
/*
 * What an image can be made from besides the network: the target's own content and the seeds. Opens them,
 * finds out whether one holds an earlier release, and scans them, merging what is found: which chunks stand
 * in place, and where each other is best copied from. Functions that may block say so; the rest is the loop's
 * thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/chunk_table.h"
#include "common/image/manifest_pack.h"
#include "common/image/table_difference.h"
#include "common/io/device.h"
#include "common/io/pool.h"
#include "common/sinter/chunk_index.h"
#include "common/sinter/plan.h"

struct event_base;
struct sources;

struct sources_events {
    void (*scanned)(void *owner, uint64_t bytes);
    /* A source cannot be used (any more); `error` is valid during the call. */
    void (*skipped)(void *owner, const char *path, const struct error *error);
    /* A source was read to its end (only with `hash`): number 0 is the target. */
    void (*hashed)(void *owner, uint32_t number, uint32_t xxh32);
    /* The scan is over or was stopped. */
    void (*done)(void *owner);
};

/* Source 0 is the target, the others are the seeds; seed_paths is NULL-terminated, or NULL;
 * PLAN_SOURCE_SEED_LAST at most. */
struct sources *sources_new(struct event_base *base, struct pool *pool, const char *target_path,
                            const char *const *seed_paths, const struct sources_events *events, void *owner);

/* Closes what is open, which may block; NULL is fine. Returns NULL. */
struct sources *sources_free(struct sources *sources);

/* How the target is opened. */
struct sources_open {
    uint64_t image_size;
    bool create_target; /* a missing one is created as a file */
    bool read_only;     /* and may be missing where create_target is set */
    /* Called with `check_owner`; NULL: any is right. */
    bool (*check_target)(void *owner, int fd, struct error *error);
    void *check_owner;
};

/* Opens the target and the seeds. A seed that cannot be opened is passed over, see sources_tell_skipped().
 * Blocks: on a pool thread. */
bool sources_open(struct sources *sources, const struct sources_open *open, struct error *error);

/* Tells of the seeds that could not be opened. */
void sources_tell_skipped(struct sources *sources);

/* Closes all, or all but the target. Blocks. */
void sources_close(struct sources *sources, bool keep_target);

uint32_t sources_count(const struct sources *sources);

/* NULL where it cannot be used. */
struct device *sources_device(const struct sources *sources, uint32_t number);

/* The target's device, which is the caller's from now on. */
struct device *sources_take_target(struct sources *sources);

const char *sources_path(const struct sources *sources, uint32_t number);

/* The seeds' devices, [0] being source 1; as long as the sources are. */
struct device *const *sources_seeds(const struct sources *sources);

/* How much of a source is read; bytes. */
uint64_t sources_scan_bytes(const struct sources *sources, uint32_t number);

/* Which base of the pack is at hand, and in which source, by the probes' share that is right. False where
 * none is. Blocks. */
bool sources_match_base(struct sources *sources, const struct manifest_pack *pack, uint32_t *ret_base,
                        uint32_t *ret_number);

/* After that: whether any of that base's probes is right in source `number`, so that it may hold what the one
 * that was chosen does not give. */
bool sources_may_hold_base(const struct sources *sources, uint32_t number);

/* Source `number` cannot be read after all: which other may hold that base; PLAN_SOURCE_NONE where none does.
 */
uint32_t sources_next_base(struct sources *sources, uint32_t number);

/* Begins with an empty slate for the chunks of this table; both must outlive the sources. */
void sources_expect(struct sources *sources, const struct chunk_table *table,
                    const struct chunk_index *index);

/* Takes what cutting a seed has found, so that the scan need not read it again, unless some of it could not
 * be read. Takes time in proportion to the rows: on a pool thread. */
void sources_add_rows(struct sources *sources, uint32_t number, const struct table_rows *rows);

/* Scans what was not taken from rows, two at a time. `prove`: take chunks in place by their proof and not by
 * their key alone; `hash`: also compute XXH32s. `done` is never called from within. */
void sources_scan(struct sources *sources, bool prove, bool hash);

/* `done` comes as soon as the slices under way end. Nothing happens where no scan is under way. */
void sources_stop(struct sources *sources);

/* Of each chunk: it stands in the target in its place. */
const bool *sources_kept(const struct sources *sources);

/* `count` chunks from `first` on were written, so they do. */
void sources_add_kept(struct sources *sources, uint32_t first, uint32_t count);

/* Of each class, by its first chunk: where it is; see plan.h. */
const struct plan_place *sources_places(const struct sources *sources);

/* The target's old content is gone: places in it are forgotten but for chunks that stand in place. */
void sources_forget_target(struct sources *sources);
