/* SPDX-License-Identifier: MIT */
/*
 * The manifest's member `moonsinter.release`: what a publisher says of a release (docs/manifest.md, 1). Never
 * blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
    MANIFEST_TEXT_MAX = 256, /* bytes of version and compatible, without the terminating zero */
    MANIFEST_PERCENT_MAX = 100,
};

/* Serials stay exact as signed 64-bit integers. */
#define MANIFEST_SERIAL_MAX ((uint64_t)INT64_MAX)

/* The longest rollout, about 136 years: up to this nothing overflows. */
#define MANIFEST_ROLLOUT_DURATION_MAX UINT64_C(0xffffffff)

/* Which share of the devices takes a release, and when; see common/image/rollout.h. */
struct manifest_rollout {
    bool present;
    bool hold;           /* no device takes it, for now */
    uint64_t start_s;    /* Unix time, 0 = not given */
    uint64_t duration_s; /* from the first device's turn to the last one's, 0 = all at once */
    unsigned percent;    /* of all devices, 0 to 100 */
};

/* What the publisher says of this release; everything is optional. Times are Unix seconds UTC, 0 = not given.
 */
struct manifest_release {
    char *version;    /* NULL = not given; utf8_is_printable() within MANIFEST_TEXT_MAX */
    char *compatible; /* NULL = any device; utf8_is_printable() within MANIFEST_TEXT_MAX */
    bool has_serial;
    uint64_t serial;
    uint64_t created;
    uint64_t expires;
    struct manifest_rollout rollout;
};

struct json_object;

/* Parses the member. The caller zeroes `release` before and finishes it in every case. */
bool manifest_release_parse(struct json_object *object, struct manifest_release *release,
                            struct error *error);

/* Makes the member (a new reference), without what is not given; NULL if nothing is given. */
struct json_object *manifest_release_format(const struct manifest_release *release);

/* Frees what the release holds. */
void manifest_release_finish(struct manifest_release *release);
