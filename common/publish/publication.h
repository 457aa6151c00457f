/* SPDX-License-Identifier: MIT */
/*
 * The files of one publication, IMAGE.pack, .chunks, .json.minisig and .json. Each is written under a
 * temporary name. Only when all of them are complete and on the medium are they renamed, so that what can
 * fail fails while nothing has changed. Blocks on the medium; one thread, except publication_abandon().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/file.h"

/* The files in the order in which they are renamed. The manifest is the last: until it is there, devices have
 * the old one, and ignore a table and a pack that do not fit it. */
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
    bool with_pack, with_signature; /* table and manifest are always written */
    const char *const *inputs;      /* files that are read, none of which may be overwritten */
    uint32_t input_count;
};

/* Creates the temporary files. Fails if this image is being published already, if a file could not be renamed
 * to its place, and if an input would be overwritten. */
bool publication_new(const struct publication_settings *settings, struct publication **ret_publication,
                     struct error *error);

/* The writer for the bytes of a file, owned by the publication; NULL if that file is not to be written. */
struct file_writer *publication_writer(struct publication *publication, enum publication_file file);

/* Puts all files onto the medium, and then in their places. Only publication_free() may follow. */
bool publication_commit(struct publication *publication, struct error *error);

/* Removes the temporary files, for a process that is about to end; a later publication_commit() fails. Any
 * thread. False if the files are just being renamed: the caller must wait for that, which takes moments. */
bool publication_abandon(struct publication *publication);

/* Frees, and removes the temporary files that are left; NULL is fine. Returns NULL. */
struct publication *publication_free(struct publication *publication);
