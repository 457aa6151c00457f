/* SPDX-License-Identifier: MIT */
/*
 * Cloning all images of a set as one: each is planned, then, when all plans are made and nothing is written
 * yet, one after the other is made and read back, and all targets stay open until the last one is whole. So
 * there is one plan, one count of bytes and one end. Of what takes much memory, buffers exist once and tables
 * of chunks as often as there are images. With one image it does what a clone does, at the same cost. The
 * loop's thread only; nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/image/manifest_parts.h"
#include "common/io/device.h"
#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/sinter/clone.h"
#include "common/sinter/plan.h"
#include "common/sinter/release.h"

enum { CLONE_SET_IMAGES_MAX = 1 + MANIFEST_PARTS_MAX };

struct clone_set;
struct event_base;

/* One image; see struct clone_settings for what is not said here. */
struct clone_set_image {
    const char *name; /* of the part, or MANIFEST_MAIN_NAME; has to outlive the set */
    struct release *release;
    const char *target_path;
    const char *const *seed_paths;
    bool create_target;
};

struct clone_set_settings {
    struct clone_set_image images[CLONE_SET_IMAGES_MAX]; /* in the order in which they are made */
    unsigned count;
    bool plan_only;
    bool keep_stock;
    bool keep_verified_only;
    bool ignore_etag;
    bool hash_sources;
    /* Called on a pool thread when the target of that image was opened, see struct clone_settings. */
    bool (*check_target)(void *owner, const char *name, int fd, struct error *error);
    bool any_table;        /* refuse no table of chunks for its size */
    uint64_t memory_bytes; /* of the machine, for table_room_chunks_max(); all images share it */
    unsigned connections;
    uint64_t give_up_ms;
    bool patient;
};

/* As those of struct clone_events; `name` is that of the image. Any but `done` may be NULL. */
struct clone_set_events {
    /* What follows is of this image: it is planned now, or, if there are several, made. `clone` lives as long
     * as the set. */
    void (*image)(void *owner, const struct clone_set_image *image, struct clone *clone);
    void (*image_planned)(void *owner, const struct plan *plan);
    void (*chunks)(void *owner, enum clone_fate fate, uint32_t first, uint32_t count, uint64_t bytes);
    void (*source_hashed)(void *owner, const char *path, uint32_t xxh32);
    void (*read_back)(void *owner, uint32_t xxh32);
    void (*phase)(void *owner, enum clone_phase phase);
    /* All plans are made; `sum` is of all images. Valid during the call. */
    void (*planned)(void *owner, const struct plan_totals *sum);
    void (*retry)(void *owner, uint32_t chunk, const struct error *error, uint64_t wait_ms);
    void (*seed_skipped)(void *owner, const char *path, const struct error *error);
    void (*pack_skipped)(void *owner, const char *name, const struct error *error);
    void (*table_skipped)(void *owner, const char *name, const struct error *error);
    void (*read_back_cached)(void *owner, const struct error *why);
    /* The end, once. `error` is NULL on success. Only this may be followed by clone_set_free(). */
    void (*done)(void *owner, const struct error *error);
};

/* Copies the settings, but not what they point to, which has to live until `done`. Starts nothing. */
struct clone_set *clone_set_new(struct event_base *base, struct http *http, struct pool *pool,
                                const struct clone_set_settings *settings,
                                const struct clone_set_events *events, void *owner);

/* Begins; `done` is called later, never before this returns. */
void clone_set_start(struct clone_set *set);

/* Asks it to stop; `done` comes with ERROR_CANCELLED when nothing is under way any more. Too late where the
 * last image is whole. */
void clone_set_cancel(struct clone_set *set);

/* After `done`: clone_leave_stock() for each image. */
void clone_set_leave_stock(struct clone_set *set);

/* Frees one that was not started or whose `done` was called, with the targets that were not taken. NULL is
 * fine. Returns NULL. */
struct clone_set *clone_set_free(struct clone_set *set);

/* The sum of all images. */
const struct clone_progress *clone_set_progress(struct clone_set *set);

/* How much of it all is done, 0 to 100: each image counts by its size. */
double clone_set_percent(const struct clone_set *set);

/* After a failure, of the image that failed: see clone_was_overtaken() and clone_lacks_file(). */
bool clone_set_was_overtaken(const struct clone_set *set);
bool clone_set_lacks_file(const struct clone_set *set);

/* After a failure: whether an image was made, and what was read back is not it. */
bool clone_set_was_misread(const struct clone_set *set);

/* After success: see clone_get_sha256() and clone_take_target(). `image` counts as in the settings. */
bool clone_set_get_sha256(const struct clone_set *set, unsigned image,
                          uint8_t ret_sha256[DIGEST_SHA256_SIZE]);
struct device *clone_set_take_target(struct clone_set *set, unsigned image);
