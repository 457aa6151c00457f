/* SPDX-License-Identifier: MIT */
/*
 * Compares two images, so that a publisher can judge an update before it is published: by fixed chunks at the
 * same offset, as the ancestor does, and by what a device with the old image would fetch of the new one.
 * Blocks on the medium until it is done: for programs without a loop. Takes 24 bytes of memory for each chunk
 * of both images.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* What a device that holds OLD does to get a content-defined chunk of NEW. */
enum diff_fate {
    DIFF_FATE_KEEP,  /* nothing: OLD has it at the same offset */
    DIFF_FATE_COPY,  /* OLD has it elsewhere, or NEW has had it before */
    DIFF_FATE_PATCH, /* a patch against OLD makes it: found out only for a report, see diff_report.h */
    DIFF_FATE_FETCH, /* download it */
};

enum { DIFF_FATES = DIFF_FATE_FETCH + 1 };

/* A content-defined chunk. Chunks count as equal if their keys are: for an estimate that is good enough. */
struct diff_chunk {
    uint64_t key;    /* XXH3-64 */
    uint64_t offset; /* bytes */
    uint32_t size;   /* bytes */
    enum diff_fate fate;
};

struct diff_settings {
    const char *new_path; /* files or block devices */
    const char *old_path;
    uint32_t chunk_size; /* of the fixed chunks, bytes, at least 1 */
    uint32_t average;    /* of the content-defined chunks, as chunker_init() takes it */
    /* Called now and then with the bytes read so far and in all; may be NULL. */
    void (*progress)(void *owner, uint64_t done, uint64_t total);
    void *owner;
};

struct diff_result {
    uint64_t new_size; /* bytes */
    uint64_t old_size; /* bytes */
    /* Fixed chunks at the same offset, until the shorter image ends. */
    uint64_t total;
    uint64_t same;
    uint64_t same_bytes;
    /* Content-defined chunks of NEW. */
    uint64_t chunks;
    uint64_t chunks_missing;       /* that OLD does not have; equal chunks of NEW count once */
    uint64_t bytes_missing;        /* of those */
    uint64_t table_bytes;          /* of NEW's IMAGE.chunks */
    struct diff_chunk *chunk_list; /* all `chunks` of them in order */
};

/* Compares the images. After a success the caller calls diff_result_finish(). */
bool diff_files(const struct diff_settings *settings, struct diff_result *ret_result, struct error *error);

/* Adds the figures of another comparison, as for the images of a set. */
void diff_result_add(struct diff_result *sum, const struct diff_result *result);

/* Frees what the result holds. */
void diff_result_finish(struct diff_result *result);
