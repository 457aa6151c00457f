/*
 * How far two images differ, for the publisher to judge an update before it is published: by fixed chunks at
 * the same offset, as the ancestor counts, and by what a device with the old image would fetch of the new
 * one. Blocks on the medium from begin to end: for programs without a loop. Memory: some twenty bytes a
 * chunk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

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
    uint64_t table_bytes; /* of NEW's IMAGE.chunks */
};

bool diff_files(const struct diff_settings *settings, struct diff_result *ret_result, struct error *error);
