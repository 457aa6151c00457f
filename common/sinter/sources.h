/* SPDX-License-Identifier: MIT */
/*
 * What an image can be made from besides the network: the target's own content and the seeds. Opens them,
 * finds out whether one holds an earlier release, scans them and merges what is found: which chunks stand in
 * place, and from where each other chunk is best copied. Functions that may block say so; all others are for
 * the loop's thread only.
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
    /* A source cannot be used, or no longer; `error` is valid during the call. */
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
    bool read_only;     /* then, with create_target, the target may be missing */
    /* See clone_settings::check_target; called with `check_owner`. NULL: any target is accepted. */
    bool (*check_target)(void *owner, int fd, struct error *error);
    void *check_owner;
};

/* Opens the target and the seeds. A seed that cannot be opened is passed over, see sources_tell_skipped().
 * Blocks: on a pool thread. */
bool sources_open(struct sources *sources, const struct sources_open *open, struct error *error);

/* Calls `skipped` for each seed that could not be opened. */
void sources_tell_skipped(struct sources *sources);

/* Closes all, or all but the target. Blocks. */
void sources_close(struct sources *sources, bool keep_target);

uint32_t sources_count(const struct sources *sources);

/* The source's device; NULL if it cannot be used. */
struct device *sources_device(const struct sources *sources, uint32_t number);

/* The target's device, which is the caller's from now on. */
struct device *sources_take_target(struct sources *sources);

const char *sources_path(const struct sources *sources, uint32_t number);

/* The seeds' devices; [0] is source 1. Valid as long as the sources. */
struct device *const *sources_seeds(const struct sources *sources);

/* How many bytes of the source a scan reads. */
uint64_t sources_scan_bytes(const struct sources *sources, uint32_t number);

/* Finds the base of the pack, and the source that holds it, with the largest share of right probes. False if
 * no probe is right anywhere. Blocks. */
bool sources_match_base(struct sources *sources, const struct manifest_pack *pack, uint32_t *ret_base,
                        uint32_t *ret_number);

/* After sources_match_base(): whether any probe of that base is right in source `number`, so that it may have
 * bytes of the base that the chosen source lacks. */
bool sources_may_hold_base(const struct sources *sources, uint32_t number);

/* Call it when source `number` turns out unreadable. Returns another source that may hold the base, or
 * PLAN_SOURCE_NONE. */
uint32_t sources_next_base(struct sources *sources, uint32_t number);

/* Sets the chunks to look for; none is found as yet. Both arguments must outlive the sources. */
void sources_expect(struct sources *sources, const struct chunk_table *table,
                    const struct chunk_index *index);

/* Takes over what cutting a seed has found, so that the scan need not read the seed again, unless parts of it
 * were unreadable. Takes time in proportion to the rows: pool threads only. */
void sources_add_rows(struct sources *sources, uint32_t number, const struct table_rows *rows);

/* Scans the sources whose content did not come from rows, two at a time. `prove`: accept chunks in place by
 * their SHA-256 and not by their key alone; `hash`: also compute XXH32s. `done` is called later, never before
 * this returns. */
void sources_scan(struct sources *sources, bool prove, bool hash);

/* `done` comes as soon as the slices under way end. Does nothing if no scan is under way. */
void sources_stop(struct sources *sources);

/* For each chunk: whether it stands at its place in the target. */
const bool *sources_kept(const struct sources *sources);

/* Marks `count` chunks from `first` on as kept, because they were written. */
void sources_add_kept(struct sources *sources, uint32_t first, uint32_t count);

/* For each class, by its first chunk: where it was found; see plan.h. */
const struct plan_place *sources_places(const struct sources *sources);

/* Forgets all places in the target, except chunks in place, because its old content is gone. */
void sources_forget_target(struct sources *sources);
