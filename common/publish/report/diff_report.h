/* SPDX-License-Identifier: MIT */
/*
 * All that a publisher may want to know before an update from OLD to NEW is published: what becomes of each
 * part of NEW, what the update costs in this way of sending it and in others, and what could be better about
 * the images. NEW is published for the occasion, with a pack and with patches against OLD, in a temporary
 * folder that is removed again, so that those figures are what devices will pay. Blocks, on all processors,
 * about as long as generate --pack --base does: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/publish/diff.h"
#include "common/publish/report/diff_advice.h"

/* Ways to send an update. */
enum diff_way {
    DIFF_WAY_WHOLE,           /* all of NEW */
    DIFF_WAY_WHOLE_PACKED,    /* all of it, compressed as one file */
    DIFF_WAY_FIXED,           /* fixed chunks at the same offset, as the ancestor does */
    DIFF_WAY_BLOCKS,          /* blocks of 4 KiB found at any multiple of 4 KiB */
    DIFF_WAY_CONTENT_DEFINED, /* the table of chunks, and chunks from the image */
    DIFF_WAY_PACK,            /* the same, chunks from the pack */
    DIFF_WAY_PATCHES,         /* patches against OLD, and from the pack what they do not make */
};

enum { DIFF_WAYS = DIFF_WAY_PATCHES + 1 };

struct diff_cost {
    uint64_t list_bytes; /* what says what there is: manifest, table, index, lists of hashes */
    uint64_t data_bytes; /* what is fetched for it */
    bool estimated;      /* from samples */
};

struct diff_report_settings {
    struct diff_settings diff;  /* its progress is called for everything */
    const char *scratch_folder; /* where to publish; as large as the pack will be */
};

struct diff_report {
    struct diff_result diff;
    struct diff_facts facts;
    struct diff_cost costs[DIFF_WAYS];
    uint32_t patch_count;
    struct diff_advice advice[DIFF_ADVICE_MAX];
    size_t advice_count;
};

/* Makes the report, which the caller finishes. In diff.chunk_list and facts, chunks that patches make are
 * DIFF_FATE_PATCH; diff's own sums count them among the missing ones. */
bool diff_report_make(const struct diff_report_settings *settings, struct diff_report *ret_report,
                      struct error *error);

/* Frees what the report holds. */
void diff_report_finish(struct diff_report *report);

/* "whole", "fixed", "patches", ...: for programs. */
const char *diff_way_name(enum diff_way way);

/* "keep", "copy", "patch" or "fetch". */
const char *diff_fate_name(enum diff_fate fate);
