/* SPDX-License-Identifier: MIT */
#include "tests/unit/plan_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/unit/byte_writer.h"

void bytes_append(struct bytes *bytes, const uint8_t *data, size_t size)
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

const struct bytes *world_source(const struct world *world, uint32_t source)
{
    return source == PLAN_SOURCE_TARGET ? &world->target : &world->seeds[source - PLAN_SOURCE_SEED_FIRST];
}

void world_scan(struct world *world, bool all)
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

void world_plan(struct world *world)
{
    const struct plan_input input = {
        .table = world->table,
        .index = world->index,
        .kept = world->kept,
        .places = world->places,
        .run_size_max = world->run_size_max,
        .frames = world->frames,
        .patches = world->patches,
        .patch_sources = world->patch_sources,
    };

    world->before = world->target;
    world->plan = plan_new(&input);
}

void world_init(struct world *world, uint64_t seed)
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

void world_finish(struct world *world)
{
    plan_free(world->plan);
    patch_list_free(world->patches);
    frame_index_free(world->frames);
    chunk_index_free(world->index);
    chunk_table_free(world->table);
}

void world_init_plain(struct world *world, uint32_t count)
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

void world_make_patches(struct world *world)
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
        bool in_target = true;
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t offset = dice_below(&world->dice, (uint32_t)source->size);
            uint32_t left = (uint32_t)source->size - offset;
            uint32_t size = 1 + dice_below(&world->dice, left < 2000 ? left : 2000);
            byte_writer_varint(&list, offset);
            byte_writer_varint(&list, size);
            in_target = in_target && offset + size <= world->target.size;
        }
        byte_writer_fixed64(&list, 1);
        chunk += gap + chunks;
        /* Some have to do with another source than the others, which may be the target. */
        uint32_t luck = dice_below(&world->dice, 8);
        world->patch_sources[patches++] = luck < 2                 ? PLAN_SOURCE_NONE
                                          : luck == 2 && in_target ? PLAN_SOURCE_TARGET
                                                                   : (uint8_t)world->patch_source;
    }
    byte_writer_varint(&whole, patches);
    byte_writer_bytes(&whole, list.data, list.size);
    if (!patch_list_parse(whole.data, whole.size, world->table, &base, UINT64_C(1) << 40, &world->patches,
                          NULL))
        world->patches = NULL; /* a chunk of one byte has no frame that is smaller */
    byte_writer_finish(&list);
    byte_writer_finish(&whole);
}

void world_make_frames(struct world *world)
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
