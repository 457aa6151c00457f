/* SPDX-License-Identifier: MIT */
/*
 * How far two images differ, for the publisher to judge an update before it is published: by fixed chunks at
 * the same offset, as the ancestor counts, and by what a device with the old image would fetch of the new
 * one. Blocks on the medium from begin to end: for programs without a loop. Memory: 24 bytes a chunk of
 * either.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

/* What becomes of a content-defined chunk of NEW on a device that holds OLD. */
enum diff_fate {
    DIFF_FATE_KEEP,  /* OLD has it at the same offset */
    DIFF_FATE_COPY,  /* OLD has it elsewhere, or an earlier chunk of NEW that is fetched is equal to it */
    DIFF_FATE_PATCH, /* a patch against OLD makes it; never said here, see diff_report.h */
    DIFF_FATE_FETCH,
};

enum { DIFF_FATES = DIFF_FATE_FETCH + 1 };

/* The key is not proved: for an estimate it need not be. */
struct diff_chunk {
    uint64_t key;    /* XXH3-64 */
    uint64_t offset; /* bytes */
    uint32_t size;   /* bytes */
    enum diff_fate fate;
};

struct diff_settings {
    const char *new_path; /* files or block devices */
    const char *old_path;
    uint32_t chunk_size; /* bytes, 1 or more */
    uint32_t average;    /* of the content-defined chunks, as chunker_init() takes it */
    /* Called now and then, may be NULL; bytes. */
    void (*progress)(void *owner, uint64_t done, uint64_t total);
    void *owner;
};

struct diff_result {
    uint64_t new_size; /* bytes */
    uint64_t old_size;
    /* fixed chunks at the same offset, until the shorter file ends */
    uint64_t total;
    uint64_t same;
    uint64_t same_bytes;
    /* content-defined chunks at any offset */
    uint64_t chunks;
    uint64_t chunks_missing; /* of which OLD has none; equal chunks of NEW count once */
    uint64_t bytes_missing;
    uint64_t table_bytes;          /* of NEW's IMAGE.chunks */
    struct diff_chunk *chunk_list; /* of NEW, `chunks` of them in order */
};

/* Compares. The caller finishes the result of a success. */
bool diff_files(const struct diff_settings *settings, struct diff_result *ret_result, struct error *error);

/* Frees what the result holds. */
void diff_result_finish(struct diff_result *result);
