/* SPDX-License-Identifier: MIT */
#include "daemon/host/slot_print.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { IMAGE_SIZE = 64 * SLOT_PRINT_BLOCK_SIZE + 100 };

static char path[] = "slot-print-XXXXXX";

static int make_file(void **state)
{
    strcpy(path, "slot-print-XXXXXX");
    int fd = mkstemp(path);

    for (unsigned i = 0; i < IMAGE_SIZE; i++) {
        unsigned char byte = (unsigned char)(i / SLOT_PRINT_BLOCK_SIZE + 1);
        if (write(fd, &byte, 1) != 1)
            return -1;
    }
    return close(fd);
}

static int remove_file(void **state)
{
    return unlink(path);
}

static void put(uint64_t offset, const char *text)
{
    int fd = open(path, O_WRONLY);

    assert_int_equal(pwrite(fd, text, strlen(text), (off_t)offset), strlen(text));
    close(fd);
}

static struct slot_print take(uint64_t bytes)
{
    struct slot_print print = {0};

    assert_true(slot_print_take_path(path, bytes, &print));
    assert_int_equal(print.bytes, bytes);
    return print;
}

/* As mounting read-write does: a few blocks change, and later more. */
static void test_what_may_be_mounted(void **state)
{
    struct slot_print before = take(IMAGE_SIZE);

    assert_false(before.is_fixed);
    put(1080, "\x53\xef");
    struct slot_print after = take(IMAGE_SIZE);
    assert_true(before.blocks[0] != after.blocks[0]);
    assert_true(slot_print_fits(&before, &after));
    for (unsigned i = 0; i < 16; i++)
        after.blocks[i] = i;
    assert_true(slot_print_fits(&before, &after));
    after.blocks[16] = 16;
    assert_false(slot_print_fits(&before, &after));
}

/* Room between a few blocks of content, as in a file system that is less than half full. */
static void fill_blocks(unsigned every, unsigned seed)
{
    int fd = open(path, O_WRONLY | O_TRUNC);

    for (unsigned i = 0; i < 64; i += every) {
        unsigned char block[SLOT_PRINT_BLOCK_SIZE];
        memset(block, (int)(seed + i), sizeof(block));
        assert_int_equal(pwrite(fd, block, sizeof(block), (off_t)i * SLOT_PRINT_BLOCK_SIZE), sizeof(block));
    }
    assert_int_equal(ftruncate(fd, IMAGE_SIZE), 0);
    close(fd);
}

static void test_free_space_does_not_count(void **state)
{
    fill_blocks(5, 1);
    struct slot_print before = take(IMAGE_SIZE);
    fill_blocks(5, 101);
    struct slot_print after = take(IMAGE_SIZE);
    assert_false(slot_print_fits(&before, &after));
    assert_true(slot_print_fits(&before, &before));
    /* Too little is in it to tell it from what mounting does. */
    fill_blocks(32, 1);
    before = take(IMAGE_SIZE);
    fill_blocks(32, 101);
    after = take(IMAGE_SIZE);
    assert_true(slot_print_fits(&before, &after));
}

static void test_ext4(void **state)
{
    put(1080, "\x53\xef");
    put(1128, "0123456789abcdef");
    struct slot_print before = take(IMAGE_SIZE);
    assert_true(before.identity != 0 && !before.is_fixed);
    /* The time of mounting, say, and how often. */
    put(1024 + 0x2c, "12345678");
    struct slot_print after = take(IMAGE_SIZE);
    assert_true(before.blocks[0] != after.blocks[0] && before.identity == after.identity);
    assert_true(slot_print_fits(&before, &after));
    put(1128, "0123456789abcdeg");
    after = take(IMAGE_SIZE);
    assert_false(slot_print_fits(&before, &after));
    put(1080, "none");
    after = take(IMAGE_SIZE);
    assert_false(slot_print_fits(&before, &after));
    /* A record of an older version knows none. */
    before.identity = 0;
    assert_true(slot_print_fits(&before, &after));
}

static void test_what_nobody_writes(void **state)
{
    static const struct {
        uint64_t offset;
        const char *magic;
    } magics[] = {{0, "hsqs"}, {1024, "\xe2\xe1\xf5\xe0"}};

    for (size_t i = 0; i < 2; i++) {
        put(magics[i].offset, magics[i].magic);
        struct slot_print before = take(IMAGE_SIZE);
        assert_true(before.is_fixed);
        /* The last byte is among what is looked at. */
        put(IMAGE_SIZE - 1, i ? "x" : "y");
        struct slot_print after = take(IMAGE_SIZE);
        assert_false(slot_print_fits(&before, &after));
        assert_true(slot_print_fits(&after, &after));
        put(magics[i].offset, "none");
    }
}

static void test_sizes(void **state)
{
    struct slot_print print;

    assert_false(slot_print_take_path(path, 0, &print));
    assert_false(slot_print_take_path("not-there", 4096, &print));
    take(1);
    take(SLOT_PRINT_BLOCK_SIZE);
    struct slot_print before = take(IMAGE_SIZE);
    assert_int_equal(truncate(path, 4096), 0);
    /* What ends too early is something else. */
    struct slot_print after = take(IMAGE_SIZE);
    assert_false(slot_print_fits(&before, &after));
    assert_int_equal(truncate(path, INT64_C(1) << 40), 0);
    take(UINT64_C(1) << 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_may_be_mounted, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_free_space_does_not_count, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_ext4, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_what_nobody_writes, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_sizes, make_file, remove_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
