/* SPDX-License-Identifier: MIT */
/*
 * What a publisher could do so that updates of an image get smaller: rules over what was measured and over
 * what the images' superblocks say. A rule speaks only where the figures show what it is about. Pure; any
 * thread.
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

/* What the rules look at; sizes in bytes. */
struct diff_facts {
    struct superblock new_superblock, old_superblock;
    struct inode_times inode_times;
    uint64_t new_size;
    uint64_t fate_bytes[DIFF_FATES]; /* of NEW, content-defined chunks; patched ones count as DIFF_FATE_FETCH
                                        too */
    uint64_t fetched_packed;         /* what the chunks that are fetched come to, compressed each by itself */
};

/* Fills `ret_advice` in the order of weight; returns how many pieces there are. */
size_t diff_advise(const struct diff_facts *facts, struct diff_advice ret_advice[DIFF_ADVICE_MAX]);
