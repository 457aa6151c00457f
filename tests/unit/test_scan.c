/* SPDX-License-Identifier: MIT */
#include "common/sinter/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/io/pool.h"
#include "tests/unit/publisher.h"

enum { MIB = 1024 * 1024 };

struct fixture {
    struct dice dice;
    char *folder, *path;
    struct event_base *base;
    struct pool *pool;
    uint8_t *image, *source; /* what is looked for, and where */
    size_t image_size, source_size;
    struct chunk_table *table;
    struct chunk_index *index;
    struct device *device;
    struct scan_settings settings;
    struct scan *scan;
    /* what was told */
    uint64_t bytes;
    unsigned progresses, dones;
    size_t largest_batch;
    struct scan_find *finds;
    size_t find_count;
    bool failed;
    struct error error;
    uint32_t xxh32;
    unsigned stop_at; /* progress at which to stop; 0 = never */
    bool sparse;      /* the source's zeros are holes */
};

static struct fixture shared;

static void on_progress(void *owner, uint64_t bytes, const struct scan_find *finds, size_t count)
{
    struct fixture *fixture = owner;

    assert_int_equal(fixture->dones, 0);
    fixture->bytes += bytes;
    fixture->finds = realloc(fixture->finds, (fixture->find_count + count + 1) * sizeof(*finds));
    if (count)
        memcpy(fixture->finds + fixture->find_count, finds, count * sizeof(*finds));
    fixture->find_count += count;
    if (count > fixture->largest_batch)
        fixture->largest_batch = count;
    if (++fixture->progresses == fixture->stop_at)
        scan_stop(fixture->scan);
}

static void on_done(void *owner, const struct error *error, uint32_t xxh32)
{
    struct fixture *fixture = owner;

    fixture->dones++;
    fixture->failed = error != NULL;
    if (error)
        fixture->error = *error;
    fixture->xxh32 = xxh32;
    fixture->scan = scan_free(fixture->scan);
    event_base_loopbreak(fixture->base);
}

static const struct scan_events events = {on_progress, on_done};

static void setup(struct fixture *fixture, size_t image_size, size_t source_room)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->dice.state = image_size + source_room;
    fixture->folder = folder_new();
    fixture->base = event_base_new();
    assert_true(pool_new(fixture->base, 1, &fixture->pool, NULL));
    fixture->image_size = image_size;
    fixture->image = alloc_zeroed(image_size);
    dice_fill(&fixture->dice, fixture->image, image_size);
    fixture->source = alloc_zeroed(source_room);
}

static void setup_table(struct fixture *fixture, struct chunk_table *table)
{
    fixture->table = table;
    fixture->index = chunk_index_new(table);
}

static void teardown(struct fixture *fixture)
{
    scan_free(fixture->scan);
    device_close(fixture->device);
    pool_free(fixture->pool);
    event_base_free(fixture->base);
    chunk_index_free(fixture->index);
    chunk_table_free(fixture->table);
    free(fixture->finds);
    free(fixture->image);
    free(fixture->source);
    free(fixture->path);
    folder_free(fixture->folder);
}

static void source_add(struct fixture *fixture, const uint8_t *data, size_t size)
{
    memcpy(fixture->source + fixture->source_size, data, size);
    fixture->source_size += size;
}

/* Makes holes of whole blocks of zeros; where the file system has none, nothing is lost but the test's sense.
 */
static void punch_holes(const struct fixture *fixture)
{
    enum { BLOCK = 64 * 1024 };
    static const uint8_t zeros[BLOCK];
    CLEANUP_FD int fd = open(fixture->path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    for (size_t at = 0; at + BLOCK <= fixture->source_size; at += BLOCK)
        if (memcmp(fixture->source + at, zeros, BLOCK) == 0)
            fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, BLOCK);
}

static void start(struct fixture *fixture)
{
    fixture->path = folder_write(fixture->folder, "source", fixture->source, fixture->source_size);
    if (fixture->sparse)
        punch_holes(fixture);
    assert_true(device_open_source(fixture->path, &fixture->device, NULL));
    fixture->settings.device = fixture->device;
    fixture->settings.size_bytes = fixture->source_size;
    fixture->settings.table = fixture->table;
    fixture->settings.index = fixture->index;
    fixture->scan = scan_start(fixture->pool, &fixture->settings, &events, fixture);
}

