/* SPDX-License-Identifier: MIT */
/*
 * Decides for every chunk of the image, before the first byte of it is fetched: keep it where it is, copy it
 * from a seed or from the target's own content, make it by a patch from a source's bytes, or fetch it. The
 * sums are exact to the byte. A plan is a list of runs (neighbouring chunks that are made in one go), with
 * the order in which moving within the target is safe, and a list of batches (what one request fetches).
 * Pure: a plan is made from what the scan found. Making it takes time in proportion to the number of chunks,
 * so pool threads only.
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
    /* ... and what this very update has already written to the target (for a chunk that occurs twice). */
    PLAN_SOURCE_WRITTEN = 254,
    PLAN_SOURCE_NONE = 255,
    /* A gap of at most so many bytes between two frames is fetched along with them: the header of another
     * request is about as large, and it takes a round trip. */
    PLAN_GAP_MAX = 512,
    /* Bytes of the image that a batch of several runs makes at most: small patches may make much, and no
     * progress is reported until the batch is written. A slow card takes some seconds for this. */
    PLAN_BATCH_OUTPUT_MAX = 16 * 1024 * 1024,
};

/* Where the content of a class of equal chunks was found; offset in bytes. */
struct plan_place {
    uint64_t source : 8;
    uint64_t offset : 56;
};

/* Neighbouring chunks that are made in one go: read or fetched together, checked, written together. A patch
 * may also make chunks that are kept; those are not written. */
struct plan_run {
    enum plan_kind kind;
    uint32_t source;        /* PLAN_KIND_COPY, PLAN_KIND_PATCH */
    uint32_t first, count;  /* chunks */
    uint32_t size;          /* bytes of the image; at most plan_input::run_size_max, except for patches */
    uint32_t patch;         /* PLAN_KIND_PATCH: its number in the list */
    uint32_t batch;         /* PLAN_KIND_PATCH, PLAN_KIND_FETCH: the batch that fetches it */
    uint32_t fetch_size;    /* PLAN_KIND_PATCH, PLAN_KIND_FETCH: its bytes in the pack or the image */
    uint64_t source_offset; /* PLAN_KIND_COPY: in the source; else in the pack or the image */
};

/* What one request fetches: runs that lie side by side in the pack or the image, or nearly so. It starts when
 * none of its runs waits for another run any more. */
struct plan_batch {
    bool from_pack;                /* else from the image */
    uint64_t offset;               /* in the pack or the image, bytes */
    uint32_t size;                 /* bytes */
    uint32_t run_start, run_count; /* see plan_batch_runs() */
};

/* Sums, for people and for the API. */
struct plan_totals {
    uint64_t image_bytes;
    uint64_t chunks_kept, chunks_copied, chunks_patched, chunks_fetched;
    /* Of the image; the sum is image_bytes. */
    uint64_t bytes_kept, bytes_copied, bytes_patched, bytes_fetched;
    /* over the wire */
    uint64_t chunk_bytes;     /* for the chunks that are fetched: they themselves, or their frames */
    uint64_t patch_bytes;     /* frames of patches */
    uint64_t gap_bytes;       /* gaps between frames, fetched with them */
    uint64_t table_bytes;     /* of IMAGE.chunks, as much as had to be fetched to plan */
    uint64_t section_bytes;   /* of the pack's index and frames, as much as had to be fetched to plan */
    uint64_t manifest_bytes;  /* of IMAGE.json, and of its signature if there are keys */
    uint64_t requests;        /* ranges of the image and the pack, batch by batch */
    uint64_t requests_before; /* those made in order to plan, without the manifest's */
    /* Runs fetched because moves within the target would overwrite each other's source. */
    uint64_t cycles_broken;
};

struct plan_input {
    const struct chunk_table *table;
    const struct chunk_index *index;
    const bool *kept;                /* of each chunk: it stands in the target where it belongs */
    const struct plan_place *places; /* of each class, by its first chunk; PLAN_SOURCE_NONE where not found */
    uint32_t run_size_max;           /* bytes; at least the largest chunk */
    /* Of each chunk: it must not be copied, because that was tried and gave other bytes. NULL: none. */
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

/* The sums. What was fetched in order to plan counts 0 until plan_set_overhead(). */
const struct plan_totals *plan_totals(const struct plan *plan);

/* What the clone fetched before it could plan. */
struct plan_overhead {
    uint64_t table_bytes, section_bytes, manifest_bytes;
    uint64_t requests; /* without the manifest's */
};

void plan_set_overhead(struct plan *plan, const struct plan_overhead *overhead);

/* All bytes over the wire, without HTTP headers and the manifest. */
uint64_t plan_download_bytes(const struct plan_totals *totals);

/* All runs in image order. */
const struct plan_run *plan_runs(const struct plan *plan, uint32_t *ret_count);

/* The runs (by their number) that must not start before run `run` is written. */
const uint32_t *plan_waiting_for(const struct plan *plan, uint32_t run, uint32_t *ret_count);

/* All batches, as they lie in the image and then in the pack. */
const struct plan_batch *plan_batches(const struct plan *plan, uint32_t *ret_count);

/* The runs (by their number) of a batch, run_count of them, as they lie in the image or the pack. */
const uint32_t *plan_batch_runs(const struct plan *plan, const struct plan_batch *batch);
