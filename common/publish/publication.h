/* SPDX-License-Identifier: MIT */
/*
 * The files of one publication, IMAGE.pack, .chunks, .json.minisig and .json: each is written whole under a
 * temporary name, and only when all are there and on the medium do they take their places, the manifest last.
 * So whatever can fail fails while nothing has changed. Blocks on the medium; one thread, but for
 * publication_abandon().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/file.h"

/* In the order in which they take their places: until the new manifest is there, the old one names a table
 * and a pack of other bytes, and its readers do without. */
enum publication_file {
    PUBLICATION_PACK,
    PUBLICATION_TABLE,
    PUBLICATION_SIGNATURE,
    PUBLICATION_MANIFEST,
};

enum { PUBLICATION_FILES = PUBLICATION_MANIFEST + 1 };

struct publication;

struct publication_settings {
    const char *image_path;
    bool with_pack, with_signature;
    /* Files that are read for it, none of which may be one of those that are written. */
    const char *const *inputs;
    uint32_t input_count;
};

/* Creates the temporary files. Refused where another publication of this image is under way (EBUSY), where
 * one of the files could not take its place, and where it would overwrite an input. */
bool publication_new(const struct publication_settings *settings, struct publication **ret_publication,
                     struct error *error);

/* Where the file's bytes go; NULL where it is not among those asked for. */
struct file_writer *publication_writer(struct publication *publication, enum publication_file file);

/* Puts everything onto the medium, and then into its place. */
bool publication_commit(struct publication *publication, struct error *error);

/* Removes the temporary files for a process that is about to end: nothing takes a place any more. From any
 * thread. False where they are just being put into their places: then that ends first, within moments. */
bool publication_abandon(struct publication *publication);

/* Removes what has not been committed; NULL is fine. Returns NULL. */
struct publication *publication_free(struct publication *publication);
