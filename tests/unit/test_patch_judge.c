/* SPDX-License-Identifier: MIT */
/* Which patches can be used, slice by slice. */
#include "common/sinter/patch_judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "tests/unit/byte_writer.h"
#include "tests/unit/publisher.h"

enum {
    CHUNK = 1024,
    COUNT = 12,         /* chunks, each made by one patch */
    HALF = 1024 * 1024, /* a span; each patch has two */
    SPANS = 2 * HALF,
    OLD_SIZE = COUNT * 1000 + SPANS, /* patch p needs what lies from 1000 p on */
    STARTS = 9,                      /* so many patches do with the start */
    SLICE = 8 * 1024 * 1024,
};

struct fixture {
    char *folder, *path, *start_path;
    struct device *source, *start; /* the old release, and one that ends in the middle of it */
    struct chunk_table *table;
    struct chunk_index *index;
    struct patch_list *patches;
    struct plan_place places[COUNT];
    bool kept[COUNT], never_copy[COUNT], failed[COUNT];
    uint8_t from[COUNT];
    struct patch_judge_source sources[2];
    atomic_bool stop;
    struct patch_judge *judge;
};

enum {
    OTHER_BYTES = 1, /* this patch was made against other bytes */
    OUTSIDE = 2,     /* needs more than the source holds */
    FAILED = 4,
    KEPT = 5,
    COPIED = 6,
    COPIED_WRONG = 7, /* at hand, but it was tried to copy it */
};

static void write_patches(struct byte_writer *writer, const uint8_t *old)
{
    byte_writer_varint(writer, COUNT);
    for (uint32_t p = 0; p < COUNT; p++) {
        uint64_t offset = (uint64_t)p * 1000 + (p == OUTSIDE ? OLD_SIZE : 0);
        byte_writer_varint(writer, 0);
        byte_writer_varint(writer, 1);
        byte_writer_varint(writer, 10);
        byte_writer_varint(writer, 2);
        byte_writer_varint(writer, offset);
        byte_writer_varint(writer, HALF);
        byte_writer_varint(writer, offset + HALF);
        byte_writer_varint(writer, HALF);
        byte_writer_fixed64(writer, p == OUTSIDE ? 0 : digest_xxh3(old + offset, SPANS) + (p == OTHER_BYTES));
    }
}

static int set_up(void **state)
{
    struct fixture *fixture = alloc_zeroed(sizeof(*fixture));
    const struct manifest_base base = {.size = 2 * OLD_SIZE, .span_max = SPANS, .output_max = CHUNK};
    CLEANUP_FREE uint8_t *old = alloc_zeroed(OLD_SIZE);
    struct byte_writer writer = {0};
    struct dice dice = {6};
    uint8_t image[COUNT * CHUNK];
    uint32_t sizes[COUNT];
    struct error error;

    dice_fill(&dice, old, OLD_SIZE);
    dice_fill(&dice, image, sizeof(image));
    for (uint32_t i = 0; i < COUNT; i++) {
        sizes[i] = CHUNK;
        fixture->places[i].source = PLAN_SOURCE_NONE;
    }
    fixture->failed[FAILED] = true;
    fixture->kept[KEPT] = true;
    fixture->places[COPIED].source = fixture->places[COPIED_WRONG].source = PLAN_SOURCE_SEED_FIRST;
    fixture->never_copy[COPIED_WRONG] = true;
    fixture->folder = folder_new();
    fixture->path = folder_write(fixture->folder, "old", old, OLD_SIZE);
    fixture->start_path = folder_write(fixture->folder, "start", old, (STARTS - 1) * 1000 + SPANS);
    fixture->table = publish_table_cut(image, sizes, COUNT, CHUNK);
    fixture->index = chunk_index_new(fixture->table);
    write_patches(&writer, old);
    if (!patch_list_parse(writer.data, writer.size, fixture->table, &base, 1000, &fixture->patches, &error) ||
        !device_open_source(fixture->path, &fixture->source, &error) ||
        !device_open_source(fixture->start_path, &fixture->start, &error))
        fail_msg("%s", error.message);
    byte_writer_finish(&writer);
    fixture->sources[0] = (struct patch_judge_source){.number = 7, .device = fixture->start};
    fixture->sources[1] = (struct patch_judge_source){.number = 3, .device = fixture->source};
    const struct patch_judge_input input = {
        .index = fixture->index,
        .patches = fixture->patches,
        .sources = fixture->sources,
        .source_count = 2,
        .kept = fixture->kept,
        .places = fixture->places,
        .never_copy = fixture->never_copy,
        .failed = fixture->failed,
        .stop = &fixture->stop,
    };
    fixture->judge = patch_judge_new(&input, fixture->from);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    assert_null(patch_judge_free(fixture->judge));
    assert_null(patch_judge_free(NULL));
    patch_list_free(fixture->patches);
    chunk_index_free(fixture->index);
    chunk_table_free(fixture->table);
    device_close(fixture->source);
    device_close(fixture->start);
    folder_free(fixture->folder);
    free(fixture->path);
    free(fixture->start_path);
    free(fixture);
    return 0;
}

static void test_what_can_be_used(void **state)
{
    struct fixture *fixture = *state;
    uint64_t bytes, total = 0;
    unsigned slices = 0;

    for (; !patch_judge_is_over(fixture->judge); slices++) {
        assert_true(patch_judge_slice(fixture->judge, &bytes));
        /* What is not needed takes no time, so it may come on top. */
        assert_in_range(bytes, SPANS, SLICE + 3 * SPANS);
        total += bytes;
    }
    assert_true(slices >= 3);
    assert_int_equal(total, patch_judge_total(fixture->patches));
    assert_int_equal(total, (uint64_t)COUNT * SPANS);
    for (uint32_t p = 0; p < COUNT; p++) {
        bool usable = p != OTHER_BYTES && p != OUTSIDE && p != FAILED && p != KEPT && p != COPIED;
        assert_int_equal(fixture->from[p], !usable ? PLAN_SOURCE_NONE : p < STARTS ? 7 : 3);
    }
}

/* Between two patches, not only between two slices. */
static void test_a_stop_is_heeded(void **state)
{
    struct fixture *fixture = *state;
    uint64_t bytes;

    assert_true(patch_judge_slice(fixture->judge, &bytes));
    assert_true(bytes > 0);
    atomic_store(&fixture->stop, true);
    assert_true(patch_judge_slice(fixture->judge, &bytes));
    assert_int_equal(bytes, 0);
    assert_false(patch_judge_is_over(fixture->judge));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_can_be_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_stop_is_heeded, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
