/* SPDX-License-Identifier: MIT */
/*
 * Whether a file on a mounted partition can be the place of a part, and how much room it has. The loader
 * reads it there, so it has to lie on a file system of its own and not in a slot, where it would be gone with
 * the next update; and it is overwritten where it is, so nothing else may be the same file. What keeps
 * the file system from being unmounted, or exchanged for another, while an update runs is the opened file
 * itself, which stays open until the slot is armed. Looks at the medium: pool threads, or before the loop
 * runs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/host/storage.h"

struct file_place {
    char *path; /* to look at, with the root of tests; NULL = this was never looked at */
    char *why; /* half a sentence that goes on after the place: why it cannot be written, and what to do; NULL
                  = it can */
    dev_t file_system;   /* the kernel's number of the one that the folder lies on; 0 = no folder */
    struct storage on;   /* the block device below it; not present where that cannot be told */
    uint64_t own_bytes;  /* what the file occupies now; it is overwritten, so they are there for it again */
    uint64_t free_bytes; /* left on the file system beside it */
    uint64_t max_bytes;  /* the largest file that the file system can hold */
    uint32_t unit_bytes; /* in which the file system hands out room */
};

/* Looks at the place that `name` is in the settings, which storage_find() found to be `storage`, no block
 * device. `any_folder`: what it is mounted from does not matter, as with the `file` backend, for which no
 * loader reads it. `root` is put before every path ("" except in tests). */
void file_place_look(const char *root, const char *name, const struct storage *storage, bool any_folder,
                     struct file_place *ret_place);

/* After opening: whether the file is still the one that the name is, on the file system that was seen, and
 * nothing else's. Returns NULL, or half a sentence as in `why`, which is constant. */
const char *file_place_check_opened(const struct file_place *place, int fd);

/* Frees what it holds. */
void file_place_finish(struct file_place *place);
