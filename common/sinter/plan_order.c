/* SPDX-License-Identifier: MIT */
#include "common/sinter/plan_order.h"

#include <stdlib.h>

#include "common/base/alloc.h"

enum {
    /* How many edges patches may make. A pack can be made so that every patch waits for every other run; this
     * many edges take some 12 MiB. Real packs make a tenth at most. Copies do not count, as each makes only
     * two or three. */
    PATCH_EDGES_MAX = 1024 * 1024,
};

/* Run `from` must be written before run `to` may start. Used while edges are being found. */
struct edge {
    uint32_t from, to;
};

struct edge_list {
    struct edge *edges;
    size_t count, room;
};

static void edge_list_add(struct edge_list *list, uint32_t from, uint32_t to)
{
    list->edges = alloc_grow(list->edges, sizeof(list->edges[0]), list->count + 1, &list->room);
    list->edges[list->count++] = (struct edge){from, to};
}

/* What the edges are found among. */
struct order_view {
    const struct chunk_table *table;
    const struct plan_run *runs;
    uint32_t run_count;
    struct edge_list list;
};

/* The first run (in image order) whose place in the image ends after `offset`. */
static uint32_t find_run(const struct order_view *view, uint64_t offset)
{
    uint32_t low = 0, high = view->run_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk_table_offset(view->table, view->runs[middle].first) + view->runs[middle].size > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Run `r` reads these bytes of the target: old content, which must be read before others overwrite it, or
 * content written earlier, which must be there first. A run that overwrites its own source needs no edge: it
 * is read whole before it is written. */
static void add_reading(struct order_view *view, uint32_t r, uint64_t offset, uint64_t size)
{
    for (uint32_t w = find_run(view, offset); w < view->run_count; w++) {
        if (chunk_table_offset(view->table, view->runs[w].first) >= offset + size)
            break;
        if (w == r)
            continue;
        if (view->runs[r].source == PLAN_SOURCE_TARGET)
            edge_list_add(&view->list, r, w);
        else
            edge_list_add(&view->list, w, r);
    }
}

/* False if patches make too many edges. */
static bool find_edges(struct order_view *view, const struct patch_list *patches)
{
    size_t of_patches = 0;

    for (uint32_t r = 0; r < view->run_count && of_patches <= PATCH_EDGES_MAX; r++) {
        const struct plan_run *run = &view->runs[r];
        if (run->source != PLAN_SOURCE_TARGET && run->source != PLAN_SOURCE_WRITTEN)
            continue;
        switch (run->kind) {
        case PLAN_KIND_COPY:
            add_reading(view, r, run->source_offset, run->size);
            break;
        case PLAN_KIND_PATCH: {
            const struct patch *patch = patch_list_at(patches, run->patch);
            const struct patch_span *spans = patch_list_spans(patches, patch);
            size_t before = view->list.count;
            for (uint32_t i = 0; i < patch->span_count; i++)
                add_reading(view, r, spans[i].offset, spans[i].size);
            of_patches += view->list.count - before;
            break;
        }
        case PLAN_KIND_FETCH:
            break;
        }
    }
    return of_patches <= PATCH_EDGES_MAX;
}

static int edge_compare(const void *left, const void *right)
{
    const struct edge *a = left, *b = right;

    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    return a->to < b->to ? -1 : a->to > b->to;
}

/* Stores each pair once, however many spans made it. */
static void store_edges(struct plan_order *order, uint32_t run_count, struct edge_list *list)
{
    size_t kept = 0;

    if (list->count)
        qsort(list->edges, list->count, sizeof(list->edges[0]), edge_compare);
    order->edges = alloc_array(list->count, sizeof(uint32_t));
    order->starts = alloc_array((size_t)run_count + 1, sizeof(uint32_t));
    for (size_t e = 0, r = 0; r <= run_count; r++) {
        order->starts[r] = (uint32_t)kept;
        for (; e < list->count && list->edges[e].from == r; e++) {
            uint32_t to = list->edges[e].to;
            if (kept > order->starts[r] && order->edges[kept - 1] == to)
                continue;
            order->edges[kept++] = to;
        }
    }
}

bool plan_order_init(struct plan_order *order, const struct plan_input *input, const struct plan_run *runs,
                     uint32_t run_count)
{
    struct order_view view = {.table = input->table, .runs = runs, .run_count = run_count};
    bool ok = find_edges(&view, input->patches);

    if (ok)
        store_edges(order, run_count, &view.list);
    free(view.list.edges);
    return ok;
}

void plan_order_finish(struct plan_order *order)
{
    free(order->edges);
    free(order->starts);
    *order = (struct plan_order){0};
}

enum {
    /* How far back along a circle its smallest run is looked for, so that the time stays linear. */
    CYCLE_LOOK_BACK = 64,
};

enum walk_mark {
    WALK_MARK_NEW,
    WALK_MARK_ON_PATH,
    WALK_MARK_CLEAR, /* on no circle: all that must come after it was walked */
};

/* A walk from run to run along the edges, to find circles. Only runs that read the target's old content can
 * be part of one: only copies of what was written wait for other runs, and nothing waits for those copies. */
struct walk {
    const struct plan_run *runs;
    uint8_t *marks;      /* enum walk_mark of each run */
    uint32_t *next_edge; /* of each run: its first edge that was not yet followed to the end */
    uint32_t *path;
    uint32_t depth;
};

static void walk_enter(struct walk *walk, uint32_t r)
{
    walk->marks[r] = WALK_MARK_ON_PATH;
    walk->path[walk->depth++] = r;
}

/* The path's last run must come before `again`, which is on the path, too: a circle. Takes the smallest run
 * of the circle out of the walk, as it is the cheapest to fetch, and goes back to the run before it. What was
 * marked clear stays so. Returns the run. */
static uint32_t walk_close_circle(struct walk *walk, uint32_t again)
{
    uint32_t smallest = walk->depth - 1;

    for (uint32_t i = walk->depth; i-- > 0 && walk->depth - i <= CYCLE_LOOK_BACK;) {
        if (walk->runs[walk->path[i]].size < walk->runs[walk->path[smallest]].size)
            smallest = i;
        if (walk->path[i] == again)
            break;
    }
    while (walk->depth > smallest)
        walk->marks[walk->path[--walk->depth]] = WALK_MARK_NEW;
    walk->marks[walk->path[smallest]] = WALK_MARK_CLEAR;
    return walk->path[smallest];
}

/* A walk in depth, without recursion, as a circle may be as long as the plan. A run taken out of a circle
 * counts as clear, so the walk goes on as if it were fetched; the runs behind it on the path are walked
 * again. */
uint32_t plan_order_break_cycles(const struct plan_order *order, const struct plan_run *runs,
                                 uint32_t run_count, bool *ret_broken)
{
    struct walk walk = {
        .runs = runs,
        .marks = alloc_array(run_count, sizeof(uint8_t)),
        .next_edge = alloc_array(run_count, sizeof(uint32_t)),
        .path = alloc_array(run_count, sizeof(uint32_t)),
    };
    uint32_t broken = 0;

    for (uint32_t r = 0; r < run_count; r++) {
        walk.next_edge[r] = order->starts[r];
        if (runs[r].source != PLAN_SOURCE_TARGET)
            walk.marks[r] = WALK_MARK_CLEAR;
    }
    for (uint32_t start = 0; start < run_count; start++) {
        if (walk.marks[start] == WALK_MARK_NEW)
            walk_enter(&walk, start);
        while (walk.depth > 0) {
            uint32_t r = walk.path[walk.depth - 1];
            if (walk.next_edge[r] == order->starts[r + 1]) {
                walk.marks[r] = WALK_MARK_CLEAR;
                walk.depth--;
                continue;
            }
            uint32_t to = order->edges[walk.next_edge[r]];
            if (walk.marks[to] == WALK_MARK_ON_PATH) {
                ret_broken[walk_close_circle(&walk, to)] = true;
                broken++;
            } else if (walk.marks[to] == WALK_MARK_NEW) {
                walk_enter(&walk, to);
            } else {
                walk.next_edge[r]++;
            }
        }
    }
    free(walk.marks);
    free(walk.next_edge);
    free(walk.path);
    return broken;
}
