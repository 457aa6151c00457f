#include "common/sinter/plan.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/alloc.h"

struct plan {
    struct plan_totals totals;
    struct plan_run *runs;
    uint32_t run_count;
    /* Edges, grouped by the run that comes first: edges[edge_start[r]] to edges[edge_start[r + 1] - 1] wait
     * for r. */
    uint32_t *edges;
    uint32_t *edge_start;
};

/* While edges are being found. */
struct edge {
    uint32_t from, to;
};

struct edge_list {
    struct edge *edges;
    size_t count, room;
};

static void edge_list_add(struct edge_list *list, uint32_t from, uint32_t to)
{
    if (list->count == list->room) {
        list->room = list->room ? list->room * 2 : 64;
        list->edges = reallocarray(list->edges, list->room, sizeof(list->edges[0]));
        if (!list->edges)
            abort();
    }
    list->edges[list->count++] = (struct edge){from, to};
}

/* Where chunk `chunk`, which is not kept, comes from. */
static void plan_choose(const struct plan_input *input, uint32_t chunk, struct plan_run *ret_run)
{
    uint32_t first = chunk_index_first_alike(input->index, chunk);
    const struct plan_place *place = &input->places[first];

    *ret_run = (struct plan_run){.kind = PLAN_KIND_FETCH,
                                 .source = PLAN_SOURCE_NONE,
                                 .first = chunk,
                                 .count = 1,
                                 .size = chunk_table_size(input->table, chunk)};
    if (place->source != PLAN_SOURCE_NONE) {
        ret_run->kind = PLAN_KIND_COPY;
        ret_run->source = place->source;
        ret_run->source_offset = place->offset;
    } else if (first != chunk) {
        /* Fetched once, for the first of its class, and copied from there. */
        ret_run->kind = PLAN_KIND_COPY;
        ret_run->source = PLAN_SOURCE_WRITTEN;
        ret_run->source_offset = chunk_table_offset(input->table, first);
    }
}

/* Whether `next` simply goes on where `run` ends, here and in its source. */
static bool plan_continues(const struct plan_run *run, const struct plan_run *next, uint32_t run_size_max)
{
    return run->kind == next->kind && run->source == next->source && run->first + run->count == next->first &&
           run->size + next->size <= run_size_max &&
           (run->kind == PLAN_KIND_FETCH || run->source_offset + run->size == next->source_offset);
}

static void plan_make_runs(struct plan *plan, const struct plan_input *input)
{
    uint32_t count = chunk_table_count(input->table), room = 0;

    for (uint32_t chunk = 0; chunk < count; chunk++) {
        struct plan_run next;
        if (input->kept[chunk]) {
            plan->totals.chunks_kept++;
            plan->totals.bytes_kept += chunk_table_size(input->table, chunk);
            continue;
        }
        plan_choose(input, chunk, &next);
        struct plan_run *last = plan->run_count ? &plan->runs[plan->run_count - 1] : NULL;
        if (last && plan_continues(last, &next, input->run_size_max)) {
            last->count++;
            last->size += next.size;
            continue;
        }
        if (plan->run_count == room) {
            room = room ? room * 2 : 64;
            plan->runs = reallocarray(plan->runs, room, sizeof(plan->runs[0]));
            if (!plan->runs)
                abort();
        }
        plan->runs[plan->run_count++] = next;
    }
}

