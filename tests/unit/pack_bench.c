/* SPDX-License-Identifier: MIT */
#include "tests/unit/pack_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/image/frame_index.h"
#include "common/image/patch_list.h"
#include "common/image/table_difference.h"
#include "common/image/zstd_frame.h"

static void forget_published(struct published *published)
{
    manifest_free(published->manifest);
    chunk_index_free(published->index);
    chunk_table_free(published->table);
    zstd_unpacker_free(published->unpacker);
    free(published->pack.data);
    free(published->chunks.data);
    memset(published, 0, sizeof(*published));
}

void pack_bench_forget(struct fixture *fixture)
{
    forget_published(&fixture->published);
    free(fixture->image.data);
    for (uint32_t i = 0; i < fixture->base_count; i++)
        free(fixture->bases[i].data);
    fixture->image = (struct bytes){0};
    fixture->base_count = 0;
}

int pack_bench_set_up(void **state)
{
    struct fixture *fixture = alloc_zeroed(sizeof(*fixture));

    fixture->folder = folder_new();
    *state = fixture;
    return 0;
}

int pack_bench_tear_down(void **state)
{
    struct fixture *fixture = *state;

    pack_bench_forget(fixture);
    folder_free(fixture->folder);
    free(fixture);
    return 0;
}

struct bytes make_image(struct dice *dice, size_t size)
{
    struct bytes image = {.data = alloc_zeroed(size + 1), .size = size};

    for (size_t at = 0; at < size;) {
        size_t part = 1 + dice_below(dice, 6000), kind = dice_below(dice, 8);
        part = part < size - at ? part : size - at;
        if (kind < 4)
            dice_fill(dice, image.data + at, part);
        else if (kind < 7)
            for (size_t i = 0; i < part; i++)
                image.data[at + i] = "the quick brown fox"[(dice_below(dice, 3) + i) % 19];
        at += part;
    }
    return image;
}

struct bytes copy_of(struct bytes bytes)
{
    struct bytes copy = {.data = alloc_zeroed(bytes.size + 1), .size = bytes.size};

    if (bytes.size > 0)
        memcpy(copy.data, bytes.data, bytes.size);
    return copy;
}

/* Replaces `cut` bytes at `at` by others. */
static void splice(struct bytes *bytes, size_t at, size_t cut, const uint8_t *data, size_t size)
{
    struct bytes other = {.data = alloc_zeroed(bytes->size - cut + size + 1),
                          .size = bytes->size - cut + size};

    memcpy(other.data, bytes->data, at);
    if (size > 0)
        memcpy(other.data + at, data, size);
    memcpy(other.data + at + size, bytes->data + at + cut, bytes->size - cut - at);
    free(bytes->data);
    *bytes = other;
}

/* One edit: bytes inserted, deleted, replaced, moved or doubled. */
void edit(struct dice *dice, struct bytes *bytes)
{
    size_t most = bytes->size / 4 + 1, size = 1 + dice_below(dice, dice_below(dice, 2) ? 50 : (uint32_t)most);
    size_t at = dice_below(dice, (uint32_t)bytes->size + 1);
    size_t cut = size < bytes->size - at ? size : bytes->size - at;
    CLEANUP_FREE uint8_t *fresh = alloc_zeroed(size), *taken = alloc_zeroed(cut + 1);

    dice_fill(dice, fresh, size);
    memcpy(taken, bytes->data + at, cut);
    switch (dice_below(dice, 5)) {
    case 0:
        splice(bytes, at, 0, fresh, size);
        break;
    case 1:
        splice(bytes, at, cut, NULL, 0);
        break;
    case 2:
        splice(bytes, at, cut, fresh, cut);
        break;
    case 3:
        splice(bytes, at, cut, NULL, 0);
        splice(bytes, dice_below(dice, (uint32_t)bytes->size + 1), 0, taken, cut);
        break;
    default:
        splice(bytes, dice_below(dice, (uint32_t)bytes->size + 1), 0, taken, cut);
        break;
    }
}

static struct bytes must_read(const char *folder, const char *name)
{
    CLEANUP_FREE char *path = alloc_printf("%s/%s", folder, name);
    struct bytes bytes;
    char *data;
    struct error error;

    if (!file_read(path, 64 * 1024 * 1024, &data, &bytes.size, &error))
        fail_msg("%s", error.message);
    bytes.data = (uint8_t *)data;
    return bytes;
}

/* Every stage goes on to its end, and never back. */
struct watcher {
    const char *stage;
    uint64_t done, total;
    unsigned stages;
};

static void watch(void *owner, const char *stage, uint64_t done, uint64_t total)
{
    struct watcher *watcher = owner;

    if (!watcher->stage || strcmp(watcher->stage, stage) != 0) {
        assert_int_equal(watcher->done, watcher->total);
        *watcher = (struct watcher){.stage = stage, .total = total, .stages = watcher->stages + 1};
    }
    assert_true(watcher->done <= done && done <= total);
    assert_int_equal(total, watcher->total);
    watcher->done = done;
}

