/* SPDX-License-Identifier: MIT */
/* Small files, whole: read within bounds, replaced as one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

static int set_up(void **state)
{
    *state = alloc_string("/tmp/test_file.XXXXXX");
    return mkdtemp(*state) ? chdir(*state) : -1;
}

static int tear_down(void **state)
{
    CLEANUP_FREE char *command = alloc_printf("rm -rf %s", (const char *)*state);

    int result = chdir("/") | system(command);
    free(*state);
    return result;
}

static void assert_contents(const char *path, const void *data, size_t size)
{
    CLEANUP_FREE char *read_data = NULL;
    size_t read_size;
    struct error error;

    if (!file_read(path, 1 << 20, &read_data, &read_size, &error))
        fail_msg("%s", error.message);
    assert_int_equal(read_size, size);
    assert_memory_equal(read_data, data, size);
    assert_int_equal(read_data[size], 0);
}

static void test_replace_and_read(void **state)
{
    char large[100000];
    struct error error;
    struct stat status;

    memset(large, 'x', sizeof(large));
    assert_true(file_replace("a", "old", 3, 0644, &error));
    assert_contents("a", "old", 3);
    assert_true(file_replace("a", large, sizeof(large), 0600, &error));
    assert_contents("a", large, sizeof(large));
    assert_int_equal(stat("a", &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_true(file_replace("a", NULL, 0, 0644, &error));
    assert_contents("a", "", 0);
    CLEANUP_FREE char *path = alloc_printf("%s/b", (const char *)*state);
    assert_true(file_replace(path, "whole path", 10, 0644, &error));
    assert_contents("b", "whole path", 10);
    assert_int_equal(access("a.new", F_OK), -1);
}

/* A failure leaves the old file and nothing half-written. */
static void test_a_text_is_read_without_its_last_line_feed(void **state)
{
    static const struct {
        const char *written, *read;
    } cases[] = {{"8:2\n", "8:2"}, {"8:2", "8:2"}, {"a\nb\n\n", "a\nb\n"}, {"\n", ""}, {"", ""}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(file_replace("text7", cases[i].written, strlen(cases[i].written), 0644, NULL));
        CLEANUP_FREE char *text = file_read_text(16, "%s%d", "text", 7);
        assert_string_equal(text, cases[i].read);
    }
    assert_null(file_read_text(16, "%s", "none"));
    assert_true(file_replace("text", "0123456789abcdefg", 17, 0644, NULL));
    assert_null(file_read_text(16, "%s", "text"));
}

static void test_replace_fails(void **state)
{
    struct error error = {0};

    assert_false(file_replace("no/such/folder", "x", 1, 0644, &error));
    assert_int_equal(error.code, ENOENT);
    assert_int_equal(mkdir("folder", 0755), 0);
    assert_false(file_replace("folder", "x", 1, 0644, &error));
    assert_int_equal(access("folder.new", F_OK), -1);
    assert_true(file_replace("a", "old", 3, 0644, &error));
    assert_int_equal(symlink("/etc/passwd", "a.new"), 0);
    assert_false(file_replace("a", "new", 3, 0644, &error));
    assert_contents("a", "old", 3);
}

/* Two writers of one file: the second is refused while the first is at work, and harms nothing of it. */
static void test_two_writers(void **state)
{
    struct file_writer *first, *second = NULL;
    struct error error;

    assert_true(file_writer_new("a", 0644, &first, &error));
    assert_true(file_writer_add(first, "first", 5, &error));
    assert_false(file_writer_new("a", 0644, &second, &error));
    assert_int_equal(error.code, EBUSY);
    assert_true(file_writer_commit(first, &error));
    assert_contents("a", "first", 5);
    /* Committed, and not yet freed: the name is free again. */
    assert_true(file_writer_new("a", 0644, &second, &error));
    file_writer_free(first);
    assert_true(file_writer_add(second, "second", 6, &error));
    assert_true(file_writer_commit(second, &error));
    file_writer_free(second);
    assert_contents("a", "second", 6);
    assert_int_equal(mkfifo("a.new", 0600), 0);
    assert_false(file_replace("a", "x", 1, 0644, &error));
}

