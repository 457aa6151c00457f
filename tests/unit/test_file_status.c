/* SPDX-License-Identifier: MIT */
/* What stat() tells, also of files whose dates a 32-bit time_t cannot hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "tests/unit/publisher.h"

static int set_up(void **state)
{
    *state = folder_new();
    return chdir(*state);
}

static int tear_down(void **state)
{
    folder_free(*state);
    return chdir("/");
}

static void assert_same_time(struct timespec one, struct timespec other)
{
    assert_int_equal(one.tv_sec, other.tv_sec);
    assert_int_equal(one.tv_nsec, other.tv_nsec);
}

static void assert_same(const struct stat *one, const struct stat *other)
{
    assert_true(one->st_dev == other->st_dev);
    assert_true(one->st_ino == other->st_ino);
    assert_int_equal(one->st_mode, other->st_mode);
    assert_true(one->st_nlink == other->st_nlink);
    assert_int_equal(one->st_uid, other->st_uid);
    assert_int_equal(one->st_gid, other->st_gid);
    assert_true(one->st_rdev == other->st_rdev);
    assert_true(one->st_size == other->st_size);
    assert_true(one->st_blocks == other->st_blocks);
    assert_same_time(one->st_mtim, other->st_mtim);
    assert_same_time(one->st_ctim, other->st_ctim);
}

static void test_the_same_as_stat(void **state)
{
    struct stat ours, theirs;

    assert_true(file_replace("file", "five!", 5, 0640, NULL));
    assert_int_equal(truncate("file", INT64_C(5) << 30), 0);
    assert_int_equal(symlink("file", "link"), 0);
    for (unsigned i = 0; i < 3; i++) {
        const char *path = (const char *[]){"link", "/dev/null", "."}[i];
        CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(stat(path, &theirs), 0);
        assert_int_equal(file_status(path, &ours), 0);
        assert_same(&ours, &theirs);
        assert_int_equal(file_status_fd(fd, &ours), 0);
        assert_same(&ours, &theirs);
        assert_int_equal(file_status_at(AT_FDCWD, path, &ours), 0);
        assert_same(&ours, &theirs);
        assert_int_equal(file_status_link(path, &ours), 0);
        assert_int_equal(lstat(path, &theirs), 0);
        assert_same(&ours, &theirs);
    }
    assert_true(S_ISDIR(ours.st_mode));
    assert_int_equal(file_status("file", &ours), 0);
    assert_true(ours.st_size == INT64_C(5) << 30);
}

static void test_failures_are_stats_own(void **state)
{
    struct stat status = {.st_size = 77};

    assert_int_equal(file_status("none", &status), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(file_status_fd(-1, &status), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(status.st_size, 77);
}

/* A board whose clock was wrong at boot has device nodes of that date, and writes files of it. */
static void test_dates_past_2038(void **state)
{
    struct stat status;

    assert_true(file_replace("file", "x", 1, 0644, NULL));
    assert_int_equal(symlink("file", "link"), 0);
    assert_int_equal(system("touch -d 2100-01-01 file && touch -h -d 2100-01-01 link"), 0);
    CLEANUP_FD int fd = open("file", O_RDONLY | O_CLOEXEC);
    CLEANUP_FD int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(file_status("file", &status), 0);
    assert_int_equal(status.st_size, 1);
    assert_int_equal(file_status_fd(fd, &status), 0);
    assert_int_equal(file_status_at(folder, "file", &status), 0);
    assert_int_equal(file_status_link("link", &status), 0);
    assert_true(S_ISLNK(status.st_mode));

    if (mknod("node", S_IFBLK | 0600, makedev(7, 1000)) < 0)
        skip(); /* only root may */
    assert_int_equal(system("touch -d 2100-01-01 node"), 0);
    assert_int_equal(file_status("node", &status), 0);
    assert_true(S_ISBLK(status.st_mode));
    assert_int_equal(status.st_rdev, makedev(7, 1000));
}

/* The lower bits that are left of such a date still tell that a file changed. */
static void test_a_changed_date_is_seen(void **state)
{
    struct stat before, after;

    assert_true(file_replace("file", "x", 1, 0644, NULL));
    assert_int_equal(system("touch -d 2100-01-01 file"), 0);
    assert_int_equal(file_status("file", &before), 0);
    assert_int_equal(system("touch -d 2100-01-02 file"), 0);
    assert_int_equal(file_status("file", &after), 0);
    assert_int_equal(after.st_mtim.tv_sec - before.st_mtim.tv_sec, 24 * 3600);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_the_same_as_stat),
        TEST(test_failures_are_stats_own),
        TEST(test_dates_past_2038),
        TEST(test_a_changed_date_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
