/* SPDX-License-Identifier: MIT */
#include "common/publish/pack_patches.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/base/varint.h"
#include "common/image/zstd_frame.h"
#include "common/io/device.h"
#include "common/publish/in_order.h"
#include "common/publish/patch_spans.h"

enum {
    /* Makes patches 9 to 13 % smaller than level 9 does; higher levels are only slower. */
    PATCH_LEVEL = 19,
};

/* What one thread has for itself. */
struct patch_worker {
    struct zstd_packer *packer;
    uint8_t *output; /* the bytes that the patch makes */
    uint8_t *prefix; /* the spans, joined: zstd finds repetitions of their bytes */
    uint8_t *frame;
};

/* What came of one run. */
struct made_patch {
    struct patch patch; /* frame_size 0: the patch would cost more than the chunks */
    struct patch_span spans[PATCH_SPANS_MAX];
    uint8_t *frame;
};

struct patch_making {
    const struct pack_patches *settings;
    struct file_writer *writer;
    struct pack_patch_list *list;
};

static size_t number_size(uint64_t value)
{
    uint8_t data[VARINT_SIZE_MAX];

    return varint_write(data, value);
}

/* Estimates what the patch costs in the base's index, where zstd cannot shorten the hash and the spans, and
 * leaves some 4 bytes of the other numbers. */
static size_t row_cost(const struct made_patch *made)
{
    size_t size = sizeof(made->patch.spans_xxh3) + 4;

    for (uint32_t i = 0; i < made->patch.span_count; i++)
        size += number_size(made->spans[i].offset) + number_size(made->spans[i].size);
    return size;
}

/* What a device fetches for the run without a patch: the chunks that the base does not have. */
static uint64_t chunks_cost(const struct pack_patches *settings, const struct patch_run *run)
{
    uint64_t cost = 0;

    for (uint32_t i = run->first; i < run->first + run->count; i++)
        if (patch_run_needs(settings->base, settings->index, i))
            cost += settings->costs[i];
    return cost;
}

static bool read_output(const struct pack_patches *settings, const struct patch_run *run, uint8_t *output,
                        struct error *error)
{
    if (!device_read(settings->image, output, run->size, run->offset, error))
        return false;
    for (uint32_t i = 0; i < run->count; i++) {
        uint64_t offset = chunk_table_offset(settings->table, run->first + i) - run->offset;
        if (!chunk_table_proves(settings->table, run->first + i, output + offset))
            return error_set(error, ERROR_SYSTEM,
                             "%s changed while it was read; generate again when it is complete",
                             device_path(settings->image));
    }
    return true;
}

/* Compresses the run with spans of the base as a prefix. The frame gets only so much room that the patch,
 * with its row in the index, costs less than the chunks; if that is not enough, there is no patch. */
static bool make_frame(const struct pack_patches *settings, const struct patch_run *run,
                       struct patch_worker *worker, struct made_patch *made, struct error *error)
{
    struct patch *patch = &made->patch;
    size_t frame_size;

    if (!read_output(settings, run, worker->output, error))
        return false;
    patch->span_count =
        patch_spans_choose(settings->base, run, worker->output, settings->span_max, made->spans);
    for (uint32_t i = 0; i < patch->span_count; i++) {
        if (!device_read(settings->base->device, worker->prefix + patch->spans_size, made->spans[i].size,
                         made->spans[i].offset, error))
            return false;
        patch->spans_size += made->spans[i].size;
    }
    patch->spans_xxh3 = digest_xxh3(worker->prefix, patch->spans_size);

    uint64_t room = chunks_cost(settings, run), index_cost = row_cost(made);
    room = room < run->size ? room : run->size;
    if (room <= index_cost + 1)
        return true;
    int result = zstd_pack(worker->packer, worker->prefix, patch->spans_size, worker->output, run->size,
                           worker->frame, (size_t)(room - index_cost - 1), &frame_size);
    if (result == -ENOSPC)
        return true;
    if (result < 0)
        return error_set_errno(error, result, "cannot make a patch of %u bytes", run->size);
    made->frame = alloc_zeroed(frame_size);
    memcpy(made->frame, worker->frame, frame_size);
    patch->frame_size = (uint32_t)frame_size;
    return true;
}

static void drop_patch(void *result)
{
    struct made_patch *made = result;

    free(made->frame);
    free(made);
}

static void *make_patch(void *owner, void *worker, uint64_t item, struct error *error)
{
    const struct patch_making *making = owner;
    const struct patch_run *run = &making->settings->runs[item];
    struct made_patch *made = alloc_zeroed(sizeof(*made));

    made->patch.first = run->first;
    made->patch.count = run->count;
    made->patch.output_size = run->size;
    if (make_frame(making->settings, run, worker, made, error))
        return made;
    drop_patch(made);
    return NULL;
}

static void add_patch(struct pack_patch_list *list, const struct made_patch *made)
{
    struct patch *patch = &list->patches[list->patch_count++];

    *patch = made->patch;
    patch->span_first = list->span_count;
    list->spans = alloc_grow(list->spans, sizeof(*list->spans), list->span_count + patch->span_count,
                             &list->spans_room);
    memcpy(list->spans + list->span_count, made->spans, patch->span_count * sizeof(*list->spans));
    list->span_count += patch->span_count;
}

static bool take_patch(void *owner, uint64_t item, void *result, struct error *error)
{
    const struct patch_making *making = owner;
    struct made_patch *made = result;

    if (made->patch.frame_size > 0) {
        made->patch.frame_offset = file_writer_size(making->writer);
        if (!file_writer_add(making->writer, made->frame, made->patch.frame_size, error))
            return false;
        add_patch(making->list, made);
    }
    making->settings->progress(making->settings->owner, made->patch.output_size);
    return true;
}

static void worker_free(void *data)
{
    struct patch_worker *worker = data;

    if (!worker)
        return;
    zstd_packer_free(worker->packer);
    free(worker->output);
    free(worker->prefix);
    free(worker->frame);
    free(worker);
}

static void *worker_new(void *owner)
{
    const struct patch_making *making = owner;
    struct patch_worker *worker = alloc_zeroed(sizeof(*worker));

    worker->packer = zstd_packer_new(PATCH_LEVEL);
    worker->output = alloc_zeroed(making->settings->output_max);
    worker->prefix = alloc_zeroed(making->settings->span_max);
    worker->frame = alloc_zeroed(making->settings->output_max);
    if (worker->packer)
        return worker;
    worker_free(worker);
    return NULL;
}

bool pack_patches_write(const struct pack_patches *settings, struct file_writer *writer,
                        struct pack_patch_list *ret_list, struct error *error)
{
    struct patch_making making = {.settings = settings, .writer = writer, .list = ret_list};
    struct in_order_settings in_order = {.run = make_patch,
                                         .take = take_patch,
                                         .drop = drop_patch,
                                         .worker_new = worker_new,
                                         .worker_free = worker_free,
                                         .owner = &making};

    ret_list->patches = alloc_array(settings->run_count, sizeof(*ret_list->patches));
    return in_order_run(&in_order, settings->run_count, error);
}

void pack_patch_list_finish(struct pack_patch_list *list)
{
    free(list->patches);
    free(list->spans);
}
