/* SPDX-License-Identifier: MIT */
/*
 * Advises a publisher on how to make updates of an image smaller, by rules about what was measured and what
 * the images' superblocks say. A rule gives advice only if the figures show its problem. Pure; any thread.
 */
#pragma once

#include <stdint.h>

#include "common/publish/diff.h"
#include "common/publish/report/inode_times.h"
#include "common/publish/report/superblock.h"

enum {
    DIFF_ADVICE_MAX = 16,        /* pieces of advice, more than there are rules */
    DIFF_ADVICE_TEXT_SIZE = 512, /* bytes, with the terminating zero */
};

struct diff_advice {
    const char *code; /* in kebab-case, for programs */
    char text[DIFF_ADVICE_TEXT_SIZE];
};

/* What the rules judge by; sizes in bytes. */
struct diff_facts {
    struct superblock new_superblock, old_superblock;
    struct inode_times inode_times;
    uint64_t new_size;
    uint64_t fate_bytes[DIFF_FATES]; /* of NEW, by what becomes of its content-defined chunks */
    uint64_t fetched_packed;         /* frames of the chunks that are fetched or patched */
};

/* Fills `ret_advice`, the most important first; returns how many pieces of advice there are. */
size_t diff_advise(const struct diff_facts *facts, struct diff_advice ret_advice[DIFF_ADVICE_MAX]);
