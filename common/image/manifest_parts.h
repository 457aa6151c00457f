/* SPDX-License-Identifier: MIT */
/*
 * The manifest's member `moonsinter.parts`: the images that belong to a release beside its main image, such
 * as a boot partition (docs/manifest.md, 1.4). A release with parts is a set. Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"

enum {
    MANIFEST_PARTS_MAX = 16,
    MANIFEST_PART_NAME_MAX = 32, /* bytes, without the terminating zero */
};

/* What the main image is called where parts are named; no part may bear it. */
#define MANIFEST_MAIN_NAME "root"

/* Where the manifest of a part's image is, and what it must be. */
struct manifest_part_file {
    char *url; /* relative to the URL of the set's manifest, or absolute; its path ends in .json */
    uint64_t size_bytes;
    uint8_t sha256[DIGEST_SHA256_SIZE];
};

struct manifest_part {
    char name[MANIFEST_PART_NAME_MAX + 1];
    bool per_slot; /* each slot has an image of its own */
    /* For slot A and for slot B; where one image serves both slots, only the first is filled in. */
    struct manifest_part_file files[2];
};

struct manifest_parts {
    struct manifest_part *list; /* in the order of the manifest; NULL if there are none */
    uint32_t count;             /* 0 = the release is one image */
};

/* Which slots an image of a part is for. */
enum manifest_part_slot {
    MANIFEST_PART_OF_BOTH,
    MANIFEST_PART_OF_A,
    MANIFEST_PART_OF_B,
};

struct json_object;

/* NULL if `name` can be the name of a part: 1 to 32 of a-z, 0-9 and "-", and not the main image's. Else why
 * not, as half a sentence that goes on after the name. */
const char *manifest_part_check_name(const char *name);

/* The part of that name; NULL if there is none. */
const struct manifest_part *manifest_parts_find(const struct manifest_parts *parts, const char *name);

/* Parses the member, an array. The caller zeroes `parts` before and finishes it in every case. */
bool manifest_parts_parse(struct json_object *array, struct manifest_parts *parts, struct error *error);

/* Makes the member (a new reference); NULL if there are no parts. */
struct json_object *manifest_parts_format(const struct manifest_parts *parts);

/* Frees what the parts hold. */
void manifest_parts_finish(struct manifest_parts *parts);
