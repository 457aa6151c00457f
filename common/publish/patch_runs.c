/* SPDX-License-Identifier: MIT */
#include "common/publish/patch_runs.h"

#include "common/base/alloc.h"

struct run_list {
    const struct chunk_table *table;
    const struct chunk_index *index;
    const struct base_image *base;
    struct patch_run *items;
    uint32_t count;
    size_t room;
};

bool patch_run_needs(const struct base_image *base, const struct chunk_index *index, uint32_t chunk)
{
    return base->held[chunk] == BASE_IMAGE_NONE && chunk_index_first_alike(index, chunk) == chunk;
}

/* Fills in the neighbours of the run. */
static void find_neighbours(const struct run_list *list, struct patch_run *run)
{
    const struct chunk_table *table = list->table;
    const struct base_image *base = list->base;
    uint32_t before = run->first, after = run->first + run->count;

    while (before > 0 && base->held[before - 1] == BASE_IMAGE_NONE)
        before--;
    if (before > 0) {
        const struct base_chunk *chunk = &base->chunks[base->held[before - 1]];
        run->has_before = true;
        run->before_end = chunk->offset + chunk->size;
        run->before_distance = run->offset - chunk_table_offset(table, before);
    }
    while (after < chunk_table_count(table) && base->held[after] == BASE_IMAGE_NONE)
        after++;
    if (after < chunk_table_count(table)) {
        run->has_after = true;
        run->after_begin = base->chunks[base->held[after]].offset;
        run->after_distance = chunk_table_offset(table, after) - run->offset - run->size;
    }
}

static void add_run(struct run_list *list, uint32_t first, uint32_t end)
{
    const struct chunk_table *table = list->table;

    list->items = alloc_grow(list->items, sizeof(*list->items), list->count + 1, &list->room);
    struct patch_run *run = &list->items[list->count++];
    *run =
        (struct patch_run){.first = first, .count = end - first, .offset = chunk_table_offset(table, first)};
    run->size = (uint32_t)(chunk_table_offset(table, end) - run->offset);
    find_neighbours(list, run);
}

uint32_t patch_runs_find(const struct chunk_table *table, const struct chunk_index *index,
                         const struct base_image *base, uint32_t output_max, struct patch_run **ret_runs)
{
    struct run_list list = {.table = table, .index = index, .base = base};
    uint32_t count = chunk_table_count(table), first = 0, end = 0; /* the run under way is [first, end) */

    for (uint32_t i = 0; i < count; i++) {
        if (!patch_run_needs(base, index, i))
            continue;
        uint64_t gap = chunk_table_offset(table, i) - chunk_table_offset(table, end);
        uint64_t size = chunk_table_offset(table, i + 1) - chunk_table_offset(table, first);
        if (end > first && (gap > PATCH_RUN_GAP_MAX || size > output_max)) {
            add_run(&list, first, end);
            first = i;
        } else if (end == first) {
            first = i;
        }
        end = i + 1;
    }
    if (end > first)
        add_run(&list, first, end);
    *ret_runs = list.items;
    return list.count;
}
