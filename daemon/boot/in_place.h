/* SPDX-License-Identifier: MIT */
/*
 * A small file that a boot loader reads, changed by overwriting one sector of it in place at the same
 * length: no truncation, no rename, no second file, so neither the FAT nor a folder is touched and a power
 * cut leaves the old bytes or the new ones. (On Linux's vfat, replacing such a file by rename lost it in a
 * quarter of all crash states, and truncating it first can leave an empty file to the loader.) What was
 * written is read back past the page cache. May block on the medium: pool threads, or before the loop
 * runs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum {
    IN_PLACE_SECTOR = 512,   /* bytes: what a medium writes whole or not at all */
    IN_PLACE_SIZE_MAX = 4096 /* bytes: what can be read back in one aligned read */
};

struct in_place {
    const char *path; /* the caller's */
    int fd;
    size_t size;
    char data[IN_PLACE_SIZE_MAX + 1]; /* the file's text, zero-terminated; holds no other zero bytes */
};

#define CLEANUP_IN_PLACE __attribute__((cleanup(in_place_close)))

/* A value for CLEANUP_IN_PLACE before in_place_open(). */
#define IN_PLACE_CLOSED                                                                                      \
    {                                                                                                        \
        .fd = -1                                                                                             \
    }

/* Opens and reads `path`, a regular file of at most `size_max` bytes (up to IN_PLACE_SIZE_MAX) without zero
 * bytes, which are refused; `mend` is what to do with such a file, a clause. `path` stays the caller's and
 * has to outlive `file`. */
bool in_place_open(struct in_place *file, const char *path, size_t size_max, const char *mend, bool writable,
                   struct error *error);

void in_place_close(struct in_place *file);

/* Makes the file hold `data` (of file->size bytes): writes the one sector that differs, syncs, reads back.
 * Refused if more than one sector differs, because a power cut could leave half of that. If none differs,
 * syncs and reads back all the same: an earlier write may have failed and left the data in the page cache
 * only. */
bool in_place_write(struct in_place *file, const char *data, struct error *error);

/* Makes the file longer, up to one sector, or to more if it is empty. `data` (of `size` bytes) has to mean
 * the same to the loader as the old text, even if cut anywhere behind the old length, as a power cut may
 * leave it. */
bool in_place_grow(struct in_place *file, const char *data, size_t size, struct error *error);
