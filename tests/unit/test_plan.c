#include "common/sinter/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/unit/byte_writer.h"
#include "tests/unit/publisher.h"

enum {
    CHUNKS_MAX = 40,
    SEEDS_MAX = 3,
    LANES = 4, /* runs under way at the same time, as in a transfer */
    SOURCE_MAX = CHUNKS_MAX * 1024,
    RUN_SIZE_MAX = 4096,
};

struct bytes {
    uint8_t data[SOURCE_MAX];
    size_t size;
};

/* An image, what the target holds of it, and the seeds. */
struct world {
    struct dice dice;
    struct bytes image, target, seeds[SEEDS_MAX];
    uint32_t seed_count;
    struct chunk_table *table;
    struct chunk_index *index;
    bool kept[CHUNKS_MAX];
    struct plan_place places[CHUNKS_MAX];
    uint32_t run_size_max;
    /* What a pack offers; NULL: nothing. */
    struct patch_list *patches;
    struct frame_index *frames;
    bool usable[CHUNKS_MAX];
    uint32_t patch_source;
    struct bytes before; /* the target as it was when the plan was made */
    struct plan *plan;
    uint64_t fetched; /* bytes, over all plans */
};

/* ---- making worlds ---- */

static void bytes_append(struct bytes *bytes, const uint8_t *data, size_t size)
{
    if (size > sizeof(bytes->data) - bytes->size)
        size = sizeof(bytes->data) - bytes->size;
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void world_make_image(struct world *world)
{
    static const uint32_t choice[] = {256, 257, 300, 512, 700};
    uint8_t contents[CHUNKS_MAX][700];
    uint32_t content_sizes[CHUNKS_MAX], sizes[CHUNKS_MAX];
    uint32_t count = dice_below(&world->dice, CHUNKS_MAX + 1);
    uint32_t contents_count = 1 + dice_below(&world->dice, CHUNKS_MAX);

    for (uint32_t i = 0; i < contents_count; i++) {
        content_sizes[i] = choice[dice_below(&world->dice, 5)];
        dice_fill(&world->dice, contents[i], content_sizes[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t content = dice_below(&world->dice, contents_count);
        sizes[i] = content_sizes[content];
        if (i + 1 == count && dice_below(&world->dice, 2))
            sizes[i] = 1 + dice_below(&world->dice, 255);
        bytes_append(&world->image, contents[content], sizes[i]);
    }
    world->table = publish_table_cut(world->image.data, sizes, count, 1024);
    world->index = chunk_index_new(world->table);
}

/* Pieces of the image, of a chunk or several, in any order, and noise between: or a shift, or a rotation of
 * it. */
static void world_make_source(struct world *world, struct bytes *source)
{
    uint32_t count = chunk_table_count(world->table), kind = dice_below(&world->dice, 6);
    uint8_t noise[600];

    source->size = 0;
    dice_fill(&world->dice, noise, sizeof(noise));
    if (kind == 0 && world->image.size > 0) {
        size_t turn = dice_below(&world->dice, (uint32_t)world->image.size);
        bytes_append(source, world->image.data + turn, world->image.size - turn);
        bytes_append(source, world->image.data, turn);
        return;
    }
    if (kind == 1 || kind == 2) {
        size_t drop =
            kind == 1 && world->image.size ? dice_below(&world->dice, (uint32_t)world->image.size) : 0;
        bytes_append(source, noise, kind == 2 ? dice_below(&world->dice, sizeof(noise)) : 0);
        bytes_append(source, world->image.data + drop, world->image.size - drop);
        return;
    }
    for (uint32_t pieces = dice_below(&world->dice, CHUNKS_MAX); pieces > 0; pieces--) {
        if (count == 0 || dice_below(&world->dice, 6) == 0) {
            bytes_append(source, noise, dice_below(&world->dice, sizeof(noise)));
            continue;
        }
        uint32_t first = dice_below(&world->dice, count), last = first + dice_below(&world->dice, 4);
        uint64_t start = chunk_table_offset(world->table, first);
        uint64_t end = chunk_table_offset(world->table, last + 1 < count ? last + 1 : count);
        bytes_append(source, world->image.data + start, end - start);
    }
}

static const struct bytes *world_source(const struct world *world, uint32_t source)
{
    return source == PLAN_SOURCE_TARGET ? &world->target : &world->seeds[source - PLAN_SOURCE_SEED_FIRST];
}

/* What a scan could have found; with `all`, what a perfect one finds. */
static void world_scan(struct world *world, bool all)
{
    for (uint32_t i = 0; i < chunk_table_count(world->table); i++) {
        uint64_t offset = chunk_table_offset(world->table, i);
        uint32_t size = chunk_table_size(world->table, i), first = chunk_index_first_alike(world->index, i),
                 seen = 0;
        const uint8_t *chunk = world->image.data + offset;
        world->kept[i] = offset + size <= world->target.size &&
                         memcmp(world->target.data + offset, chunk, size) == 0 &&
                         (all || dice_below(&world->dice, 10) > 0);
        if (first != i)
            continue;
        world->places[i] = (struct plan_place){.source = PLAN_SOURCE_NONE};
        for (uint32_t s = 0; s <= world->seed_count; s++) {
            const struct bytes *source = world_source(world, s);
            for (size_t at = 0; at < source->size;) {
                const uint8_t *hit = memmem(source->data + at, source->size - at, chunk, size);
                if (!hit)
                    break;
                at = (size_t)(hit - source->data);
                if (dice_below(&world->dice, ++seen) == 0 && (all || dice_below(&world->dice, 8) > 0))
                    world->places[i] = (struct plan_place){.source = s, .offset = at};
                at++;
            }
        }
    }
}

static void world_plan(struct world *world)
{
    const struct plan_input input = {
        .table = world->table,
        .index = world->index,
        .kept = world->kept,
        .places = world->places,
        .run_size_max = world->run_size_max,
        .frames = world->frames,
        .patches = world->patches,
        .usable = world->usable,
        .patch_source = world->patch_source,
    };

    world->before = world->target;
    world->plan = plan_new(&input);
}

static void world_init(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->dice.state = seed;
    world_make_image(world);
    world->seed_count = dice_below(&world->dice, SEEDS_MAX + 1);
    world_make_source(world, &world->target);
    for (uint32_t i = 0; i < world->seed_count; i++)
        world_make_source(world, &world->seeds[i]);
    world->run_size_max = chunk_table_size_max(world->table) + dice_below(&world->dice, RUN_SIZE_MAX - 700);
    world_scan(world, false);
    world_plan(world);
}

static void world_finish(struct world *world)
{
    plan_free(world->plan);
    patch_list_free(world->patches);
    frame_index_free(world->frames);
    chunk_index_free(world->index);
    chunk_table_free(world->table);
}

/* ---- what must hold of every plan ---- */

/* The run as it would have been without circles being broken; false where it was to be fetched from the
 * start. */
static bool original_move(const struct world *world, const struct plan_run *run, uint64_t *ret_source)
{
    const struct plan_place *place = &world->places[chunk_index_first_alike(world->index, run->first)];

    *ret_source = place->offset;
    return place->source == PLAN_SOURCE_TARGET;
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

/* Whether run `from` reads what run `to` overwrites. */
static bool must_precede(const struct world *world, const struct plan_run *from, const struct plan_run *to)
{
    uint64_t source;

    return original_move(world, from, &source) &&
           overlaps(source, from->size, chunk_table_offset(world->table, to->first), to->size);
}

/* Whether run `start` lies on a circle of moves. */
static bool on_a_circle(const struct world *world, const struct plan_run *runs, uint32_t count,
                        uint32_t start)
{
    bool reached[CHUNKS_MAX] = {0};
    uint32_t queue[CHUNKS_MAX], queued = 0;

    queue[queued++] = start;
    while (queued > 0) {
        const struct plan_run *run = &runs[queue[--queued]];
        for (uint32_t to = 0; to < count; to++) {
            if (reached[to] || &runs[to] == run || !must_precede(world, run, &runs[to]))
                continue;
            if (to == start)
                return true;
            reached[to] = true;
            queue[queued++] = to;
        }
    }
    return false;
}

static void check_run(const struct world *world, const struct plan_run *run)
{
    uint64_t size = 0;

    for (uint32_t i = 0; i < run->count; i++)
        size += chunk_table_size(world->table, run->first + i);
    assert_int_equal(run->size, size);
    assert_true(run->count > 0 && (run->kind == PLAN_KIND_PATCH || run->size <= world->run_size_max));
    if (run->kind == PLAN_KIND_COPY)
        assert_true(run->source == PLAN_SOURCE_TARGET || run->source == PLAN_SOURCE_WRITTEN ||
                    run->source <= world->seed_count);
}

/* The plan's runs, but for fetched ones that are split where a move was taken back: there the pieces are as
 * the moves would have been. */
static uint32_t split_runs(const struct world *world, const struct plan_run *runs, uint32_t count,
                           struct plan_run *ret_runs)
{
    uint32_t split = 0;

    for (uint32_t r = 0; r < count; r++) {
        uint64_t expected = 0;
        for (uint32_t i = 0; i < (runs[r].kind == PLAN_KIND_FETCH ? runs[r].count : 1); i++) {
            struct plan_run piece = runs[r];
            uint64_t source = 0;
            if (runs[r].kind == PLAN_KIND_FETCH) {
                piece.first += i;
                piece.count = 1;
                piece.size = chunk_table_size(world->table, piece.first);
            }
            bool moved = original_move(world, &piece, &source) && runs[r].kind == PLAN_KIND_FETCH;
            bool joins = i > 0 && moved && source == expected;
            expected = moved ? source + piece.size : UINT64_MAX;
            if (joins) {
                ret_runs[split - 1].count++;
                ret_runs[split - 1].size += piece.size;
            } else {
                ret_runs[split++] = piece;
            }
        }
    }
    return split;
}

/* What is fetched was nowhere, or lay on a circle of moves. */
static void check_taken_back(const struct world *world, const struct plan_run *runs, uint32_t count)
{
    struct plan_run split[CHUNKS_MAX];
    uint32_t pieces = split_runs(world, runs, count, split), broken = 0;

    for (uint32_t r = 0; r < pieces; r++) {
        if (split[r].kind != PLAN_KIND_FETCH)
            continue;
        uint32_t first = chunk_index_first_alike(world->index, split[r].first);
        if (world->places[first].source == PLAN_SOURCE_NONE) {
            /* And nothing like it is in place or made before. */
            for (uint32_t i = 0; i < split[r].first; i++)
                assert_int_not_equal(chunk_index_first_alike(world->index, i), first);
            continue;
        }
        broken++;
        if (!on_a_circle(world, split, pieces, r))
            fail_msg("run %u is fetched, though no circle goes through it", r);
    }
    assert_true(broken <= plan_totals(world->plan)->cycles_broken);
    assert_int_equal(broken > 0, plan_totals(world->plan)->cycles_broken > 0);
}

/* Every run that fetches is in one batch, and a batch is what its runs need with small gaps between. */
static void check_batches(const struct world *world, const struct plan_run *runs, uint32_t run_count,
                          struct plan_totals *sums)
{
    uint32_t batch_count, batched = 0, fetching = 0;
    const struct plan_batch *batches = plan_batches(world->plan, &batch_count);

    for (uint32_t b = 0; b < batch_count; b++) {
        const uint32_t *numbers = plan_batch_runs(world->plan, &batches[b]);
        uint64_t end = batches[b].offset;
        for (uint32_t i = 0; i < batches[b].run_count; i++) {
            const struct plan_run *run = &runs[numbers[i]];
            assert_true(run->kind != PLAN_KIND_COPY && run->batch == b);
            assert_int_equal(batches[b].from_pack, run->kind == PLAN_KIND_PATCH || world->frames != NULL);
            assert_true(run->source_offset >= end && run->source_offset - end <= PLAN_GAP_MAX);
            assert_true(batches[b].run_count == 1 || run->source != PLAN_SOURCE_TARGET);
            sums->gap_bytes += run->source_offset - end;
            end = run->source_offset + run->fetch_size;
            batched++;
        }
        assert_true(end == batches[b].offset + batches[b].size);
        assert_true(batches[b].run_count == 1 || batches[b].size <= world->run_size_max);
    }
    for (uint32_t r = 0; r < run_count; r++)
        fetching += runs[r].kind != PLAN_KIND_COPY;
    assert_int_equal(batched, fetching);
    sums->requests = batch_count;
}

/* Every chunk is kept or in exactly one run, and the sums are those of a plain recount. */
static void check_totals(const struct world *world)
{
    struct plan_totals sums = {.image_bytes = world->image.size,
                               .cycles_broken = plan_totals(world->plan)->cycles_broken};
    uint32_t run_count, chunk = 0;
    struct plan_run *runs = plan_runs(world->plan, &run_count);

    for (uint32_t r = 0; r <= run_count; r++) {
        uint32_t stop = r < run_count ? runs[r].first : chunk_table_count(world->table);
        for (; chunk < stop; chunk++) {
            assert_true(world->kept[chunk]);
            sums.chunks_kept++;
            sums.bytes_kept += chunk_table_size(world->table, chunk);
        }
        if (r == run_count)
            break;
        const struct plan_run *run = &runs[r];
        check_run(world, run);
        for (; chunk < run->first + run->count; chunk++) {
            uint32_t size = chunk_table_size(world->table, chunk);
            assert_true(!world->kept[chunk] || run->kind == PLAN_KIND_PATCH);
            *(world->kept[chunk]             ? &sums.bytes_kept
              : run->kind == PLAN_KIND_COPY  ? &sums.bytes_copied
              : run->kind == PLAN_KIND_PATCH ? &sums.bytes_patched
                                             : &sums.bytes_fetched) += size;
            *(world->kept[chunk]             ? &sums.chunks_kept
              : run->kind == PLAN_KIND_COPY  ? &sums.chunks_copied
              : run->kind == PLAN_KIND_PATCH ? &sums.chunks_patched
                                             : &sums.chunks_fetched) += 1;
        }
        if (run->kind == PLAN_KIND_PATCH)
            sums.patch_bytes += run->fetch_size;
        else if (run->kind == PLAN_KIND_FETCH)
            sums.chunk_bytes += run->fetch_size;
    }
    check_batches(world, runs, run_count, &sums);
    if (!world->patches && !world->frames)
        check_taken_back(world, runs, run_count);
    assert_memory_equal(&sums, plan_totals(world->plan), sizeof(sums));
}

/* ---- carrying it out ---- */

enum step {
    STEP_WAITING,
    STEP_STARTED, /* it may read and write at any moment now */
    STEP_READ,
    STEP_DONE,
};

struct execution {
    enum step steps[CHUNKS_MAX];
    uint8_t buffers[CHUNKS_MAX][RUN_SIZE_MAX];
    uint32_t under_way;
};

static void run_read(struct world *world, const struct plan_run *run, uint8_t *buffer)
{
    const uint8_t *right = world->image.data + chunk_table_offset(world->table, run->first);
    const struct bytes *source = &world->image;
    uint64_t offset = (uint64_t)(right - world->image.data);

    if (run->kind == PLAN_KIND_PATCH) {
        /* The bytes of the base are still what they were. */
        const struct patch *patch = patch_list_at(world->patches, run->patch);
        const struct patch_span *spans = patch_list_spans(world->patches, patch);
        for (uint32_t i = 0; i < patch->span_count && run->source == PLAN_SOURCE_TARGET; i++)
            assert_memory_equal(world->target.data + spans[i].offset, world->before.data + spans[i].offset,
                                spans[i].size);
    }
    if (run->kind == PLAN_KIND_COPY) {
        source = world_source(world, run->source == PLAN_SOURCE_WRITTEN ? PLAN_SOURCE_TARGET : run->source);
        offset = run->source_offset;
    }
    assert_true(offset + run->size <= source->size);
    memcpy(buffer, source->data + offset, run->size);
    /* The proof of a transfer: a copy that failed it would have to be fetched, and the plan were not exact.
     */
    assert_memory_equal(buffer, right, run->size);
}

static void run_write(struct world *world, const struct plan_run *run, const uint8_t *buffer, uint32_t size)
{
    uint64_t offset = chunk_table_offset(world->table, run->first);

    memcpy(world->target.data + offset, buffer, size);
    if (world->target.size < offset + size)
        world->target.size = offset + size;
}

static void run_done(struct world *world, struct plan_run *runs, uint32_t r)
{
    uint32_t count;
    const uint32_t *waiting = plan_waiting_for(world->plan, r, &count);

    for (uint32_t i = 0; i < count; i++) {
        struct plan_run *run = &runs[waiting[i]];
        uint32_t batch_count;
        struct plan_batch *batches = plan_batches(world->plan, &batch_count);
        assert_true(waiting[i] != r && run->blockers > 0);
        if (--run->blockers == 0 && run->kind != PLAN_KIND_COPY)
            batches[run->batch].blocked--;
    }
}

static bool run_is_blocked(const struct world *world, const struct plan_run *run)
{
    uint32_t count;

    return run->kind == PLAN_KIND_COPY ? run->blockers > 0
                                       : plan_batches(world->plan, &count)[run->batch].blocked > 0;
}

/* Moves one run on, chosen by the dice; false when none can move. */
static bool execution_step(struct execution *execution, struct world *world, struct plan_run *runs,
                           uint32_t count)
{
    uint32_t start = count ? dice_below(&world->dice, count) : 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t r = (start + i) % count;
        enum step *step = &execution->steps[r];
        if (*step == STEP_DONE ||
            (*step == STEP_WAITING && (run_is_blocked(world, &runs[r]) || execution->under_way == LANES)))
            continue;
        if (*step == STEP_WAITING) {
            execution->under_way++;
        } else if (*step == STEP_STARTED) {
            run_read(world, &runs[r], execution->buffers[r]);
        } else {
            run_write(world, &runs[r], execution->buffers[r], runs[r].size);
            run_done(world, runs, r);
            execution->under_way--;
            world->fetched += runs[r].kind == PLAN_KIND_FETCH ? runs[r].size : 0;
        }
        ++*step;
        return true;
    }
    return false;
}

/* A kill: what was being written may be half there. Returns the bytes that may have been lost. */
static uint64_t execution_tear(struct execution *execution, struct world *world, const struct plan_run *runs,
                               uint32_t count)
{
    uint64_t lost = 0;

    for (uint32_t r = 0; r < count; r++) {
        if (execution->steps[r] != STEP_STARTED && execution->steps[r] != STEP_READ)
            continue;
        if (execution->steps[r] == STEP_READ)
            run_write(world, &runs[r], execution->buffers[r], dice_below(&world->dice, runs[r].size + 1));
        lost += runs[r].size;
    }
    return lost;
}

/* Carries the plan out, `steps` steps of it at most; true when all was done. */
static bool world_execute(struct world *world, uint32_t steps, uint64_t *ret_lost)
{
    struct execution *execution = alloc_zeroed(sizeof(*execution));
    uint32_t count, left = 0;
    struct plan_run *runs = plan_runs(world->plan, &count);

    while (steps > 0 && execution_step(execution, world, runs, count))
        steps--;
    for (uint32_t r = 0; r < count; r++)
        left += execution->steps[r] != STEP_DONE;
    if (steps > 0)
        assert_int_equal(left, 0); /* else the runs wait for each other for ever */
    *ret_lost = execution_tear(execution, world, runs, count);
    free(execution);
    return left == 0;
}

static void check_result(const struct world *world)
{
    assert_true(world->target.size >= world->image.size);
    assert_memory_equal(world->target.data, world->image.data, world->image.size);
}

static struct world shared; /* too large for the stack, and made anew by every test */

static void test_random_plans_carried_out_in_any_order(void **state)
{
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        uint64_t lost;
        world_init(&shared, seed);
        check_totals(&shared);
        uint64_t planned = plan_totals(shared.plan)->bytes_fetched;
        assert_true(world_execute(&shared, UINT32_MAX, &lost));
        check_result(&shared);
        assert_int_equal(shared.fetched, planned);
        world_finish(&shared);
    }
}

/* ---- with a pack ---- */

/* Some of the runs that a publisher could have patched, against some bytes or other of one source. */
static void world_make_patches(struct world *world)
{
    uint32_t count = chunk_table_count(world->table), chunk = 0, patches = 0;
    struct byte_writer list = {0}, whole = {0};
    const struct bytes *source = world_source(world, world->patch_source);
    struct manifest_base base = {
        .size = source->size, .patches_offset = 8, .span_max = 4000, .output_max = RUN_SIZE_MAX};

    while (source->size > 0 && chunk < count) {
        uint32_t gap = dice_below(&world->dice, 4), chunks = 1 + dice_below(&world->dice, 4), output = 0;
        if (gap + chunks > count - chunk)
            break;
        for (uint32_t i = 0; i < chunks; i++)
            output += chunk_table_size(world->table, chunk + gap + i);
        byte_writer_varint(&list, gap);
        byte_writer_varint(&list, chunks);
        byte_writer_varint(&list, 1 + (output > 2 ? dice_below(&world->dice, output - 2) : 0));
        byte_writer_varint(&list, 2);
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t offset = dice_below(&world->dice, (uint32_t)source->size);
            uint32_t left = (uint32_t)source->size - offset;
            byte_writer_varint(&list, offset);
            byte_writer_varint(&list, 1 + dice_below(&world->dice, left < 2000 ? left : 2000));
        }
        byte_writer_fixed64(&list, 1);
        chunk += gap + chunks;
        world->usable[patches++] = dice_below(&world->dice, 4) > 0;
    }
    byte_writer_varint(&whole, patches);
    byte_writer_bytes(&whole, list.data, list.size);
    if (!patch_list_parse(whole.data, whole.size, world->table, &base, UINT64_C(1) << 40, &world->patches,
                          NULL))
        world->patches = NULL; /* a chunk of one byte has no frame that is smaller */
    byte_writer_finish(&list);
    byte_writer_finish(&whole);
}

static void world_make_frames(struct world *world)
{
    struct byte_writer numbers = {0};

    for (uint32_t i = 0; i < chunk_table_count(world->table); i++) {
        uint32_t size = chunk_table_size(world->table, i);
        bool first = chunk_index_first_alike(world->index, i) == i;
        byte_writer_varint(&numbers, first ? 1 + dice_below(&world->dice, size) : 0);
    }
    assert_true(frame_index_parse(numbers.data, numbers.size, world->table, chunk_index_classes(world->index),
                                  UINT64_C(1) << 40, &world->frames, NULL));
    byte_writer_finish(&numbers);
}

static void test_random_plans_with_a_pack_carried_out_in_any_order(void **state)
{
    uint64_t lost, patched = 0, broken = 0, batched = 0;

    for (uint64_t seed = 20001; seed <= 22500; seed++) {
        world_init(&shared, seed);
        uint64_t without = plan_download_bytes(plan_totals(shared.plan));
        uint64_t broken_without = plan_totals(shared.plan)->cycles_broken;
        plan_free(shared.plan);
        shared.patch_source = dice_below(&shared.dice, shared.seed_count + 1);
        world_make_patches(&shared);
        if (seed & 1)
            world_make_frames(&shared);
        world_plan(&shared);
        const struct plan_totals totals = *plan_totals(shared.plan);
        check_totals(&shared);
        /* Patches are taken for what they save only. */
        if (totals.cycles_broken + broken_without == 0)
            assert_true(plan_download_bytes(&totals) - totals.gap_bytes <= without);
        patched += totals.chunks_patched;
        broken += totals.cycles_broken;
        batched += totals.gap_bytes;
        assert_true(world_execute(&shared, UINT32_MAX, &lost));
        check_result(&shared);
        world_finish(&shared);
    }
    assert_true(patched > 1000 && broken > 100 && batched > 1000); /* else this has tested nothing */
}

/* Killed at any moment, scanned and planned again: the end is right, and nothing is fetched twice but what
 * was under way (and what breaking other circles than before costs). */
static void test_random_plans_interrupted_and_resumed(void **state)
{
    for (uint64_t seed = 10001; seed <= 10700; seed++) {
        world_init(&shared, seed);
        uint64_t allowed = plan_totals(shared.plan)->bytes_fetched, lost;
        for (uint32_t kills = 0; !world_execute(&shared, dice_below(&shared.dice, 60), &lost); kills++) {
            assert_true(kills < 200);
            plan_free(shared.plan);
            world_scan(&shared, true);
            world_plan(&shared);
            check_totals(&shared);
            const struct plan_totals *totals = plan_totals(shared.plan);
            if (totals->cycles_broken == 0)
                assert_true(shared.fetched + totals->bytes_fetched <= allowed + lost);
            allowed = shared.fetched + totals->bytes_fetched;
        }
        check_result(&shared);
        world_finish(&shared);
    }
}

/* ---- chosen cases ---- */

/* A world whose image is `count` chunks of 256 bytes, all different, and whose target is empty. */
static void world_init_plain(struct world *world, uint32_t count)
{
    uint32_t sizes[CHUNKS_MAX];

    memset(world, 0, sizeof(*world));
    world->dice.state = count;
    for (uint32_t i = 0; i < count; i++)
        sizes[i] = 256;
    world->image.size = (size_t)count * 256;
    dice_fill(&world->dice, world->image.data, world->image.size);
    world->table = publish_table_cut(world->image.data, sizes, count, 1024);
    world->index = chunk_index_new(world->table);
    world->run_size_max = 256;
}

/* The target's old content as numbers of chunks of the image; -1 is noise. */
static void world_set_target(struct world *world, const int *chunks, uint32_t count)
{
    uint8_t noise[256];

    world->target.size = 0;
    for (uint32_t i = 0; i < count; i++) {
        dice_fill(&world->dice, noise, sizeof(noise));
        bytes_append(&world->target, chunks[i] < 0 ? noise : world->image.data + chunks[i] * 256, 256);
    }
    world_scan(world, true);
    world_plan(world);
    check_totals(world);
}

static void check_fetches(struct world *world, uint64_t chunks_fetched, uint64_t cycles_broken)
{
    uint64_t lost;

    assert_int_equal(plan_totals(world->plan)->chunks_fetched, chunks_fetched);
    assert_int_equal(plan_totals(world->plan)->cycles_broken, cycles_broken);
    assert_true(world_execute(world, UINT32_MAX, &lost));
    check_result(world);
    world_finish(world);
}

static void test_an_empty_image(void **state)
{
    uint32_t count;

    world_init_plain(&shared, 0);
    world_set_target(&shared, NULL, 0);
    plan_runs(shared.plan, &count);
    assert_int_equal(count, 0);
    assert_null(plan_free(NULL));
    check_fetches(&shared, 0, 0);
}

static void test_nothing_there_and_all_there(void **state)
{
    uint32_t count;

    world_init_plain(&shared, 10);
    shared.run_size_max = 1024;
    world_set_target(&shared, NULL, 0);
    plan_runs(shared.plan, &count);
    assert_int_equal(count, 3); /* four chunks a run */
    check_fetches(&shared, 10, 0);

    world_init_plain(&shared, 4);
    world_set_target(&shared, (const int[]){0, 1, 2, 3, -1}, 5);
    plan_runs(shared.plan, &count);
    assert_int_equal(count, 0);
    check_fetches(&shared, 0, 0);
}

static void test_an_insertion_moves_everything_without_a_fetch_but_its_own(void **state)
{
    world_init_plain(&shared, 8);
    world_set_target(&shared, (const int[]){1, 2, 3, 4, 5, 6, 7}, 7);
    check_fetches(&shared, 1, 0);
    world_init_plain(&shared, 8);
    shared.run_size_max = 1024; /* now runs overwrite part of their own source */
    world_set_target(&shared, (const int[]){1, 2, 3, 4, 5, 6, 7}, 7);
    check_fetches(&shared, 1, 0);
    world_init_plain(&shared, 8);
    world_set_target(&shared, (const int[]){-1, -1, 0, 1, 2, 3, 4, 5, 6, 7}, 10);
    check_fetches(&shared, 0, 0);
}

static void test_two_that_change_places_cost_one_fetch(void **state)
{
    world_init_plain(&shared, 4);
    world_set_target(&shared, (const int[]){0, 2, 1, 3}, 4);
    check_fetches(&shared, 1, 1);
}

static void test_a_rotation_costs_one_fetch(void **state)
{
    world_init_plain(&shared, 6);
    world_set_target(&shared, (const int[]){1, 2, 3, 4, 5, 0}, 6);
    check_fetches(&shared, 1, 1);
}

static void test_two_circles_cost_two_fetches(void **state)
{
    world_init_plain(&shared, 7);
    world_set_target(&shared, (const int[]){1, 0, 2, 4, 5, 3, 6}, 7);
    check_fetches(&shared, 2, 2);
}

/* Chunk 0 waits for a circle but is not part of it: fetching it would not help anybody. The target's old
 * content lies so that one run of the circle reads chunk 0's place, too. */
static void test_what_merely_waits_for_a_circle_is_not_fetched(void **state)
{
    static const uint32_t sizes[] = {256, 512, 512};
    uint64_t lost;

    memset(&shared, 0, sizeof(shared));
    shared.dice.state = 3;
    shared.image.size = 1280;
    dice_fill(&shared.dice, shared.image.data, shared.image.size);
    shared.table = publish_table_cut(shared.image.data, sizes, 3, 1024);
    shared.index = chunk_index_new(shared.table);
    shared.run_size_max = 512;
    /* Old: [0, 512) holds chunk 2, [512, 1024) holds chunk 1, [1280, 1536) holds chunk 0. Chunk 2's source
     * overlaps the places of chunks 0 and 1, chunk 1's own source overlaps the places of chunks 1 and 2. */
    memcpy(shared.target.data, shared.image.data + 768, 512);
    memcpy(shared.target.data + 512, shared.image.data + 256, 512);
    memcpy(shared.target.data + 1280, shared.image.data, 256);
    shared.target.size = 1536;
    world_scan(&shared, true);
    world_plan(&shared);
    check_totals(&shared);
    assert_int_equal(plan_totals(shared.plan)->cycles_broken, 1);
    assert_int_equal(plan_totals(shared.plan)->bytes_fetched, 512);
    assert_true(world_execute(&shared, UINT32_MAX, &lost));
    check_result(&shared);
    world_finish(&shared);
}

/* Of a circle, what costs least is fetched. */
static void test_the_smallest_run_of_a_circle_is_fetched(void **state)
{
    static const uint32_t sizes[] = {512, 256};
    uint64_t lost;

    memset(&shared, 0, sizeof(shared));
    shared.dice.state = 4;
    shared.image.size = 768;
    dice_fill(&shared.dice, shared.image.data, shared.image.size);
    shared.table = publish_table_cut(shared.image.data, sizes, 2, 1024);
    shared.index = chunk_index_new(shared.table);
    shared.run_size_max = 512;
    memcpy(shared.target.data, shared.image.data + 512, 256);
    memcpy(shared.target.data + 256, shared.image.data, 512);
    shared.target.size = 768;
    world_scan(&shared, true);
    world_plan(&shared);
    check_totals(&shared);
    assert_int_equal(plan_totals(shared.plan)->bytes_fetched, 256);
    assert_true(world_execute(&shared, UINT32_MAX, &lost));
    check_result(&shared);
    world_finish(&shared);
}

static void add_patch(struct byte_writer *list, uint32_t gap, uint32_t chunks, uint32_t frame_size,
                      uint64_t span_offset, uint32_t span_size)
{
    byte_writer_varint(list, gap);
    byte_writer_varint(list, chunks);
    byte_writer_varint(list, frame_size);
    byte_writer_varint(list, 1);
    byte_writer_varint(list, span_offset);
    byte_writer_varint(list, span_size);
    byte_writer_fixed64(list, 1);
}

/* A pack in which every circle that is broken makes a patch worth its bytes, which closes another circle. */
static void test_circles_that_patches_close_again_and_again(void **state)
{
    enum { COUNT = CHUNKS_MAX, PATCHES = COUNT / 2 };
    int target[COUNT];
    struct byte_writer list = {0};
    struct manifest_base base = {
        .size = COUNT * 256, .patches_offset = 8, .span_max = 256, .output_max = 512};

    /* Each second chunk is in place, the others go around. */
    world_init_plain(&shared, COUNT);
    byte_writer_varint(&list, PATCHES);
    for (uint32_t i = 0; i < COUNT; i += 2) {
        target[i] = (int)((i + 2) % COUNT);
        target[i + 1] = (int)i + 1;
        add_patch(&list, 0, 2, 1, (i + 2) % COUNT * 256, 256);
        shared.usable[i / 2] = true;
    }
    assert_true(patch_list_parse(list.data, list.size, shared.table, &base, 1 << 20, &shared.patches, NULL));
    byte_writer_finish(&list);
    world_set_target(&shared, target, COUNT);
    assert_true(plan_totals(shared.plan)->cycles_broken > 2);
    assert_true(plan_totals(shared.plan)->cycles_broken <= 10);
    check_fetches(&shared, plan_totals(shared.plan)->chunks_fetched, plan_totals(shared.plan)->cycles_broken);
}

/* Each patch reads what thousands of copies overwrite, so that the order would take more memory than there
 * is. */
static void test_patches_that_everything_waits_for(void **state)
{
    enum { COUNT = 4096, HALF = COUNT / 2, PATCHES = 600, SIZE = 256 };
    uint8_t *image = alloc_zeroed((size_t)COUNT * SIZE);
    uint32_t *sizes = alloc_array(COUNT, sizeof(*sizes));
    bool *usable = alloc_array(COUNT, sizeof(bool)), *kept = alloc_array(COUNT, sizeof(bool));
    struct plan_place *places = alloc_array(COUNT, sizeof(*places));
    struct byte_writer list = {0};
    struct manifest_base base = {
        .size = 2 * COUNT * SIZE, .patches_offset = 8, .span_max = COUNT * SIZE, .output_max = SIZE};
    struct patch_list *patches;

    byte_writer_varint(&list, PATCHES);
    for (uint32_t i = 0; i < COUNT; i++) {
        memcpy(image + (size_t)i * SIZE, &i, sizeof(i));
        sizes[i] = SIZE;
        usable[i] = true;
        if (i < PATCHES)
            add_patch(&list, 0, 1, 1, HALF * SIZE, HALF * SIZE);
        places[i].source = i < HALF ? PLAN_SOURCE_NONE : PLAN_SOURCE_TARGET;
        places[i].offset = (uint64_t)(2 * COUNT - 1 - i) * SIZE; /* beyond the image, and none side by side */
    }
    struct chunk_table *table = publish_table_cut(image, sizes, COUNT, 1024);
    struct chunk_index *index = chunk_index_new(table);
    assert_true(patch_list_parse(list.data, list.size, table, &base, 1 << 20, &patches, NULL));
    struct plan_input input = {.table = table,
                               .index = index,
                               .kept = kept,
                               .places = places,
                               .run_size_max = SIZE,
                               .patches = patches,
                               .usable = usable,
                               .patch_source = PLAN_SOURCE_TARGET};
    struct plan *plan = plan_new(&input);
    assert_int_equal(plan_totals(plan)->chunks_patched, 0);
    assert_int_equal(plan_totals(plan)->chunks_fetched, HALF);
    assert_int_equal(plan_totals(plan)->chunks_copied, COUNT - HALF);
    plan_free(plan);
    input.patch_source = PLAN_SOURCE_SEED_FIRST;
    plan = plan_new(&input);
    assert_int_equal(plan_totals(plan)->chunks_patched, PATCHES);
    plan_free(plan);
    patch_list_free(patches);
    chunk_index_free(index);
    chunk_table_free(table);
    byte_writer_finish(&list);
    free(image);
    free(sizes);
    free(usable);
    free(kept);
    free(places);
}

/* Small patches may make much, and a batch is only so long under way. */
static void test_a_batch_makes_only_so_much(void **state)
{
    enum { COUNT = 80, SIZE = 1024 * 1024, AVERAGE = 256 * 1024 };
    uint8_t *image = alloc_zeroed((size_t)COUNT * SIZE);
    uint32_t sizes[COUNT], batch_count;
    bool usable[COUNT], kept[COUNT] = {0};
    struct plan_place places[COUNT];
    struct byte_writer list = {0};
    struct manifest_base base = {.size = SIZE, .patches_offset = 8, .span_max = 256, .output_max = 4 * SIZE};
    struct patch_list *patches;

    byte_writer_varint(&list, COUNT / 4);
    for (uint32_t i = 0; i < COUNT; i++) {
        image[(size_t)i * SIZE] = (uint8_t)(i + 1);
        sizes[i] = SIZE;
        usable[i] = true;
        places[i] = (struct plan_place){.source = PLAN_SOURCE_NONE};
        if (i % 4 == 0)
            add_patch(&list, 0, 4, 100, 0, 1);
    }
    struct chunk_table *table = publish_table_cut(image, sizes, COUNT, AVERAGE);
    struct chunk_index *index = chunk_index_new(table);
    assert_true(patch_list_parse(list.data, list.size, table, &base, 1 << 20, &patches, NULL));
    const struct plan_input input = {.table = table,
                                     .index = index,
                                     .kept = kept,
                                     .places = places,
                                     .run_size_max = SIZE,
                                     .patches = patches,
                                     .usable = usable,
                                     .patch_source = PLAN_SOURCE_SEED_FIRST};
    struct plan *plan = plan_new(&input);
    assert_int_equal(plan_totals(plan)->bytes_patched, (uint64_t)COUNT * SIZE);
    const struct plan_batch *batches = plan_batches(plan, &batch_count);
    assert_int_equal(batch_count, 5); /* of 16 MiB each */
    for (uint32_t b = 0; b < batch_count; b++)
        assert_int_equal(batches[b].run_count, 4);
    plan_free(plan);
    patch_list_free(patches);
    chunk_index_free(index);
    chunk_table_free(table);
    byte_writer_finish(&list);
    free(image);
}

static void test_a_chunk_that_occurs_often_is_fetched_once(void **state)
{
    uint32_t sizes[6];

    memset(&shared, 0, sizeof(shared));
    for (uint32_t i = 0; i < 6; i++)
        sizes[i] = 256;
    shared.image.size = sizeof(sizes) / sizeof(sizes[0]) * 256; /* all zero */
    shared.table = publish_table_cut(shared.image.data, sizes, 6, 1024);
    shared.index = chunk_index_new(shared.table);
    shared.run_size_max = 256;
    world_set_target(&shared, NULL, 0);
    check_fetches(&shared, 1, 0);
}

static void test_the_overhead_is_told(void **state)
{
    world_init_plain(&shared, 1);
    world_set_target(&shared, NULL, 0);
    plan_set_overhead(shared.plan, &(struct plan_overhead){44, 70, 200, 3});
    assert_int_equal(plan_totals(shared.plan)->table_bytes, 44);
    assert_int_equal(plan_totals(shared.plan)->section_bytes, 70);
    assert_int_equal(plan_totals(shared.plan)->manifest_bytes, 200);
    assert_int_equal(plan_totals(shared.plan)->requests_before, 3);
    assert_int_equal(plan_download_bytes(plan_totals(shared.plan)), 44 + 70 + 256);
    assert_int_equal(plan_totals(shared.plan)->bytes_fetched, 256);
    world_finish(&shared);
}

/* As many moves as fit, all in one circle or in one chain, are planned in time that grows with their number.
 */
static void test_long_circles_and_chains(void **state)
{
    enum { COUNT = 30000 };
    CLEANUP_FREE uint32_t *sizes = alloc_array(COUNT, sizeof(uint32_t));
    CLEANUP_FREE uint8_t *image = alloc_array(COUNT, 256);
    CLEANUP_FREE bool *kept = alloc_array(COUNT, sizeof(bool));
    CLEANUP_FREE struct plan_place *places = alloc_array(COUNT, sizeof(struct plan_place));
    struct dice dice = {5};

    for (uint32_t i = 0; i < COUNT; i++)
        sizes[i] = 256;
    dice_fill(&dice, image, COUNT * 256);
    struct chunk_table *table = publish_table_cut(image, sizes, COUNT, 1024);
    struct chunk_index *index = chunk_index_new(table);
    for (uint32_t shift = 0; shift < 3; shift++) {
        /* back to front, front to back, and two half-circles that meet */
        for (uint32_t i = 0; i < COUNT; i++)
            places[i] = (struct plan_place){.source = PLAN_SOURCE_TARGET,
                                            .offset = (shift == 0   ? (i + 1) % COUNT
                                                       : shift == 1 ? (i + COUNT - 1) % COUNT
                                                                    : COUNT - 1 - i) *
                                                      256};
        struct plan *plan = plan_new(&(struct plan_input){
            .table = table, .index = index, .kept = kept, .places = places, .run_size_max = 256});
        assert_int_equal(plan_totals(plan)->cycles_broken, shift < 2 ? 1 : COUNT / 2);
        plan_free(plan);
    }
    chunk_index_free(index);
    chunk_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_image),
        cmocka_unit_test(test_nothing_there_and_all_there),
        cmocka_unit_test(test_an_insertion_moves_everything_without_a_fetch_but_its_own),
        cmocka_unit_test(test_two_that_change_places_cost_one_fetch),
        cmocka_unit_test(test_a_rotation_costs_one_fetch),
        cmocka_unit_test(test_two_circles_cost_two_fetches),
        cmocka_unit_test(test_what_merely_waits_for_a_circle_is_not_fetched),
        cmocka_unit_test(test_the_smallest_run_of_a_circle_is_fetched),
        cmocka_unit_test(test_circles_that_patches_close_again_and_again),
        cmocka_unit_test(test_patches_that_everything_waits_for),
        cmocka_unit_test(test_a_batch_makes_only_so_much),
        cmocka_unit_test(test_a_chunk_that_occurs_often_is_fetched_once),
        cmocka_unit_test(test_the_overhead_is_told),
        cmocka_unit_test(test_long_circles_and_chains),
        cmocka_unit_test(test_random_plans_carried_out_in_any_order),
        cmocka_unit_test(test_random_plans_interrupted_and_resumed),
        cmocka_unit_test(test_random_plans_with_a_pack_carried_out_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
