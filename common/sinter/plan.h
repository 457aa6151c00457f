/*
 * What becomes of every chunk of the image, decided before the first byte is fetched: keep it where it is, copy it
 * from a seed or from the target's own old content, or fetch it. Exact to the byte. Pure: a plan is made from what
 * the scan found, on a pool thread for large images.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/image/chunk_table.h"

struct json_object;

/* What the scan found. Source 0 is the target, 1.. are the seeds in order. */
struct plan_find {
    uint32_t chunk;
    uint32_t source;
    uint64_t offset; /* in the source, bytes */
};

enum plan_kind {
    PLAN_KIND_KEEP,  /* the target has it in place */
    PLAN_KIND_COPY,  /* from `source` at `offset` */
    PLAN_KIND_FETCH, /* from the server */
};

/* Sums, for people and for the API. */
struct plan_totals {
    uint64_t chunks_kept, chunks_copied, chunks_fetched;
    uint64_t bytes_kept, bytes_copied, bytes_fetched;
    uint64_t table_bytes;    /* of IMAGE.chunks, if it had to be fetched */
    uint64_t manifest_bytes; /* of the manifest */
    uint64_t requests;       /* ranges of the image, plus the table */
    uint64_t cycles_broken;  /* runs fetched because moving them within the target would overwrite each other */
};