static void finish(struct fixture *fixture)
{
    assert_int_equal(event_base_dispatch(fixture->base), 0);
    assert_int_equal(fixture->dones, 1);
}

static bool source_holds(const struct fixture *fixture, uint32_t chunk, uint64_t offset)
{
    uint32_t size = chunk_table_size(fixture->table, chunk);

    return offset + size <= fixture->source_size &&
           memcmp(fixture->source + offset, fixture->image + chunk_table_offset(fixture->table, chunk),
                  size) == 0;
}

/* Each find is true, and of the target every chunk in place was found. */
static void check_finds(const struct fixture *fixture)
{
    uint32_t count = chunk_table_count(fixture->table);
    CLEANUP_FREE uint8_t *in_place = alloc_array(count, 1);

    for (size_t i = 0; i < fixture->find_count; i++) {
        const struct scan_find *find = &fixture->finds[i];
        assert_true(find->chunk < count);
        assert_true(source_holds(fixture, find->chunk, find->offset));
        if (find->in_place) {
            assert_int_equal(find->offset, chunk_table_offset(fixture->table, find->chunk));
            assert_int_equal(in_place[find->chunk]++, 0);
        } else {
            assert_int_equal(chunk_index_first_alike(fixture->index, find->chunk), find->chunk);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        bool there = source_holds(fixture, i, chunk_table_offset(fixture->table, i));
        assert_int_equal(in_place[i], fixture->settings.is_target && there);
    }
    if (!fixture->failed && !fixture->stop_at)
        assert_int_equal(fixture->bytes, fixture->source_size);
}

/* Bytes of the image whose chunks were found anywhere. */
static uint64_t found_bytes(const struct fixture *fixture)
{
    uint32_t count = chunk_table_count(fixture->table);
    CLEANUP_FREE uint8_t *found = alloc_array(count, 1);
    uint64_t bytes = 0;

    for (size_t i = 0; i < fixture->find_count; i++)
        found[chunk_index_first_alike(fixture->index, fixture->finds[i].chunk)] = 1;
    for (uint32_t i = 0; i < count; i++)
        bytes += found[chunk_index_first_alike(fixture->index, i)] ? chunk_table_size(fixture->table, i) : 0;
    return bytes;
}

/* The image with pieces inserted, deleted, doubled and overwritten. */
static void make_edited_source(struct fixture *fixture, unsigned edits)
{
    uint8_t noise[5000];
    size_t at = 0;

    dice_fill(&fixture->dice, noise, sizeof(noise));
    for (unsigned i = 0; i < edits; i++) {
        size_t size = dice_below(&fixture->dice, (uint32_t)(fixture->image_size / edits) + 1);
        source_add(fixture, fixture->image + at, size);
        at += size;
        switch (dice_below(&fixture->dice, 4)) {
        case 0:
            source_add(fixture, noise, dice_below(&fixture->dice, sizeof(noise)));
            break;
        case 1:
            at += dice_below(&fixture->dice, 3000);
            break;
        case 2:
            source_add(fixture, fixture->image, size < 100 * 1000 ? size : 100 * 1000);
            break;
        default:
            if (fixture->source_size)
                fixture->source[dice_below(&fixture->dice, (uint32_t)fixture->source_size)] ^= 1;
            break;
        }
        at = at < fixture->image_size ? at : fixture->image_size;
        size_t left = fixture->image_size - at;
        if (left < fixture->image_size / edits)
            break;
    }
    source_add(fixture, fixture->image + at, fixture->image_size - at);
}

static void test_edited_sources_of_all_averages(void **state)
{
    static const uint32_t averages[] = {1024, 4096, 32 * 1024, 256 * 1024};

    for (unsigned a = 0; a < 4; a++) {
        for (unsigned round = 0; round < 4; round++) {
            unsigned edits = round == 0 ? 1 : 5;
            setup(&shared, 3 * MIB + round * 12345, 8 * MIB);
            shared.dice.state += a;
            setup_table(&shared, publish_table(shared.image, shared.image_size, averages[a], NULL, NULL));
            make_edited_source(&shared, edits);
            shared.settings.is_target = round % 2;
            shared.settings.hash = round % 3 == 0;
            start(&shared);
            finish(&shared);
            assert_false(shared.failed);
            check_finds(&shared);
            /* An edit costs the chunks it touches and what the cutting takes to fall into step again. */
            uint64_t lost = shared.image_size - found_bytes(&shared);
            if (lost > (uint64_t)edits * (3000 + 16 * averages[a]))
                fail_msg("%lu bytes of average %u are lost to %u edits", (unsigned long)lost, averages[a],
                         edits);
            size_t hashed = shared.source_size < shared.image_size ? shared.source_size : shared.image_size;
            assert_int_equal(shared.xxh32, shared.settings.hash ? digest_xxh32(shared.source, hashed) : 0);
            teardown(&shared);
        }
    }
}

/* Every chunk of the image is found in the image itself, wherever the windows of the scan end. */
static void test_the_image_itself_at_any_shift(void **state)
{
    static const size_t shifts[] = {0, 1, 4095, MIB - 1, MIB, MIB + 1, 2 * MIB - 100};
    static const uint32_t averages[] = {1024, 32 * 1024, 256 * 1024};

    for (unsigned a = 0; a < 3; a++) {
        for (unsigned i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++) {
            setup(&shared, 3 * MIB + 1, 6 * MIB);
            setup_table(&shared, publish_table(shared.image, shared.image_size, averages[a], NULL, NULL));
            memset(shared.source, 7, shifts[i]);
            shared.source_size = shifts[i];
            source_add(&shared, shared.image, shared.image_size);
            shared.settings.is_target = shifts[i] == 0;
            start(&shared);
            finish(&shared);
            check_finds(&shared);
            assert_true(shared.image_size - found_bytes(&shared) <= (shifts[i] ? 8 * averages[a] : 0));
            teardown(&shared);
        }
    }
}

static void test_chunks_that_occur_often(void **state)
{
    setup(&shared, 2 * MIB, 4 * MIB);
    memset(shared.image + MIB / 2, 0, MIB);
    setup_table(&shared, publish_table(shared.image, shared.image_size, 4096, NULL, NULL));
    source_add(&shared, shared.image, shared.image_size);
    memset(shared.source, 0, MIB / 2);
    shared.settings.is_target = true;
    start(&shared);
    finish(&shared);
    check_finds(&shared);
    assert_true(found_bytes(&shared) >= shared.image_size - MIB / 2 - 16 * 4096);
    teardown(&shared);
}

/* Runs of zeros of all lengths, each behind some noise. */
static void add_zeros(struct fixture *fixture)
{
    static const size_t runs[] = {100 * 1000, 5 * MIB, 3 * MIB + 12345, 0, 9 * MIB - 1, 70 * 1000};
    size_t at = 0;

    for (unsigned i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        at += 300 * 1000 + dice_below(&fixture->dice, 100 * 1000);
        assert_true(at + runs[i] <= fixture->image_size);
        memset(fixture->image + at, 0, runs[i]);
        at += runs[i];
    }
    /* The last one goes up to the end. */
    at += 300 * 1000;
    memset(fixture->image + at, 0, fixture->image_size - at);
}

/* Whether zeros are read, or not for being holes, the same is found. */
static void test_holes_are_zeros(void **state)
{
    static const uint32_t averages[] = {1024, 32 * 1024, 256 * 1024, 0};

    for (unsigned i = 0; i < 16; i++) {
        uint64_t found[2];
        uint32_t hash[2];
        for (unsigned sparse = 0; sparse < 2; sparse++) {
            setup(&shared, 26 * MIB + 777, 80 * MIB);
            add_zeros(&shared);
            setup_table(&shared,
                        averages[i % 4]
                            ? publish_table(shared.image, shared.image_size, averages[i % 4], NULL, NULL)
                            : publish_fixed_table(shared.image, shared.image_size, 131072));
            shared.sparse = sparse;
            shared.settings.is_target = i & 4;
            shared.settings.prove = i % 3 == 0;
            shared.settings.hash = true;
            memset(shared.source, 7, i & 8 ? 5000 : 0);
            shared.source_size = i & 8 ? 5000 : 0;
            source_add(&shared, shared.image, shared.image_size);
            shared.source_size += 20 * MIB; /* and more zeros than the image has */
            start(&shared);
            finish(&shared);
            assert_false(shared.failed);
            check_finds(&shared);
            found[sparse] = found_bytes(&shared);
            hash[sparse] = shared.xxh32;
            teardown(&shared);
        }
        assert_int_equal(found[0], found[1]);
        assert_int_equal(hash[0], hash[1]);
    }
}

static void test_short_and_empty_sources(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 256, 1000, 4097};

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (unsigned fixed = 0; fixed < 2; fixed++) {
            setup(&shared, 100 * 1000, 5000);
            setup_table(&shared, fixed ? publish_fixed_table(shared.image, shared.image_size, 1000)
                                       : publish_table(shared.image, shared.image_size, 1024, NULL, NULL));
            source_add(&shared, shared.image, sizes[i]);
            shared.settings.is_target = true;
            shared.settings.hash = true;
            start(&shared);
            finish(&shared);
            assert_false(shared.failed);
            check_finds(&shared);
            assert_int_equal(shared.xxh32, digest_xxh32(shared.image, sizes[i]));
            teardown(&shared);
        }
    }
}

