/* SPDX-License-Identifier: MIT */
/* Files as targets and seeds: what may be opened, and what comes of reading and writing it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/io/device.h"
#include "tests/unit/device_scene.h"
#include "tests/unit/publisher.h"

/* ---- what may be opened ---- */
static void test_what_is_no_file_is_refused(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP_FREE char *pipe_path = alloc_printf("%s/pipe", fixture->folder);
    const char *paths[] = {fixture->folder, pipe_path, "/dev/null"};
    struct device *device;
    struct error error;

    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    for (unsigned i = 0; i < 3; i++) {
        device_scene_check_refused(device_open_source(paths[i], &device, &error), &error, ERROR_REFUSED,
                                   paths[i], "");
        device_scene_check_refused(device_open_target(paths[i], 0, true, &device, &error), &error,
                                   ERROR_REFUSED, paths[i], "");
    }
}

static void test_what_is_missing(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP_FREE char *below = alloc_printf("%s/no/file", fixture->folder);
    struct device *device;
    struct error error;
    uint64_t size;

    device_scene_check_refused(device_open_source(fixture->file, &device, &error), &error, ERROR_SYSTEM,
                               fixture->file, "No such");
    assert_int_equal(error.code, ENOENT);
    device_scene_check_refused(device_open_target(fixture->file, 0, false, &device, &error), &error,
                               ERROR_SYSTEM, fixture->file, "No such");
    assert_int_equal(access(fixture->file, F_OK), -1);
    device_scene_check_refused(device_open_target(below, 0, true, &device, &error), &error, ERROR_SYSTEM,
                               below, "No such");
    device_scene_check_refused(device_open_target("/dev/no-such-partition", 0, true, &device, &error), &error,
                               ERROR_REFUSED, "/dev/no-such-partition", "exist");
    assert_true(device_open_target(fixture->file, 1 << 20, true, &device, &error));
    assert_true(device_size(device, &size, &error));
    assert_int_equal(size, 0);
    assert_false(device_is_block(device));
    assert_string_equal(device_path(device), fixture->file);
    assert_null(device_close(device));
    assert_null(device_close(NULL));
}

