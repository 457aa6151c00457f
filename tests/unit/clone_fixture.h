/* SPDX-License-Identifier: MIT */
/*
 * All that a test of the clone needs: an image of noise on a web server, with its table of chunks and its
 * release, and a target and seeds. Fails the test if it cannot be made.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/clone_watch.h"
#include "tests/unit/engine_bench.h"
#include "tests/unit/publisher.h"
#include "tests/unit/range_server.h"

enum {
    AVERAGE = 4096,
    IMAGE_SIZE = 1500 * 1000,
    FIXED_SIZE = 64 * 1024,
    SEEDS_MAX = 4,
};

struct fixture {
    struct dice dice;
    char *folder;
    struct engine_bench bench;
    struct range_server *server;
    struct range_file *image_file, *table_file;
    struct url *url;
    uint8_t *image, *chunks;
    size_t size, chunks_size;
    struct release *release;
    char *target_path;
    char *seed_paths[SEEDS_MAX + 1];
    struct clone_settings settings;
    struct clone_watch watch;
    range_fault_fn fault; /* which answers of the server go wrong; called with the fixture */
};

/* Makes everything, with an image of IMAGE_SIZE. */
void fixture_set_up(struct fixture *fixture);

/* Makes only the publisher's side, in a zeroed fixture: an image of `size` bytes, served on `base`; without
 * `with_chunks` its manifest is the ancestor's. */
void fixture_publish(struct fixture *fixture, struct event_base *base, size_t size, bool with_chunks);

void fixture_tear_down(struct fixture *fixture);

/* Ends what fixture_publish() made; before its base is freed. */
void fixture_unpublish(struct fixture *fixture);

/* Begins to clone with the fixture's settings, target and seeds. */
void fixture_start(struct fixture *fixture);

/* Clones from beginning to end. */
void fixture_run(struct fixture *fixture);

/* Fails unless the clone has succeeded, the target holds the image, and the events agree with that. */
void fixture_check_whole(const struct fixture *fixture);

/* For clone_watch's on_phase: changes some bytes of the first seed and cuts off its end when the transfer
 * begins. */
void fixture_change_seed(void *owner, enum clone_phase phase);

/* Writes into a file, which is created if it does not exist. */
void write_file(const char *path, const void *data, size_t size, uint64_t offset);