bool pack_bench_generate(struct fixture *fixture, struct generate_result *ret_result, struct error *error)
{
    CLEANUP_FREE char *image =
        folder_write(fixture->folder, "image", fixture->image.data, fixture->image.size);
    struct watcher watcher = {0};
    char *paths[BASES_MAX];
    const char *bases[BASES_MAX];

    for (uint32_t i = 0; i < fixture->base_count; i++) {
        CLEANUP_FREE char *name = alloc_printf("base%u", i);
        bases[i] = paths[i] =
            folder_write(fixture->folder, name, fixture->bases[i].data, fixture->bases[i].size);
    }
    struct generate_settings settings = {.image_path = image,
                                         .chunk_size = 4096,
                                         .average = AVERAGE,
                                         .with_pack = fixture->with_pack,
                                         .base_paths = bases,
                                         .base_count = fixture->base_count,
                                         .span_max = SPAN_MAX,
                                         .output_max = OUTPUT_MAX,
                                         .progress = watch,
                                         .owner = &watcher};
    bool ok = generate_files(&settings, ret_result, error);
    if (ok) {
        assert_int_equal(watcher.done, watcher.total);
        assert_int_equal(watcher.stages, fixture->base_count > 0 ? 3 : 2);
    }
    for (uint32_t i = 0; i < fixture->base_count; i++)
        free(paths[i]);
    return ok;
}

static void publish(struct fixture *fixture)
{
    struct published *published = &fixture->published;
    struct error error;

    forget_published(published);
    if (!pack_bench_generate(fixture, &published->result, &error))
        fail_msg("%s", error.message);
    struct bytes text = must_read(fixture->folder, "image.json");
    published->chunks = must_read(fixture->folder, "image.chunks");
    published->pack = must_read(fixture->folder, "image.pack");
    if (!manifest_parse((char *)text.data, text.size, &published->manifest, &error) ||
        !chunk_table_parse(copy_of(published->chunks).data, published->chunks.size, fixture->image.size,
                           &published->table, &error))
        fail_msg("%s", error.message);
    free(text.data);
    published->index = chunk_index_new(published->table);
    published->unpacker = zstd_unpacker_new();
    assert_true(published->manifest->pack.present);
    assert_int_equal(published->manifest->pack.size, published->pack.size);
    assert_string_equal(published->manifest->pack.url, "image.pack");
    assert_int_equal(published->manifest->pack.has_frames, fixture->with_pack);
    assert_int_equal(published->manifest->pack.base_count, fixture->base_count);
}

static struct bytes unpack_section(struct published *published, const struct manifest_section *section)
{
    struct bytes bytes = {.data = alloc_zeroed(section->unpacked + 1), .size = section->unpacked};
    uint8_t sha256[DIGEST_SHA256_SIZE];

    digest_sha256(published->pack.data + section->offset, section->size, sha256);
    assert_memory_equal(sha256, section->sha256, sizeof(sha256));
    assert_int_equal(zstd_unpack(published->unpacker, NULL, 0, published->pack.data + section->offset,
                                 section->size, bytes.data, bytes.size),
                     0);
    return bytes;
}

static void check_frames(struct fixture *fixture)
{
    struct published *published = &fixture->published;
    uint32_t count = chunk_table_count(published->table);
    CLEANUP_FREE uint32_t *first_alike = alloc_array(count, sizeof(*first_alike));
    CLEANUP_FREE uint8_t *chunk = alloc_zeroed(chunk_table_size_max(published->table));
    struct bytes section = unpack_section(published, &published->manifest->pack.frames);
    struct frame_index *frames;
    struct error error;

    for (uint32_t i = 0; i < count; i++)
        first_alike[i] = chunk_index_first_alike(published->index, i);
    if (!frame_index_parse(section.data, section.size, published->table, first_alike, published->pack.size,
                           &frames, &error))
        fail_msg("%s", error.message);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *frame = published->pack.data + frame_index_offset(frames, i);
        size_t size = chunk_table_size(published->table, i);
        if (frame_index_size(frames, i) == size)
            memcpy(chunk, frame, size);
        else
            assert_int_equal(
                zstd_unpack(published->unpacker, NULL, 0, frame, frame_index_size(frames, i), chunk, size),
                0);
        assert_memory_equal(chunk, fixture->image.data + chunk_table_offset(published->table, i), size);
    }
    frame_index_free(frames);
    free(section.data);
}

/* The rows that a device has of a base it cut itself. */
static struct table_rows cut_base(struct bytes base)
{
    struct table_rows rows = {0};
    struct bytes file;
    struct chunk_table *table = publish_table(base.data, base.size, AVERAGE, &file.data, &file.size);

    rows.count = chunk_table_count(table);
    rows.offsets = alloc_array(rows.count, sizeof(*rows.offsets));
    rows.rows = file.data;
    memmove(rows.rows, rows.rows + CHUNK_TABLE_HEADER_SIZE, file.size - CHUNK_TABLE_HEADER_SIZE);
    for (uint32_t i = 0; i < rows.count; i++)
        rows.offsets[i] = chunk_table_offset(table, i);
    chunk_table_free(table);
    return rows;
}