/* The first run whose place in the image ends after `offset`. */
static uint32_t plan_find_run(const struct plan *plan, const struct chunk_table *table, uint64_t offset)
{
    uint32_t low = 0, high = plan->run_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk_table_offset(table, plan->runs[middle].first) + plan->runs[middle].size > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* A run that reads the target's old content comes before whatever overwrites that content; a run that copies
 * what was written before comes after it. A run that overwrites its own source needs no edge: it is read
 * whole before it is written. */
static void plan_find_edges(const struct plan *plan, const struct chunk_table *table, struct edge_list *edges)
{
    for (uint32_t r = 0; r < plan->run_count; r++) {
        const struct plan_run *run = &plan->runs[r];
        if (run->kind != PLAN_KIND_COPY ||
            (run->source != PLAN_SOURCE_TARGET && run->source != PLAN_SOURCE_WRITTEN))
            continue;
        for (uint32_t w = plan_find_run(plan, table, run->source_offset); w < plan->run_count; w++) {
            if (chunk_table_offset(table, plan->runs[w].first) >= run->source_offset + run->size)
                break;
            if (w == r)
                continue;
            if (run->source == PLAN_SOURCE_TARGET)
                edge_list_add(edges, r, w);
            else
                edge_list_add(edges, w, r);
        }
    }
}

static int edge_compare(const void *left, const void *right)
{
    const struct edge *a = left, *b = right;

    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    return a->to < b->to ? -1 : a->to > b->to;
}

static void plan_store_edges(struct plan *plan, struct edge_list *list)
{
    if (list->count)
        qsort(list->edges, list->count, sizeof(list->edges[0]), edge_compare);
    plan->edges = alloc_array(list->count, sizeof(uint32_t));
    plan->edge_start = alloc_array((size_t)plan->run_count + 1, sizeof(uint32_t));
    for (size_t e = 0, r = 0; r <= plan->run_count; r++) {
        plan->edge_start[r] = (uint32_t)e;
        for (; e < list->count && list->edges[e].from == r; e++) {
            plan->edges[e] = list->edges[e].to;
            plan->runs[list->edges[e].to].blockers++;
        }
    }
}

/* A run within a circle of moves is fetched instead: it no longer reads the target, so nobody waits for it
 * for that reason. It has no other waiters: what copies from it would have been PLAN_SOURCE_WRITTEN, and such
 * runs only follow fetched ones. */
static void plan_break_cycle(struct plan *plan, uint32_t r)
{
    plan->runs[r].kind = PLAN_KIND_FETCH;
    plan->runs[r].source = PLAN_SOURCE_NONE;
    plan->totals.cycles_broken++;
    for (uint32_t e = plan->edge_start[r]; e < plan->edge_start[r + 1]; e++)
        plan->runs[plan->edges[e]].blockers--;
    /* The edges stay stored but must not count any more: they point at the run itself, which is skipped. */
    for (uint32_t e = plan->edge_start[r]; e < plan->edge_start[r + 1]; e++)
        plan->edges[e] = r;
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

/* A walk from run to run along the edges, to find circles. Only runs that read the target can be part of one:
 * nothing waits for any other run but copies of what was written, for which nothing waits. */
struct walk {
    uint8_t *marks;      /* enum walk_mark of each run */
    uint32_t *next_edge; /* of each run: the first that was not followed to its end */
    uint32_t *path;
    uint32_t depth;
};

static void walk_enter(struct walk *walk, uint32_t r)
{
    walk->marks[r] = WALK_MARK_ON_PATH;
    walk->path[walk->depth++] = r;
}

/* The path's last run must come before `again`, which is on the path: fetches the smallest run between, and
 * goes back to the one before it. What had been cleared stays so. */
static void walk_close_circle(struct walk *walk, struct plan *plan, uint32_t again)
{
    uint32_t smallest = walk->depth - 1;

    for (uint32_t i = walk->depth; i-- > 0 && walk->depth - i <= CYCLE_LOOK_BACK;) {
        if (plan->runs[walk->path[i]].size < plan->runs[walk->path[smallest]].size)
            smallest = i;
        if (walk->path[i] == again)
            break;
    }
    while (walk->depth > smallest)
        walk->marks[walk->path[--walk->depth]] = WALK_MARK_NEW;
    walk->marks[walk->path[smallest]] = WALK_MARK_CLEAR;
    plan_break_cycle(plan, walk->path[smallest]);
}

static void plan_break_cycles(struct plan *plan)
{
    struct walk walk = {
        .marks = alloc_array(plan->run_count, sizeof(uint8_t)),
        .next_edge = alloc_array(plan->run_count, sizeof(uint32_t)),
        .path = alloc_array(plan->run_count, sizeof(uint32_t)),
    };

    for (uint32_t r = 0; r < plan->run_count; r++) {
        walk.next_edge[r] = plan->edge_start[r];
        if (plan->runs[r].source != PLAN_SOURCE_TARGET)
            walk.marks[r] = WALK_MARK_CLEAR;
    }
    for (uint32_t start = 0; start < plan->run_count; start++) {
        if (walk.marks[start] == WALK_MARK_NEW)
            walk_enter(&walk, start);
        while (walk.depth > 0) {
            uint32_t r = walk.path[walk.depth - 1];
            if (walk.next_edge[r] == plan->edge_start[r + 1]) {
                walk.marks[r] = WALK_MARK_CLEAR;
                walk.depth--;
                continue;
            }
            uint32_t to = plan->edges[walk.next_edge[r]];
            if (walk.marks[to] == WALK_MARK_ON_PATH)
                walk_close_circle(&walk, plan, to);
            else if (walk.marks[to] == WALK_MARK_NEW)
                walk_enter(&walk, to);
            else
                walk.next_edge[r]++;
        }
    }
    free(walk.marks);
    free(walk.next_edge);
    free(walk.path);
}

static void plan_count(struct plan *plan)
{
    for (uint32_t r = 0; r < plan->run_count; r++) {
        const struct plan_run *run = &plan->runs[r];
        switch (run->kind) {
        case PLAN_KIND_COPY:
            plan->totals.chunks_copied += run->count;
            plan->totals.bytes_copied += run->size;
            break;
        case PLAN_KIND_FETCH:
            plan->totals.chunks_fetched += run->count;
            plan->totals.bytes_fetched += run->size;
            plan->totals.requests++;
            break;
        }
    }
}

struct plan *plan_new(const struct plan_input *input)
{
    struct plan *plan = alloc_zeroed(sizeof(*plan));
    struct edge_list edges = {0};

    assert(input->run_size_max >= chunk_table_size_max(input->table));
    plan->totals.image_bytes = chunk_table_image_size(input->table);
    plan_make_runs(plan, input);
    plan_find_edges(plan, input->table, &edges);
    plan_store_edges(plan, &edges);
    free(edges.edges);
    plan_break_cycles(plan);
    plan_count(plan);
    return plan;
}

struct plan *plan_free(struct plan *plan)
{
    if (!plan)
        return NULL;
    free(plan->runs);
    free(plan->edges);
    free(plan->edge_start);
    free(plan);
    return NULL;
}

const struct plan_totals *plan_totals(const struct plan *plan)
{
    return &plan->totals;
}

void plan_set_overhead(struct plan *plan, uint64_t table_bytes, uint64_t manifest_bytes)
{
    plan->totals.table_bytes = table_bytes;
    plan->totals.manifest_bytes = manifest_bytes;
}

struct plan_run *plan_runs(struct plan *plan, uint32_t *ret_count)
{
    *ret_count = plan->run_count;
    return plan->runs;
}

const uint32_t *plan_waiting_for(const struct plan *plan, uint32_t run, uint32_t *ret_count)
{
    *ret_count = plan->edge_start[run + 1] - plan->edge_start[run];
    return plan->edges + plan->edge_start[run];
}
