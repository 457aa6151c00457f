/* SPDX-License-Identifier: MIT */
#include "common/image/patch_list.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/varint.h"

enum {
    /* The fewest bytes a patch and a span can have in the list: they limit their numbers before memory is
     * allocated. */
    PATCH_BYTES_MIN = 14,
    SPAN_BYTES_MIN = 2,
};

struct patch_list {
    struct patch *patches;
    uint32_t count;
    struct patch_span *spans;
    uint32_t span_count;
};

/* What each patch is checked against. */
struct parse_context {
    struct byte_reader reader;
    const struct chunk_table *table;
    const struct manifest_base *base;
    uint64_t pack_size;
    uint32_t next_chunk;  /* the first that no patch makes yet */
    uint64_t next_offset; /* in the pack: where the next frame lies */
};

static bool parse_spans(struct parse_context *context, struct patch_list *list, struct patch *patch,
                        uint64_t count)
{
    const struct manifest_base *base = context->base;
    uint64_t total = 0;

    if (count < 1 || count > PATCH_SPANS_MAX)
        return false;
    patch->span_first = list->span_count;
    patch->span_count = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t offset = byte_reader_varint(&context->reader), size = byte_reader_varint(&context->reader);
        if (context->reader.failed || size < 1 || offset > base->size || size > base->size - offset ||
            size > base->span_max - total)
            return false;
        total += size;
        list->spans[list->span_count++] = (struct patch_span){.offset = offset, .size = (uint32_t)size};
    }
    patch->spans_size = (uint32_t)total;
    return true;
}

static bool parse_patch(struct parse_context *context, struct patch_list *list, struct patch *patch)
{
    struct byte_reader *reader = &context->reader;
    const struct chunk_table *table = context->table;
    uint32_t left = chunk_table_count(table) - context->next_chunk;
    uint64_t gap = byte_reader_varint(reader), count = byte_reader_varint(reader);
    uint64_t frame_size = byte_reader_varint(reader), spans = byte_reader_varint(reader);

    if (reader->failed || count < 1 || gap > left || count > left - gap)
        return false;
    patch->first = context->next_chunk + (uint32_t)gap;
    patch->count = (uint32_t)count;
    context->next_chunk = patch->first + patch->count;
    uint64_t output =
        chunk_table_offset(table, context->next_chunk) - chunk_table_offset(table, patch->first);
    if (output > context->base->output_max || frame_size < 1 || frame_size >= output ||
        frame_size > context->pack_size - context->next_offset)
        return false;
    patch->output_size = (uint32_t)output;
    patch->frame_size = (uint32_t)frame_size;
    patch->frame_offset = context->next_offset;
    context->next_offset += frame_size;
    if (!parse_spans(context, list, patch, spans))
        return false;
    patch->spans_xxh3 = byte_reader_fixed64(reader);
    return !reader->failed;
}

bool patch_list_parse(const uint8_t *data, size_t size, const struct chunk_table *table,
                      const struct manifest_base *base, uint64_t pack_size, struct patch_list **ret_list,
                      struct error *error)
{
    struct parse_context context = {.reader = {.data = data, .left = size},
                                    .table = table,
                                    .base = base,
                                    .pack_size = pack_size,
                                    .next_offset = base->patches_offset};
    uint64_t count = byte_reader_varint(&context.reader);

    assert(base->patches_offset <= pack_size);
    if (context.reader.failed || count > context.reader.left / PATCH_BYTES_MIN)
        return error_set(error, ERROR_FORMAT, "the pack's list of patches does not hold as many as it says");
    struct patch_list *list = alloc_zeroed(sizeof(*list));
    list->patches = calloc(count ? count : 1, sizeof(list->patches[0]));
    /* The number of spans is limited by the maximum of each patch, and by the bytes of the list. */
    size_t spans_max = context.reader.left / SPAN_BYTES_MIN;
    if (spans_max > count * PATCH_SPANS_MAX)
        spans_max = count * PATCH_SPANS_MAX;
    list->spans = calloc(spans_max ? spans_max : 1, sizeof(list->spans[0]));
    if (!list->patches || !list->spans) {
        error_set_errno(error, ENOMEM, "cannot hold %" PRIu64 " patches", count);
        goto failed;
    }
    for (; list->count < count; list->count++)
        if (!parse_patch(&context, list, &list->patches[list->count])) {
            error_set(error, ERROR_FORMAT, "patch %" PRIu32 " in the pack's list is malformed",
                      list->count + 1);
            goto failed;
        }
    if (context.reader.left > 0) {
        error_set(error, ERROR_FORMAT, "the pack's list of patches has %zu bytes after its last patch",
                  context.reader.left);
        goto failed;
    }
    *ret_list = list;
    return true;

failed:
    patch_list_free(list);
    return false;
}

struct patch_list *patch_list_free(struct patch_list *list)
{
    if (!list)
        return NULL;
    free(list->patches);
    free(list->spans);
    free(list);
    return NULL;
}

uint32_t patch_list_count(const struct patch_list *list)
{
    return list->count;
}

const struct patch *patch_list_at(const struct patch_list *list, uint32_t index)
{
    assert(index < list->count);
    return &list->patches[index];
}

const struct patch_span *patch_list_spans(const struct patch_list *list, const struct patch *patch)
{
    return &list->spans[patch->span_first];
}
