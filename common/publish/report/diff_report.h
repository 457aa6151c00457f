/* SPDX-License-Identifier: MIT */
/*
 * Finds out what a publisher may want to know before publishing an update from OLD to NEW: where devices get
 * each part of NEW from, what the update costs in several ways of sending it, and how the images could be
 * made better. For that NEW is published in a temporary folder, with a pack and with patches against OLD, so
 * that those costs are exactly what devices would fetch. Blocks about as long as `generate --pack --base`
 * does, and works on all processors: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/publish/diff.h"
#include "common/publish/generate_parts.h"
#include "common/publish/report/diff_advice.h"

/* Ways to send an update. */
enum diff_way {
    DIFF_WAY_WHOLE,           /* all of NEW */
    DIFF_WAY_WHOLE_PACKED,    /* all of NEW, compressed as one file */
    DIFF_WAY_FIXED,           /* fixed chunks at the same offset, as the ancestor does */
    DIFF_WAY_BLOCKS,          /* blocks of 4 KiB that OLD may have at any multiple of 4 KiB */
    DIFF_WAY_CONTENT_DEFINED, /* the table of chunks, and chunks from the image */
    DIFF_WAY_PACK,            /* the table of chunks, and chunks from the pack */
    DIFF_WAY_PATCHES,         /* patches against OLD, and chunks from the pack that no patch makes */
};

enum { DIFF_WAYS = DIFF_WAY_PATCHES + 1 };

/* What a device fetches. */
struct diff_cost {
    uint64_t list_bytes; /* of lists by which it knows what to fetch: manifest, table, index, hashes */
    uint64_t data_bytes; /* of the image's contents */
    bool estimated;      /* from samples */
};

struct diff_report_settings {
    struct diff_settings diff;  /* its `progress` is called for all of the work */
    const char *scratch_folder; /* where NEW is published; must have room for the pack */
    /* Of the main image of a set, its parts, which were reported on before, in the same folder. */
    const struct generate_part *parts;
    uint32_t part_count;
};

struct diff_report {
    struct diff_result diff;
    struct diff_facts facts;
    struct diff_cost costs[DIFF_WAYS];
    uint32_t patch_count;
    struct diff_advice advice[DIFF_ADVICE_MAX];
    size_t advice_count;
};

/* Makes the report; after a success the caller calls diff_report_finish(). In diff.chunk_list and `facts`,
 * chunks that patches make are DIFF_FATE_PATCH; the sums in `diff` count them as missing. A link of NEW's
 * name and the manifest beside it stay in the scratch folder. */
bool diff_report_make(const struct diff_report_settings *settings, struct diff_report *ret_report,
                      struct error *error);

/* Adds the figures of the report on another image, as for those of a set: sizes, fates, costs and patches. */
void diff_report_add(struct diff_report *sum, const struct diff_report *report);

/* Frees what the report holds. */
void diff_report_finish(struct diff_report *report);

/* The way's name for programs: "whole", "fixed-chunks", ... */
const char *diff_way_name(enum diff_way way);

/* The fate's name for programs: "keep", "copy", "patch" or "fetch". */
const char *diff_fate_name(enum diff_fate fate);
