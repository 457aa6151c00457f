/* SPDX-License-Identifier: MIT */
/*
 * What becomes of every chunk of the image, decided before the first byte is fetched: keep it where it is,
 * copy it from a seed or from the target's own content, make it by a patch from a seed's bytes, or fetch it.
 * Exact to the byte. A plan is a list of runs, each of neighbouring chunks that are made in one go, with the
 * order in which moving within the target is safe; and a list of batches, each of what one request fetches.
 * Pure: a plan is made from what the scan found; making it takes time in proportion to the chunks, so pool
 * threads only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/image/chunk_table.h"
#include "common/image/frame_index.h"
#include "common/image/patch_list.h"
#include "common/sinter/chunk_index.h"

enum plan_kind {
    PLAN_KIND_COPY,  /* from `source` at `source_offset` */
    PLAN_KIND_PATCH, /* a patch from the pack, with bytes of `source` */
    PLAN_KIND_FETCH, /* the chunks themselves, from the image or the pack */
};

enum {
    /* Sources are numbered: the target's content as the scan found it, then the seeds in order ... */
    PLAN_SOURCE_TARGET = 0,
    PLAN_SOURCE_SEED_FIRST = 1,
    PLAN_SOURCE_SEED_LAST = 250,
    /* ... and what this very run of updating has written to the target before (a chunk that occurs twice). */
    PLAN_SOURCE_WRITTEN = 254,
    PLAN_SOURCE_NONE = 255,
    /* What lies between two frames is fetched with them where it is no more than this: a request of its own
       has a header of this order, and takes a round trip. */
    PLAN_GAP_MAX = 512,
    /* Bytes of the image that one batch makes at most, but for a single run: small patches may make much, and
       what is under way tells of nothing until it is written. A slow card takes some seconds for this. */
    PLAN_BATCH_OUTPUT_MAX = 16 * 1024 * 1024,
};

/* Where the content of a class of like chunks was found; offset in bytes. */
struct plan_place {
    uint64_t source : 8;
    uint64_t offset : 56;
};

/* Neighbouring chunks that are made in one go: read or fetched together, proved, written together. Those of
 * them that are kept (within a patch) are not written. */
struct plan_run {
    enum plan_kind kind;
    uint32_t source;       /* PLAN_KIND_COPY, PLAN_KIND_PATCH */
    uint32_t first, count; /* chunks */
    uint32_t size;  /* bytes of the image; at most the run_size_max the plan was made with, but for patches */
    uint32_t patch; /* PLAN_KIND_PATCH: its number in the list */
    uint32_t batch; /* PLAN_KIND_PATCH, PLAN_KIND_FETCH: which fetches it */
    uint32_t fetch_size;    /* likewise: bytes of it in the pack or the image */
    uint64_t source_offset; /* PLAN_KIND_COPY: in the source; else in the pack or the image */
};

/* What one request fetches: runs that lie side by side, or nearly so. It waits until none of them waits for
 * another run. */
struct plan_batch {
    bool from_pack;                /* else from the image */
    uint64_t offset;               /* there, bytes */
    uint32_t size;                 /* bytes */
    uint32_t run_start, run_count; /* see plan_batch_runs() */
};

/* Sums, for people and for the API. */
struct plan_totals {
    uint64_t image_bytes;
    uint64_t chunks_kept, chunks_copied, chunks_patched, chunks_fetched;
    uint64_t bytes_kept, bytes_copied, bytes_patched,
        bytes_fetched; /* of the image; the sum is image_bytes */
    /* over the wire */
    uint64_t chunk_bytes;     /* for the chunks that are fetched: they themselves, or their frames */
    uint64_t patch_bytes;     /* frames of patches */
    uint64_t gap_bytes;       /* what lies between them and is fetched with them */
    uint64_t table_bytes;     /* of IMAGE.chunks, as much as had to be fetched to plan */
    uint64_t section_bytes;   /* of what the pack says about itself, likewise */
    uint64_t manifest_bytes;  /* of IMAGE.json */
    uint64_t requests;        /* ranges of the image and the pack, batch by batch */
    uint64_t requests_before; /* those it took to plan, but for the manifest's */
    uint64_t
        cycles_broken; /* runs fetched because moves within the target would overwrite each other's source */
};

struct plan_input {
    const struct chunk_table *table;
    const struct chunk_index *index;
    const bool *kept;                /* of each chunk: it stands in the target where it belongs */
    const struct plan_place *places; /* of each class, by its first chunk; PLAN_SOURCE_NONE where not found */
    uint32_t run_size_max;           /* bytes; at least the largest chunk */
    /* Of each chunk: it must not be copied, for that was tried and gave other bytes. NULL: none. */
    const bool *never_copy;
    /* Where the pack has each chunk; NULL: chunks are fetched from the image. */
    const struct frame_index *frames;
    const struct patch_list *patches; /* NULL: none */
    /* Of each patch: which source holds the bytes it needs; PLAN_SOURCE_NONE where none does. */
    const uint8_t *patch_sources;
};

struct plan;

/* Makes the plan; only `table` must outlive it. */
struct plan *plan_new(const struct plan_input *input);

/* Frees; NULL is fine. Returns NULL. */
struct plan *plan_free(struct plan *plan);

/* The sums. Those of what was fetched to plan are 0 until plan_set_overhead(). */
const struct plan_totals *plan_totals(const struct plan *plan);

/* What the clone fetched before it could plan. */
struct plan_overhead {
    uint64_t table_bytes, section_bytes, manifest_bytes;
    uint64_t requests; /* but for the manifest's */
};

void plan_set_overhead(struct plan *plan, const struct plan_overhead *overhead);

/* All bytes over the wire (HTTP headers aside) but for the manifest's. */
uint64_t plan_download_bytes(const struct plan_totals *totals);

/* All runs in image order. */
const struct plan_run *plan_runs(const struct plan *plan, uint32_t *ret_count);

/* The runs (by their number) that must not start before run `run` is written. */
const uint32_t *plan_waiting_for(const struct plan *plan, uint32_t run, uint32_t *ret_count);

/* All batches, as they lie in the image and then in the pack. */
const struct plan_batch *plan_batches(const struct plan *plan, uint32_t *ret_count);

/* The runs (by their number) of a batch, run_count of them, as they lie in the image or the pack. */
const uint32_t *plan_batch_runs(const struct plan *plan, const struct plan_batch *batch);