/* All rows come out, of a base that is followed by something else too. */
static void check_difference(struct published *published, const struct table_difference *difference,
                             struct bytes base)
{
    struct bytes longer = copy_of(base);
    uint8_t rows[TABLE_DIFFERENCE_BLOCK_ROWS * CHUNK_TABLE_ROW_SIZE];
    struct dice dice = {99};
    CLEANUP_FREE uint8_t *more = alloc_zeroed(10000);

    dice_fill(&dice, more, 10000);
    splice(&longer, longer.size, 0, more, 10000);
    struct table_rows cuts[] = {cut_base(base), cut_base(longer)};
    for (uint32_t block = 0; block < table_difference_blocks(difference); block++)
        for (size_t i = 0; i < 2; i++) {
            assert_true(table_difference_make_block(difference, block, &cuts[i], rows));
            assert_memory_equal(rows,
                                published->chunks.data + CHUNK_TABLE_HEADER_SIZE +
                                    (size_t)block * TABLE_DIFFERENCE_BLOCK_ROWS * CHUNK_TABLE_ROW_SIZE,
                                (size_t)table_difference_block_rows(difference, block) *
                                    CHUNK_TABLE_ROW_SIZE);
        }
    for (size_t i = 0; i < 2; i++) {
        free(cuts[i].offsets);
        free(cuts[i].rows);
    }
    free(longer.data);
}

static void check_patch(struct fixture *fixture, struct bytes base, const struct patch_list *list,
                        const struct patch *patch)
{
    struct published *published = &fixture->published;
    const struct patch_span *spans = patch_list_spans(list, patch);
    CLEANUP_FREE uint8_t *prefix = alloc_zeroed(patch->spans_size),
                         *output = alloc_zeroed(patch->output_size);
    size_t size = 0;

    for (uint32_t i = 0; i < patch->span_count; i++) {
        memcpy(prefix + size, base.data + spans[i].offset, spans[i].size);
        size += spans[i].size;
    }
    assert_int_equal(digest_xxh3(prefix, size), patch->spans_xxh3);
    assert_int_equal(zstd_unpack(published->unpacker, prefix, size,
                                 published->pack.data + patch->frame_offset, patch->frame_size, output,
                                 patch->output_size),
                     0);
    assert_memory_equal(output, fixture->image.data + chunk_table_offset(published->table, patch->first),
                        patch->output_size);
}

static void check_probes(const struct manifest_base *manifest, struct bytes base, struct bytes image)
{
    bool same = base.size <= image.size && memcmp(base.data, image.data, base.size) == 0;
    unsigned differ = 0;

    for (uint32_t i = 0; i < manifest->probe_count; i++) {
        const struct manifest_probe *probe = &manifest->probes[i];
        size_t left = base.size - probe->offset,
               size = left < MANIFEST_PROBE_SIZE ? left : MANIFEST_PROBE_SIZE;
        assert_int_equal(digest_xxh3(base.data + probe->offset, size), probe->xxh3);
        differ += probe->offset + size > image.size ||
                  memcmp(base.data + probe->offset, image.data + probe->offset, size) != 0;
    }
    assert_true(same || differ > 0);
}

/* Returns the bytes that a device with base `which` would fetch beside the manifest. */
static uint64_t check_base(struct fixture *fixture, uint32_t which)
{
    struct published *published = &fixture->published;
    const struct manifest_base *manifest = &published->manifest->pack.bases[which];
    const struct pack_base_result *result = &published->result.pack.bases[which];
    struct bytes base = fixture->bases[which], section = unpack_section(published, &manifest->index);
    struct table_difference *difference;
    struct patch_list *list;
    struct error error;
    size_t used;
    uint64_t patch_bytes = 0;

    assert_int_equal(manifest->size, base.size);
    if (!table_difference_parse(section.data, section.size, published->chunks.size, base.size, &difference,
                                &used, &error) ||
        !patch_list_parse(section.data + used, section.size - used, published->table, manifest,
                          published->pack.size, &list, &error))
        fail_msg("%s", error.message);
    check_difference(published, difference, base);
    for (uint32_t i = 0; i < patch_list_count(list); i++) {
        check_patch(fixture, base, list, patch_list_at(list, i));
        patch_bytes += patch_list_at(list, i)->frame_size;
    }
    check_probes(manifest, base, fixture->image);
    assert_int_equal(result->patch_count, patch_list_count(list));
    assert_int_equal(result->patch_bytes, patch_bytes);
    assert_int_equal(result->index_bytes, manifest->index.size);
    patch_list_free(list);
    table_difference_free(difference);
    free(section.data);
    return patch_bytes + manifest->index.size + result->missing_bytes;
}

uint64_t pack_bench_check(struct fixture *fixture)
{
    uint64_t bytes = 0;

    publish(fixture);
    if (fixture->with_pack)
        check_frames(fixture);
    for (uint32_t i = 0; i < fixture->base_count; i++)
        bytes = check_base(fixture, i);
    return bytes;
}
