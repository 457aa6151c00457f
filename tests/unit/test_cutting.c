/* SPDX-License-Identifier: MIT */
/* Cutting a source: the rows are those of its table of chunks, bounded, and it can be stopped. */
#include "common/sinter/cutting.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/image/chunk_table.h"
#include "common/image/chunker.h"
#include "tests/unit/publisher.h"

enum { AVERAGE = 4096, SIZE = 20 * 1000 * 1000, MIB = 1024 * 1024 };

struct fixture {
    char *folder, *path;
    struct event_base *base;
    struct pool *pool;
    struct device *device;
    uint8_t *data;
    struct cutting *cutting;
    bool stop_at_once;
    /* what was told */
    uint64_t bytes;
    unsigned dones;
    struct error error;
    struct table_rows rows;
    uint32_t xxh32;
};

static void on_progress(void *owner, uint64_t bytes)
{
    struct fixture *fixture = owner;

    fixture->bytes += bytes;
    if (fixture->stop_at_once)
        cutting_stop(fixture->cutting);
}

static void on_done(void *owner, const struct error *error, uint32_t xxh32)
{
    struct fixture *fixture = owner;

    fixture->dones++;
    if (error)
        fixture->error = *error;
    fixture->xxh32 = xxh32;
    fixture->rows = cutting_take_rows(fixture->cutting);
    fixture->cutting = cutting_free(fixture->cutting);
    event_base_loopbreak(fixture->base);
}

static int set_up(void **state)
{
    struct fixture *fixture = alloc_zeroed(sizeof(*fixture));
    struct dice dice = {9};

    fixture->folder = folder_new();
    fixture->base = event_base_new();
    assert_true(pool_new(fixture->base, 2, &fixture->pool, NULL));
    fixture->data = malloc(SIZE);
    dice_fill(&dice, fixture->data, SIZE);
    memset(fixture->data + 5000 * 1000, 0, 500 * 1000);
    fixture->path = folder_write(fixture->folder, "source", fixture->data, SIZE);
    assert_true(device_open_source(fixture->path, &fixture->device, NULL));
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    device_close(fixture->device);
    pool_free(fixture->pool);
    event_base_free(fixture->base);
    folder_free(fixture->folder);
    free(fixture->path);
    free(fixture->data);
    free(fixture->rows.offsets);
    free(fixture->rows.rows);
    free(fixture);
    return 0;
}

static void run(struct fixture *fixture, uint64_t size, uint32_t rows_max, uint64_t hash_bytes)
{
    static const struct cutting_events events = {on_progress, on_done};
    const struct cutting_settings settings = {.device = fixture->device,
                                              .size_bytes = size,
                                              .average = AVERAGE,
                                              .rows_max = rows_max,
                                              .hash_bytes = hash_bytes};

    fixture->cutting = cutting_start(fixture->pool, &settings, &events, fixture);
    assert_int_equal(fixture->dones, 0);
    assert_int_equal(event_base_dispatch(fixture->base), 0);
    assert_int_equal(fixture->dones, 1);
    assert_int_equal(pool_outstanding(fixture->pool), 0);
}

/* The publisher says how large chunks are: no memory for their buffer is an error, and no abort. First of all
 * tests, for what others freed would do. */
static void test_memory_that_is_not_there(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    static const struct cutting_events events = {on_progress, on_done};
    struct fixture *fixture = *state;
    const struct cutting_settings settings = {.device = fixture->device,
                                              .size_bytes = SIZE,
                                              .average = CHUNKER_AVERAGE_MAX,
                                              .rows_max = UINT32_MAX};
    struct rlimit before, low;
    unsigned long pages;

    FILE *size = fopen("/proc/self/statm", "r");
    assert_non_null(size);
    assert_int_equal(fscanf(size, "%lu", &pages), 1);
    fclose(size);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    low = before;
    low.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + MIB;
    assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
    /* An emulator of programs (qemu-user) takes no such bound. */
    void *beyond = mmap(NULL, 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fixture->cutting = cutting_start(fixture->pool, &settings, &events, fixture);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(event_base_dispatch(fixture->base), 0);
    assert_int_equal(fixture->dones, 1);
    if (beyond == MAP_FAILED) {
        assert_int_equal(fixture->error.kind, ERROR_SYSTEM);
        assert_int_equal(fixture->error.code, ENOMEM);
        assert_int_equal(fixture->rows.count, 0);
    } else
        munmap(beyond, 2 * MIB);
}

static void test_the_rows_are_the_tables(void **state)
{
    struct fixture *fixture = *state;
    uint8_t *chunks;
    size_t chunks_size;
    struct chunk_table *table = publish_table(fixture->data, SIZE, AVERAGE, &chunks, &chunks_size);

    run(fixture, SIZE, UINT32_MAX, 1000 * 1000);
    assert_int_equal(fixture->error.kind, ERROR_NONE);
    assert_int_equal(fixture->bytes, SIZE);
    assert_int_equal(fixture->rows.count, chunk_table_count(table));
    assert_memory_equal(fixture->rows.rows, chunks + CHUNK_TABLE_HEADER_SIZE,
                        chunks_size - CHUNK_TABLE_HEADER_SIZE);
    for (uint32_t i = 0; i < fixture->rows.count; i++)
        assert_int_equal(fixture->rows.offsets[i], chunk_table_offset(table, i));
    assert_int_equal(fixture->xxh32, digest_xxh32(fixture->data, 1000 * 1000));
    chunk_table_free(table);
    free(chunks);
}

static void test_no_more_rows_than_expected(void **state)
{
    struct fixture *fixture = *state;

    run(fixture, SIZE, 2000, 0);
    assert_int_equal(fixture->error.kind, ERROR_REFUSED);
    assert_int_equal(fixture->rows.count, 2000);
}

static void test_an_empty_source(void **state)
{
    struct fixture *fixture = *state;

    run(fixture, 0, 10, 0);
    assert_int_equal(fixture->error.kind, ERROR_NONE);
    assert_int_equal(fixture->rows.count, 0);
}

static void test_a_source_that_ends_before(void **state)
{
    struct fixture *fixture = *state;

    run(fixture, SIZE + 1, UINT32_MAX, 0);
    assert_int_equal(fixture->error.kind, ERROR_SYSTEM);
}

static void test_stopped(void **state)
{
    struct fixture *fixture = *state;

    fixture->stop_at_once = true;
    run(fixture, SIZE, UINT32_MAX, 0);
    assert_true(fixture->bytes < SIZE);
    assert_null(cutting_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory_that_is_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_rows_are_the_tables, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_more_rows_than_expected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_empty_source, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_source_that_ends_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopped, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