static void test_a_target_is_locked(void **state)
{
    struct fixture *fixture = *state;
    struct device *first, *second;
    struct error error;
    int status;

    assert_true(device_open_target(fixture->file, 0, true, &first, &error));
    device_scene_check_refused(device_open_target(fixture->file, 0, true, &second, &error), &error,
                               ERROR_REFUSED, fixture->file, "in use");
    /* For other processes, too; but reading it is free. */
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(device_open_target(fixture->file, 0, true, &second, NULL) ? 1 : 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(device_open_source(fixture->file, &second, &error));
    device_close(second);
    device_close(first);
    assert_true(device_open_target(fixture->file, 0, false, &first, &error));
    device_close(first);
}

static void test_the_same_under_other_names(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP_FREE char *symbolic = alloc_printf("%s/symbolic", fixture->folder);
    CLEANUP_FREE char *hard = alloc_printf("%s/hard", fixture->folder);
    CLEANUP_FREE char *copy = folder_write(fixture->folder, "copy", "x", 1);
    const char *paths[] = {symbolic, hard, copy};
    struct device *device, *other;

    free(folder_write(fixture->folder, "file", "x", 1));
    assert_int_equal(symlink(fixture->file, symbolic), 0);
    assert_int_equal(link(fixture->file, hard), 0);
    assert_true(device_open_source(fixture->file, &device, NULL));
    for (unsigned i = 0; i < 3; i++) {
        assert_true(device_open_source(paths[i], &other, NULL));
        assert_int_equal(device_is_same(device, other), i < 2);
        device_close(other);
    }
    device_close(device);
}

/* A 32-bit time_t ends in 2038, and an image dated later is an image nevertheless. */
static void test_dates_past_2038(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP_FREE char *command = alloc_printf("touch -d 2100-01-01 %s", fixture->file);
    struct device *device;
    struct error error;
    uint64_t size;

    free(folder_write(fixture->folder, "file", "five!", 5));
    assert_int_equal(system(command), 0);
    assert_true(device_open_source(fixture->file, &device, &error));
    assert_true(device_size(device, &size, &error));
    assert_int_equal(size, 5);
    device_close(device);
    assert_true(device_open_target(fixture->file, 5, false, &device, &error));
    device_close(device);
}

/* ---- reading and writing ---- */

static unsigned folders_synced;

/* Takes the C library's place in this program, and counts. */
int fsync(int fd)
{
    struct stat status;

    folders_synced += fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
    return (int)syscall(SYS_fsync, fd);
}

/* Else a power cut may leave what was written without a name. */
static void test_a_sync_covers_the_name_of_a_file(void **state)
{
    struct fixture *fixture = *state;
    struct device *device;
    struct error error;

    assert_true(device_open_target(fixture->file, 0, true, &device, &error));
    folders_synced = 0;
    assert_true(device_sync(device, &error));
    assert_int_equal(folders_synced, 1);
    device_close(device);
    /* Whoever made the file may have been killed before that. */
    assert_true(device_open_target(fixture->file, 0, true, &device, &error));
    folders_synced = 0;
    assert_true(device_sync(device, &error));
    assert_int_equal(folders_synced, 1);
    device_close(device);
}

static void test_reading_and_writing_a_file(void **state)
{
    struct fixture *fixture = *state;
    uint8_t data[8000], back[8000] = {0};
    struct dice dice = {1};
    struct device *device;
    struct error error;
    uint64_t size;

    dice_fill(&dice, data, sizeof(data));
    assert_true(device_open_target(fixture->file, 0, true, &device, &error));
    assert_true(device_write(device, data, sizeof(data), 1000, &error));
    device_start_writeback(device, 1000, sizeof(data));
    assert_true(device_sync(device, &error));
    assert_true(device_size(device, &size, &error));
    assert_int_equal(size, 9000);
    assert_true(device_read(device, back, sizeof(back), 1000, &error));
    assert_memory_equal(back, data, sizeof(data));
    device_scene_check_refused(device_read(device, back, sizeof(back), 1001, &error), &error, ERROR_SYSTEM,
                               fixture->file, "1001");
    assert_int_equal(error.code, ENODATA);
    assert_true(device_set_size(device, 500, &error));
    assert_true(device_size(device, &size, &error));
    assert_int_equal(size, 500);
    assert_true(device_set_size(device, 5000, &error));
    assert_true(device_read(device, back, 5000, 0, &error));
    device_close(device);
    assert_true(device_open_source(fixture->file, &device, &error));
    device_scene_check_refused(device_write(device, data, 1, 0, &error), &error, ERROR_SYSTEM, fixture->file,
                               "write");
    device_close(device);
}

/* Of what the file takes on its medium. */
static uint64_t allocated_bytes(const struct device *device)
{
    struct stat status;

    assert_int_equal(fsync(device_descriptor(device)), 0);
    assert_int_equal(fstat(device_descriptor(device), &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

/* Whatever stood there before, what is read is what was written, and what read as zeros is not written. */
static void test_zeros_leave_holes_where_nothing_else_stands(void **state)
{
    enum { SIZE = 600 * 1000, BEFORE = 300 * 1000, AT = 1234, RUN = 100 * 1000, END = 16 * 4096 };
    struct fixture *fixture = *state;
    static uint8_t data[SIZE], back[SIZE], expected[AT + SIZE];
    struct dice dice = {1};
    struct device *device;
    struct error error;
    uint64_t size;

    for (unsigned before = 0; before < 3; before++) {
        /* Nothing, noise, or a hole that is longer than what is written. */
        dice_fill(&dice, expected, sizeof(expected));
        free(folder_write(fixture->folder, "file", expected, before == 1 ? BEFORE : 0));
        assert_true(device_open_target(fixture->file, 0, false, &device, &error));
        if (before == 2)
            assert_true(device_set_size(device, 2 * SIZE, &error));
        dice_fill(&dice, data, SIZE);
        memset(data + 50 * 1000, 0, RUN);  /* upon the old content */
        memset(data + 290 * 1000, 0, RUN); /* in and behind it */
        memset(data + 450 * 1000, 0, 9000);
        memset(data + SIZE - END - 1000, 0, END + 1000); /* at the end */
        if (before != 1)
            memset(expected, 0, sizeof(expected));
        memcpy(expected + AT, data, SIZE);
        assert_true(device_write_sparse(device, data, SIZE, AT, &error));
        assert_true(device_size(device, &size, &error));
        assert_int_equal(size, before == 2 ? 2 * SIZE : AT + SIZE);
        assert_true(device_read(device, back, SIZE, AT, &error));
        assert_memory_equal(back, data, SIZE);
        assert_true(device_read(device, back, AT, 0, &error));
        assert_memory_equal(back, expected, AT);
        uint64_t all = SIZE - (before == 1 ? 0 : RUN) - RUN - END;
        assert_true(allocated_bytes(device) <= all + 8 * 4096 + (before == 1 ? RUN : 0));
        device_close(device);
    }
}

static void test_data_between_holes_is_measured(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t far = UINT64_C(1) << 40;
    struct device *device;
    struct error error;
    uint64_t end;

    assert_true(device_open_target(fixture->file, 0, true, &device, &error));
    assert_true(device_measure_data(device, 100, &end, &error));
    assert_int_equal(end, 0);
    assert_true(device_write(device, "here", 4, 0, &error));
    assert_true(device_write(device, "far away", 8, far, &error));
    assert_true(device_set_size(device, 2 * far, &error));
    uint64_t data = device_find_data(device, 1 << 20, 2 * far);
    assert_true(data > far - (1 << 20) && data <= far);
    assert_int_equal(device_find_data(device, far + (1 << 20), 2 * far), 2 * far);
    assert_int_equal(device_find_data(device, 1 << 20, 2 << 20), 2 << 20);
    assert_int_equal(device_find_data(device, 2, 2 * far), 2);
    assert_true(device_measure_data(device, 1 << 20, &end, &error));
    assert_int_equal(end, 2 * far);
    assert_true(device_measure_data(device, 2, &end, &error));
    assert_int_equal(end, 2);
    device_close(device);
}

static void test_files_are_read_back(void **state)
{
    static const size_t sizes[] = {0,          1, 511, 4096, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1,
                                   3000 * 1000};
    struct fixture *fixture = *state;
    struct dice dice = {1};
    struct device *device;
    struct error error;

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        CLEANUP_FREE uint8_t *data = alloc_zeroed(sizes[i]), *back = alloc_zeroed(sizes[i]);
        dice_fill(&dice, data, sizes[i]);
        free(folder_write(fixture->folder, "file", data, sizes[i]));
        assert_true(device_open_target(fixture->file, 0, false, &device, &error));
        if (!device_scene_read_back(device, sizes[i], back, &error))
            fail_msg("%s", error.message);
        assert_memory_equal(back, data, sizes[i]);
        if (sizes[i] > 0) {
            assert_true(device_scene_read_back(device, sizes[i] - 1, back, &error));
            CLEANUP_FREE uint8_t *more = alloc_zeroed(sizes[i] + 1);
            device_scene_check_refused(device_scene_read_back(device, sizes[i] + 1, more, &error), &error,
                                       ERROR_SYSTEM, fixture->file, "back");
        }
        device_close(device);
    }
    assert_null(device_readback_close(NULL));
}

/* The descriptor counts, not the path: what was put in its place meanwhile is not what was written. */
static void test_a_replaced_path_is_not_read_back(void **state)
{
    struct fixture *fixture = *state;
    struct device *device;
    struct error error;
    uint8_t back[5];

    free(folder_write(fixture->folder, "file", "first", 5));
    assert_true(device_open_target(fixture->file, 0, false, &device, &error));
    assert_int_equal(unlink(fixture->file), 0);
    free(folder_write(fixture->folder, "file", "other", 5));
    assert_true(device_scene_read_back(device, 5, back, &error));
    assert_memory_equal(back, "first", 5);
    device_close(device);
}

/* ---- what cannot be read ---- */
enum { PAGE = 4096 };

/* This process's own memory as a file: what is not mapped cannot be read. */
static struct device *open_memory(uint8_t *memory, size_t holes_at, size_t holes_size)
{
    struct device *device;
    struct error error;
    uint8_t first;

    /* Under an emulator of another processor it is the emulator's, if it is there at all. */
    memory[0] = 77;
    if (!device_open_source("/proc/self/mem", &device, &error) ||
        pread(device_descriptor(device), &first, 1, (off_t)(uintptr_t)memory) != 1 || first != memory[0]) {
        print_message("no memory to be read as a file here\n");
        skip();
    }
    assert_int_equal(munmap(memory + holes_at, holes_size), 0);
    return device;
}

static void test_what_cannot_be_read_is_passed_over(void **state)
{
    enum { SIZE = 64 * PAGE, HOLE = 21 * PAGE, HOLE_SIZE = 3 * PAGE, FROM = 100 };
    uint8_t *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t back[SIZE];
    struct dice dice = {1};
    struct error error;
    size_t good, bad, lost = 0;

    assert_ptr_not_equal(memory, MAP_FAILED);
    dice_fill(&dice, memory, SIZE);
    uint64_t start = (uint64_t)(uintptr_t)memory;
    struct device *device = open_memory(memory, HOLE, HOLE_SIZE);
    assert_false(device_is_damaged(device, &error));
    for (size_t at = FROM; at < SIZE; at += good + bad) {
        assert_true(device_read_around(device, back, SIZE - at, start + at, &good, &bad, &error));
        assert_true(good + bad > 0 && at + good + bad <= SIZE && bad <= PAGE);
        assert_memory_equal(back, memory + at, good);
        if (bad > 0)
            assert_in_range(at + good, HOLE, HOLE + HOLE_SIZE - 1);
        lost += bad;
    }
    assert_int_equal(lost, HOLE_SIZE);
    assert_true(device_is_damaged(device, &error));
    assert_int_equal(error.code, EIO);
    device_close(device);
    munmap(memory, SIZE);
}

/* A dead medium may take its time for each read that fails. */
static void test_a_dead_device_is_given_up(void **state)
{
    enum { PAGES = 20 * 1000 };
    const size_t size = (size_t)PAGES * PAGE;
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t back[PAGE];
    struct error error;
    size_t good, bad, tries = 0;

    assert_ptr_not_equal(memory, MAP_FAILED);
    uint64_t start = (uint64_t)(uintptr_t)memory;
    struct device *device = open_memory(memory, 0, size - PAGE);
    for (size_t at = 0; device_read_around(device, back, PAGE, start + at, &good, &bad, &error); at += PAGE) {
        assert_int_equal(bad, PAGE);
        tries++;
    }
    assert_in_range(tries, 1000, 10000);
    /* What could be read is not tried any more either. */
    device_scene_check_refused(device_read(device, back, PAGE, start + size - PAGE, &error), &error,
                               ERROR_SYSTEM, "/proc/self/mem", "");
    device_close(device);
    munmap(memory + size - PAGE, PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_no_file_is_refused, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_missing, device_scene_set_up, device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_a_target_is_locked, device_scene_set_up, device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_the_same_under_other_names, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_dates_past_2038, device_scene_set_up, device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_a_sync_covers_the_name_of_a_file, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_reading_and_writing_a_file, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_zeros_leave_holes_where_nothing_else_stands, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_data_between_holes_is_measured, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_files_are_read_back, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_a_replaced_path_is_not_read_back, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_read_is_passed_over, device_scene_set_up,
                                        device_scene_tear_down),
        cmocka_unit_test_setup_teardown(test_a_dead_device_is_given_up, device_scene_set_up,
                                        device_scene_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
