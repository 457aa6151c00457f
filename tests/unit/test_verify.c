/* SPDX-License-Identifier: MIT */
#include "common/sinter/verify.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/io/pool.h"
#include "tests/unit/publisher.h"

enum { SIZE = 20 * 1000 * 1000 + 7 };

struct fixture {
    char *folder, *path;
    struct event_base *base;
    struct pool *pool;
    struct device *device;
    uint8_t *image;
    struct manifest manifest;
    struct verify *verify;
    uint64_t bytes;
    unsigned dones;
    bool stop; /* at the first progress */
    bool failed;
    struct error error;
    uint32_t xxh32;
};

static struct fixture shared;

static void on_progress(void *owner, uint64_t bytes)
{
    struct fixture *fixture = owner;

    fixture->bytes += bytes;
    if (fixture->stop)
        verify_stop(fixture->verify);
}

static void on_done(void *owner, const struct error *error, uint32_t xxh32)
{
    struct fixture *fixture = owner;

    fixture->dones++;
    fixture->failed = error != NULL;
    if (error)
        fixture->error = *error;
    fixture->xxh32 = xxh32;
    fixture->verify = verify_free(fixture->verify);
    event_base_loopbreak(fixture->base);
}

static const struct verify_events events = {.progress = on_progress, .done = on_done};

static void setup(struct fixture *fixture, size_t size)
{
    struct dice dice = {1};

    memset(fixture, 0, sizeof(*fixture));
    fixture->folder = folder_new();
    fixture->base = event_base_new();
    assert_true(pool_new(fixture->base, 1, &fixture->pool, NULL));
    fixture->image = alloc_zeroed(size);
    dice_fill(&dice, fixture->image, size);
    fixture->path = folder_write(fixture->folder, "target", fixture->image, size);
    fixture->manifest.file_size = size;
    fixture->manifest.file_hash = digest_xxh32(fixture->image, size);
    fixture->manifest.has_sha256 = true;
    digest_sha256(fixture->image, size, fixture->manifest.sha256);
    assert_true(device_open_target(fixture->path, size, false, &fixture->device, NULL));
}

static void run(struct fixture *fixture)
{
    fixture->dones = 0;
    fixture->bytes = 0;
    fixture->verify = verify_start(fixture->pool, fixture->device, &fixture->manifest, &events, fixture);
    assert_int_equal(event_base_dispatch(fixture->base), 0);
    assert_int_equal(fixture->dones, 1);
}

static void teardown(struct fixture *fixture)
{
    device_close(fixture->device);
    pool_free(fixture->pool);
    event_base_free(fixture->base);
    free(fixture->image);
    free(fixture->path);
    folder_free(fixture->folder);
}

static void test_equal_images_of_any_size(void **state)
{
    static const size_t sizes[] = {0,   1, 4095, 4096, 4097, 1024 * 1024, 1024 * 1024 + 512, 8 * 1024 * 1024,
                                   SIZE};

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (unsigned ancestor = 0; ancestor < 2; ancestor++) {
            setup(&shared, sizes[i]);
            shared.manifest.has_sha256 = !ancestor;
            run(&shared);
            if (shared.failed)
                fail_msg("%s", shared.error.message);
            assert_int_equal(shared.bytes, sizes[i]);
            assert_int_equal(shared.xxh32, shared.manifest.file_hash);
            teardown(&shared);
        }
    }
}

static void flip(const char *path, uint64_t offset)
{
    CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    assert_int_equal(file_pread_full(fd, &byte, 1, offset), 0);
    byte ^= 0x40;
    assert_int_equal(file_pwrite_full(fd, &byte, 1, offset), 0);
}

static void test_one_bit_anywhere(void **state)
{
    static const uint64_t offsets[] = {0, SIZE / 2, SIZE - 1};

    for (unsigned i = 0; i < 3; i++) {
        for (unsigned ancestor = 0; ancestor < 2; ancestor++) {
            setup(&shared, SIZE);
            shared.manifest.has_sha256 = !ancestor;
            flip(shared.path, offsets[i]);
            run(&shared);
            assert_true(shared.failed);
            assert_int_equal(shared.error.kind, ERROR_MISMATCH);
            assert_non_null(strstr(shared.error.message, shared.path));
            assert_int_not_equal(shared.xxh32, shared.manifest.file_hash);
            teardown(&shared);
        }
    }
}

static void test_a_sha256_counts_for_itself(void **state)
{
    setup(&shared, 5000);
    shared.manifest.sha256[31] ^= 1;
    run(&shared);
    assert_true(shared.failed && shared.error.kind == ERROR_MISMATCH);
    shared.manifest.sha256[31] ^= 1;
    shared.manifest.file_hash ^= 1;
    run(&shared);
    assert_true(shared.failed && shared.error.kind == ERROR_MISMATCH);
    teardown(&shared);
}

static void test_another_size(void **state)
{
    setup(&shared, 5000);
    assert_int_equal(truncate(shared.path, 4999), 0);
    run(&shared);
    assert_true(shared.failed && shared.error.kind == ERROR_MISMATCH);
    assert_int_equal(truncate(shared.path, 5001), 0);
    run(&shared);
    assert_true(shared.failed && shared.error.kind == ERROR_MISMATCH);
    assert_int_equal(shared.bytes, 0);
    teardown(&shared);
}

static void test_stopped_in_the_middle(void **state)
{
    setup(&shared, SIZE);
    shared.stop = true;
    run(&shared);
    assert_true(shared.failed);
    assert_int_equal(shared.error.kind, ERROR_CANCELLED);
    assert_true(shared.bytes > 0 && shared.bytes < SIZE);
    assert_int_equal(shared.xxh32, 0);
    teardown(&shared);
    assert_null(verify_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_images_of_any_size),   cmocka_unit_test(test_one_bit_anywhere),
        cmocka_unit_test(test_a_sha256_counts_for_itself), cmocka_unit_test(test_another_size),
        cmocka_unit_test(test_stopped_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