/* A file system on which a file is another one by its name than by its descriptor. */
static bool names_lie;

int statx(int folder_fd, const char *restrict path, int flags, unsigned mask, struct statx *restrict status)
{
    int result = (int)syscall(SYS_statx, folder_fd, path, flags, mask, status);

    if (result == 0 && names_lie && *path)
        status->stx_ino++;
    return result;
}

static void test_a_name_that_never_fits(void **state)
{
    struct file_writer *writer;
    struct error error;

    names_lie = true;
    assert_false(file_writer_new("lying", 0644, &writer, &error));
    names_lie = false;
    assert_int_equal(error.kind, ERROR_SYSTEM);
    assert_int_equal(error.code, ESTALE);
    assert_true(file_writer_new("lying", 0644, &writer, &error));
    file_writer_free(writer);
}

static void test_read_is_bounded(void **state)
{
    char *data = NULL;
    size_t size = 7;
    struct error error;

    assert_true(file_replace("a", "12345", 5, 0644, &error));
    assert_false(file_read("a", 4, &data, &size, &error));
    assert_int_equal(error.kind, ERROR_REFUSED);
    assert_true(file_read("a", 5, &data, &size, &error));
    free(data);
    data = NULL;
    assert_false(file_read("/dev/zero", 1000000, &data, &size, &error));
    assert_false(file_read("missing", 4, &data, &size, &error));
    assert_int_equal(error.code, ENOENT);
    assert_false(file_read(".", 4, &data, &size, &error));
    assert_null(data);
}

/* Files of the kernel say that they have no bytes. */
static void test_read_of_a_file_without_size(void **state)
{
    CLEANUP_FREE char *data = NULL;
    size_t size;
    struct error error;

    assert_true(file_read("/proc/self/mountinfo", 1 << 20, &data, &size, &error));
    assert_in_range(size, 1, 1 << 20);
}

static void test_positions(void **state)
{
    char data[4] = "";
    CLEANUP_FD int fd = open("a", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_int_equal(file_pwrite_full(fd, "abc", 3, UINT64_C(5) << 30), 0);
    assert_int_equal(file_pread_full(fd, data, 3, UINT64_C(5) << 30), 0);
    assert_string_equal(data, "abc");
    assert_int_equal(file_pread_full(fd, data, 3, (UINT64_C(5) << 30) + 1), -ENODATA);
    assert_int_equal(file_pread_full(-1, data, 3, 0), -EBADF);
    assert_int_equal(file_pwrite_full(-1, data, 3, 0), -EBADF);
}

static void test_take_fd(void **state)
{
    int fd = 5;

    assert_int_equal(file_take_fd(&fd), 5);
    assert_int_equal(fd, -1);
    errno = 77;
    file_close_pointer(&fd);
    fd = 1000000;
    file_close_pointer(&fd);
    assert_int_equal(errno, 77);
}

static void test_make_folders(void **state)
{
    struct stat status;
    struct error error;

    assert_int_equal(file_make_folders("x/y/z"), 0);
    assert_int_equal(file_make_folders("x/y/z"), 0);
    assert_int_equal(file_make_folders("x/y/z/"), 0);
    assert_int_equal(stat("x/y/z", &status), 0);
    assert_true(S_ISDIR(status.st_mode));
    assert_true(file_replace("f", "", 0, 0644, &error));
    assert_int_equal(file_make_folders("f/g"), -ENOTDIR);
    assert_int_equal(file_make_folders("/"), 0);
}

static void test_the_folder_of_a_name(void **state)
{
    static const struct {
        const char *path, *folder;
    } cases[] = {{"a", "."},   {"a/b", "a"}, {"/a", "/"}, {"/a/b/c", "/a/b"},
                 {"./a", "."}, {"a/", "a"},  {"", "."}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP_FREE char *folder = file_folder(cases[i].path);
        assert_string_equal(folder, cases[i].folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_folder_of_a_name),
        cmocka_unit_test_setup_teardown(test_replace_and_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_text_is_read_without_its_last_line_feed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replace_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_writers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_name_that_never_fits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_of_a_file_without_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_positions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_take_fd, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_make_folders, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
