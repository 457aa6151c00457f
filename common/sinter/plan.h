/*
 * What becomes of every chunk of the image, decided before the first byte is fetched: keep it where it is,
 * copy it from a seed or from the target's own content, or fetch it. Exact to the byte. A plan is a list of
 * runs, each of neighbouring chunks that are made in one go, with the order in which moving within the target
 * is safe. Pure: a plan is made from what the scan found; making it takes time in proportion to the chunks,
 * so pool threads only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/image/chunk_table.h"
#include "common/sinter/chunk_index.h"

enum plan_kind {
    PLAN_KIND_COPY,  /* from `source` at `source_offset` */
    PLAN_KIND_FETCH, /* from the server */
};

enum {
    /* Sources are numbered: the target's content as the scan found it, then the seeds in order ... */
    PLAN_SOURCE_TARGET = 0,
    PLAN_SOURCE_SEED_FIRST = 1,
    PLAN_SOURCE_SEED_LAST = 250,
    /* ... and what this very run of updating has written to the target before (a chunk that occurs twice). */
    PLAN_SOURCE_WRITTEN = 254,
    PLAN_SOURCE_NONE = 255,
};

/* Where the content of a class of like chunks was found; offset in bytes. */
struct plan_place {
    uint64_t source : 8;
    uint64_t offset : 56;
};

/* Neighbouring chunks that are made in one go: read or fetched together, proved, written together. */
struct plan_run {
    enum plan_kind kind;
    uint32_t source;       /* PLAN_KIND_COPY */
    uint32_t first, count; /* chunks */
    uint32_t size;         /* bytes, at most the run_size_max the plan was made with */
    uint32_t blockers; /* runs that must be written before this one may start; counted down by the transfer */
    uint64_t source_offset; /* PLAN_KIND_COPY */
};

/* Sums, for people and for the API. */
struct plan_totals {
    uint64_t image_bytes;
    uint64_t chunks_kept, chunks_copied, chunks_fetched;
    uint64_t bytes_kept, bytes_copied, bytes_fetched;
    uint64_t table_bytes;    /* of IMAGE.chunks, if it had to be fetched */
    uint64_t manifest_bytes; /* of IMAGE.json */
    uint64_t requests;       /* ranges of the image */
    uint64_t
        cycles_broken; /* runs fetched because moves within the target would overwrite each other's source */
};

struct plan_input {
    const struct chunk_table *table;
    const struct chunk_index *index;
    const bool *kept;                /* of each chunk: it stands in the target where it belongs */
    const struct plan_place *places; /* of each class, by its first chunk; PLAN_SOURCE_NONE where not found */
    uint32_t run_size_max;           /* bytes; at least the largest chunk */
};

struct plan;

/* Makes the plan; only `table` must outlive it. */
struct plan *plan_new(const struct plan_input *input);

/* Frees; NULL is fine. Returns NULL. */
struct plan *plan_free(struct plan *plan);

/* The sums; table_bytes and manifest_bytes are 0 until plan_set_overhead(). */
const struct plan_totals *plan_totals(const struct plan *plan);

/* Adds what the clone fetched besides the image, in bytes. */
void plan_set_overhead(struct plan *plan, uint64_t table_bytes, uint64_t manifest_bytes);

/* All runs in image order; the transfer changes them as it goes. */
struct plan_run *plan_runs(struct plan *plan, uint32_t *ret_count);

/* The runs (by their number) that wait for run `run`. */
const uint32_t *plan_waiting_for(const struct plan *plan, uint32_t run, uint32_t *ret_count);