static void test_an_empty_image(void **state)
{
    for (unsigned fixed = 0; fixed < 2; fixed++) {
        setup(&shared, 0, 3 * MIB);
        setup_table(&shared, fixed ? publish_fixed_table(shared.image, 0, 1000)
                                   : publish_table(shared.image, 0, 1024, NULL, NULL));
        shared.source_size = 3 * MIB;
        shared.settings.is_target = true;
        start(&shared);
        finish(&shared);
        assert_int_equal(shared.find_count, 0);
        assert_int_equal(shared.bytes, 3 * MIB);
        teardown(&shared);
    }
}

/* Fixed chunks: at their own offset, in any source, of sizes that do not divide anything. */
static void test_fixed_chunks(void **state)
{
    static const uint32_t sizes[] = {100 * 1000 + 1, 131072, 3 * MIB + 17, 40 * MIB};

    for (unsigned i = 0; i < 4; i++) {
        for (unsigned target = 0; target < 2; target++) {
            setup(&shared, 7 * MIB + 5, 8 * MIB);
            setup_table(&shared, publish_fixed_table(shared.image, shared.image_size, sizes[i]));
            source_add(&shared, shared.image, shared.image_size);
            memset(shared.source + 2 * MIB, 1, 1000);
            shared.source_size = target ? 8 * MIB : shared.image_size;
            shared.settings.is_target = target;
            start(&shared);
            finish(&shared);
            if (target)
                check_finds(&shared);
            uint64_t found = 0;
            for (size_t f = 0; f < shared.find_count; f++) {
                const struct scan_find *find = &shared.finds[f];
                assert_int_equal(find->in_place, target);
                assert_int_equal(find->offset, chunk_table_offset(shared.table, find->chunk));
                assert_true(source_holds(&shared, find->chunk, find->offset));
                found += chunk_table_size(shared.table, find->chunk);
            }
            uint32_t size = chunk_table_size_max(shared.table), first = 2 * MIB / size;
            uint32_t last = (2 * MIB + 999) / size;
            assert_int_equal(found, shared.image_size - chunk_table_offset(shared.table, last + 1) +
                                        chunk_table_offset(shared.table, first));
            teardown(&shared);
        }
    }
}

