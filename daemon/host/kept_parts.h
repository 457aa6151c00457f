/* SPDX-License-Identifier: MIT */
/*
 * The manifests of a set's parts as files in the state folder: part-NAME.json, or part-NAME.a.json and
 * part-NAME.b.json where each slot has an image of its own. A name of a part has no dot and no slash, so no
 * two of them meet, and none leads elsewhere. Blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/image/manifest_parts.h"

/* The bytes of one part's manifest. */
struct kept_part {
    char name[MANIFEST_PART_NAME_MAX + 1];
    enum manifest_part_slot slot;
    char *text;
    size_t size;
};

struct kept_parts {
    struct kept_part list[2 * MANIFEST_PARTS_MAX];
    unsigned count;
};

/* Adds a copy of a manifest's bytes. */
void kept_parts_add(struct kept_parts *parts, const char *name, enum manifest_part_slot slot,
                    const char *text, size_t size);

/* Frees the bytes and empties the list. */
void kept_parts_finish(struct kept_parts *parts);

/* Writes the files that do not hold these bytes already; each is replaced as a whole. */
bool kept_parts_write(const struct kept_parts *parts, const char *folder, struct error *error);

/* Removes the files of parts that are not in the list; one that cannot be removed only takes room. */
void kept_parts_remove_others(const struct kept_parts *parts, const char *folder);

/* Reads the file of one part; the caller frees the text, which has a zero behind it. */
bool kept_parts_read(const char *folder, const char *name, enum manifest_part_slot slot, char **ret_text,
                     size_t *ret_size, struct error *error);
