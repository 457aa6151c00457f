/* SPDX-License-Identifier: MIT */
#include "common/sinter/plan_batches.h"

#include <stdlib.h>

#include "common/base/alloc.h"

/* A run that is fetched, and where its bytes lie. */
struct fetched_run {
    uint64_t offset;
    uint32_t run;
    bool from_pack;
};

static int fetched_compare(const void *left, const void *right)
{
    const struct fetched_run *a = left, *b = right;

    if (a->from_pack != b->from_pack)
        return a->from_pack ? 1 : -1;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return a->run < b->run ? -1 : a->run > b->run;
}

/* Whether the batch may take this run, too. A run that reads the target gets a batch of its own: other runs
 * may wait for it, and in a shared batch it might, by way of them, wait for itself and never start. Only
 * copies of what was written wait for the other runs, so those can share a batch. */
static bool batch_takes(const struct plan_batch *batch, bool batch_waited_for, uint64_t output,
                        const struct plan_run *run, bool from_pack, uint32_t size_max)
{
    uint64_t end = batch->offset + batch->size;

    return !batch_waited_for && run->source != PLAN_SOURCE_TARGET && batch->from_pack && from_pack &&
           output + run->size <= PLAN_BATCH_OUTPUT_MAX && run->source_offset >= end &&
           run->source_offset - end <= PLAN_GAP_MAX &&
           run->source_offset + run->fetch_size - batch->offset <= size_max;
}

/* Sorts what is fetched by where it lies and goes through it once: a run joins the last batch if
 * batch_takes() allows it, else it opens the next one. */
void plan_batches_init(struct plan_batches *batches, const struct plan_input *input, struct plan_run *runs,
                       uint32_t run_count)
{
    struct fetched_run *fetched = alloc_array(run_count, sizeof(*fetched));
    uint32_t count = 0;
    uint64_t output = 0; /* bytes of the image that the last batch makes */
    bool waited_for = false;

    for (uint32_t r = 0; r < run_count; r++)
        if (runs[r].kind != PLAN_KIND_COPY)
            fetched[count++] =
                (struct fetched_run){.offset = runs[r].source_offset,
                                     .run = r,
                                     .from_pack = runs[r].kind == PLAN_KIND_PATCH || input->frames};
    if (count)
        qsort(fetched, count, sizeof(*fetched), fetched_compare);
    *batches = (struct plan_batches){.items = alloc_array(count, sizeof(batches->items[0])),
                                     .runs = alloc_array(count, sizeof(uint32_t))};
    for (uint32_t i = 0; i < count; i++) {
        struct plan_run *run = &runs[fetched[i].run];
        struct plan_batch *batch = batches->count ? &batches->items[batches->count - 1] : NULL;
        if (!batch ||
            !batch_takes(batch, waited_for, output, run, fetched[i].from_pack, input->run_size_max)) {
            batch = &batches->items[batches->count++];
            *batch = (struct plan_batch){
                .from_pack = fetched[i].from_pack, .offset = run->source_offset, .run_start = i};
            waited_for = run->source == PLAN_SOURCE_TARGET;
            output = 0;
        }
        output += run->size;
        batches->gap_bytes += run->source_offset - (batch->offset + batch->size);
        batch->size = (uint32_t)(run->source_offset + run->fetch_size - batch->offset);
        batch->run_count++;
        run->batch = batches->count - 1;
        batches->runs[i] = fetched[i].run;
    }
    free(fetched);
}

void plan_batches_finish(struct plan_batches *batches)
{
    free(batches->items);
    free(batches->runs);
}
