/* SPDX-License-Identifier: MIT */
/* Block devices as targets, by loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/io/device.h"
#include "tests/unit/device_scene.h"
#include "tests/unit/publisher.h"

static void test_a_block_device_is_opened_exclusively(void **state)
{
    static uint8_t data[100 * 4096];
    struct fixture *fixture = *state;
    struct device *device, *other;
    struct error error;
    uint64_t size;

    if (!device_scene_attach(fixture, data, sizeof(data), 0))
        skip();
    assert_true(device_open_target(fixture->loop, sizeof(data), false, &device, &error));
    assert_true(device_is_block(device));
    assert_true(device_size(device, &size, &error));
    assert_int_equal(size, sizeof(data));
    device_scene_check_refused(device_open_target(fixture->loop, 0, false, &other, &error), &error,
                               ERROR_REFUSED, fixture->loop, "in use");
    assert_true(device_set_size(device, 5, &error)); /* nothing to do */
    assert_true(device_open_source(fixture->loop, &other, &error));
    assert_true(device_is_same(device, other));
    device_close(other);
    device_close(device);
}

static void test_a_block_device_that_is_too_small(void **state)
{
    static uint8_t data[10 * 4096];
    struct fixture *fixture = *state;
    struct device *device;
    struct error error;

    if (!device_scene_attach(fixture, data, sizeof(data), 0))
        skip();
    device_scene_check_refused(device_open_target(fixture->loop, sizeof(data) + 1, true, &device, &error),
                               &error, ERROR_REFUSED, fixture->loop, "40961");
    assert_true(device_open_target(fixture->loop, sizeof(data), true, &device, &error));
    device_close(device);
}

static void test_a_block_device_that_is_read_only(void **state)
{
    static uint8_t data[10 * 4096];
    struct fixture *fixture = *state;
    struct device *device;
    struct error error;

    if (!device_scene_attach(fixture, data, sizeof(data), LO_FLAGS_READ_ONLY))
        skip();
    device_scene_check_refused(device_open_target(fixture->loop, 0, false, &device, &error), &error,
                               ERROR_SYSTEM, fixture->loop, "writing");
}

static void test_a_mounted_block_device_names_its_mount(void **state)
{
    static uint8_t data[4 << 20];
    struct fixture *fixture = *state;
    CLEANUP_FREE char *point = alloc_printf("%s/mount", fixture->folder);
    struct device *device;
    struct error error;

    if (!device_scene_attach(fixture, data, sizeof(data), 0))
        skip();
    CLEANUP_FREE char *make = alloc_printf("mkfs.ext4 -q -F %s >/dev/null 2>&1", fixture->loop);
    assert_int_equal(mkdir(point, 0755), 0);
    if (system(make) != 0 || mount(fixture->loop, point, "ext4", MS_RDONLY, NULL) < 0) {
        print_message("nothing can be mounted here\n");
        skip();
    }
    fixture->mounted = true;
    device_scene_check_refused(device_open_target(fixture->loop, 0, false, &device, &error), &error,
                               ERROR_REFUSED, fixture->loop, point);
    assert_true(device_open_source(fixture->loop, &device, &error));
    device_close(device);
}

/* The medium decides, not what the kernel remembers of it. */
static void test_what_the_medium_lost_is_not_read_back(void **state)
{
    enum { SIZE = 2500 * 1024, SPOT = 1234567 };
    struct fixture *fixture = *state;
    CLEANUP_FREE uint8_t *data = alloc_zeroed(SIZE), *back = alloc_zeroed(SIZE);
    struct dice dice = {1};
    struct device *device;
    struct error error;

    if (!device_scene_attach(fixture, data, SIZE, 0))
        skip();
    dice_fill(&dice, data, SIZE);
    assert_true(device_open_target(fixture->loop, SIZE, false, &device, &error));
    assert_true(device_write(device, data, SIZE, 0, &error));
    assert_true(device_sync(device, &error));
    assert_true(device_scene_read_back(device, SIZE, back, &error));
    assert_memory_equal(back, data, SIZE);

    CLEANUP_FD int backing = open(fixture->backing, O_RDWR | O_CLOEXEC);
    assert_int_equal(file_pwrite_full(backing, "lost", 4, SPOT), 0);
    assert_true(device_read(device, back, SIZE, 0, &error));
    assert_memory_equal(back, data, SIZE); /* so says the page cache */
    assert_true(device_scene_read_back(device, SIZE, back, &error));
    assert_memory_equal(back + SPOT, "lost", 4);
    assert_memory_equal(back, data, SPOT);
    device_close(device);
}

/* A size that is no multiple of what O_DIRECT reads at once. */
static void test_the_odd_end_of_a_block_device_is_read_back(void **state)
{
    enum { SIZE = 1024 * 1024 + 3 * 512 };
    struct fixture *fixture = *state;
    CLEANUP_FREE uint8_t *data = alloc_zeroed(SIZE), *back = alloc_zeroed(SIZE);
    struct dice dice = {1};
    struct device *device;
    struct error error;

    dice_fill(&dice, data, SIZE);
    if (!device_scene_attach(fixture, data, SIZE, 0))
        skip();
    assert_true(device_open_target(fixture->loop, SIZE, false, &device, &error));
    for (size_t size = SIZE; size > SIZE - 1600; size -= 100) {
        memset(back, 0, SIZE);
        if (!device_scene_read_back(device, size, back, &error))
            fail_msg("%s", error.message);
        assert_memory_equal(back, data, size);
    }
    device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_block_device_is_opened_exclusively, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_a_block_device_that_is_too_small, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_a_block_device_that_is_read_only, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_a_mounted_block_device_names_its_mount, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_what_the_medium_lost_is_not_read_back, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_the_odd_end_of_a_block_device_is_read_back, device_scene_set_up,
                                        device_scene_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