/* The publisher says how large chunks are: no memory for them is the source's fault, and no abort. */
static void test_memory_that_is_not_there(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    struct rlimit before, low;
    unsigned long pages;

    setup(&shared, 41 * MIB, 41 * MIB);
    setup_table(&shared, publish_fixed_table(shared.image, shared.image_size, 20 * MIB));
    source_add(&shared, shared.image, shared.image_size);
    FILE *size = fopen("/proc/self/statm", "r");
    assert_non_null(size);
    assert_int_equal(fscanf(size, "%lu", &pages), 1);
    fclose(size);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    low = before;
    low.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + 24 * MIB;
    assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
    /* An emulator of programs (qemu-user) takes no such bound. */
    void *beyond = mmap(NULL, 30 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    start(&shared);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    finish(&shared);
    if (beyond == MAP_FAILED) {
        assert_true(shared.failed);
        assert_int_equal(shared.error.kind, ERROR_SYSTEM);
        assert_int_equal(shared.error.code, ENOMEM);
        assert_int_equal(shared.find_count, 0);
    }
    teardown(&shared);
}

/* Tiny chunks: what is told to the loop at once stays bounded, for it is memory, and time of the loop. */
static void test_tiny_chunks_come_in_small_batches(void **state)
{
    setup(&shared, 4 * MIB, 4 * MIB);
    setup_table(&shared, publish_fixed_table(shared.image, shared.image_size, 16));
    source_add(&shared, shared.image, shared.image_size);
    shared.settings.is_target = true;
    start(&shared);
    finish(&shared);
    assert_int_equal(shared.find_count, shared.image_size / 16);
    assert_true(shared.largest_batch <= MIB / 16 + 4096);
    teardown(&shared);
}

/* With `prove` a chunk is in place only where its SHA-256 says so, too. */
static void test_in_place_by_proof(void **state)
{
    for (unsigned prove = 0; prove < 2; prove++) {
        struct chunker chunker;
        uint8_t sha256[DIGEST_SHA256_SIZE] = {0}, *data;
        size_t size;
        setup(&shared, 1000, 2000);
        assert_int_equal(chunker_init(&chunker, 1024), 0);
        struct chunk_table_writer *writer = chunk_table_writer_new(&chunker);
        chunk_table_writer_add(writer, 500, digest_xxh3(shared.image, 500), sha256); /* not its SHA-256 */
        digest_sha256(shared.image + 500, 500, sha256);
        chunk_table_writer_add(writer, 500, digest_xxh3(shared.image + 500, 500), sha256);
        chunk_table_writer_take(writer, &data, &size);
        chunk_table_writer_free(writer);
        assert_true(chunk_table_parse(data, size, 1000, &shared.table, NULL));
        shared.index = chunk_index_new(shared.table);
        source_add(&shared, shared.image, 1000);
        shared.settings.is_target = true;
        shared.settings.prove = prove;
        start(&shared);
        finish(&shared);
        unsigned in_place = 0;
        for (size_t i = 0; i < shared.find_count; i++)
            in_place += shared.finds[i].in_place;
        assert_int_equal(in_place, prove ? 1 : 2);
        teardown(&shared);
    }
}

static void test_a_source_that_ends_early(void **state)
{
    setup(&shared, 20 * MIB, 20 * MIB);
    setup_table(&shared, publish_table(shared.image, shared.image_size, 32 * 1024, NULL, NULL));
    source_add(&shared, shared.image, shared.image_size);
    start(&shared);
    /* The first slice of 8 MiB may already be under way; the file ends beyond it. */
    assert_int_equal(truncate(shared.path, 12 * MIB + 100), 0);
    finish(&shared);
    assert_true(shared.failed);
    assert_int_equal(shared.error.kind, ERROR_SYSTEM);
    assert_non_null(strstr(shared.error.message, shared.path));
    check_finds(&shared);
    assert_true(shared.bytes > 11 * MIB && shared.bytes <= 12 * MIB + 100);
    assert_true(found_bytes(&shared) > shared.bytes - 256 * 1024);
    teardown(&shared);
}

static void test_stopped_in_the_middle(void **state)
{
    setup(&shared, 30 * MIB, 30 * MIB);
    setup_table(&shared, publish_table(shared.image, shared.image_size, 32 * 1024, NULL, NULL));
    source_add(&shared, shared.image, shared.image_size);
    shared.stop_at = 1;
    start(&shared);
    finish(&shared);
    assert_false(shared.failed);
    assert_true(shared.bytes > 0 && shared.bytes < shared.source_size);
    assert_true(shared.find_count > 0);
    teardown(&shared);
    assert_null(scan_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, for what others have freed stays at hand. */
        cmocka_unit_test(test_memory_that_is_not_there),
        cmocka_unit_test(test_edited_sources_of_all_averages),
        cmocka_unit_test(test_the_image_itself_at_any_shift),
        cmocka_unit_test(test_chunks_that_occur_often),
        cmocka_unit_test(test_holes_are_zeros),
        cmocka_unit_test(test_short_and_empty_sources),
        cmocka_unit_test(test_an_empty_image),
        cmocka_unit_test(test_fixed_chunks),
        cmocka_unit_test(test_tiny_chunks_come_in_small_batches),
        cmocka_unit_test(test_in_place_by_proof),
        cmocka_unit_test(test_a_source_that_ends_early),
        cmocka_unit_test(test_stopped_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
