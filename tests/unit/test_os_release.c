/* SPDX-License-Identifier: MIT */
#include "daemon/host/os_release.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

static void expect(const char *text, const char *version)
{
    char found[64];

    assert_string_equal(os_release_find_version(text, found, sizeof(found)), version);
}

static void test_the_versions_of_usual_files(void **state)
{
    expect("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\n", "12");
    expect("ID=fedora\nVERSION_ID=39\n", "39");
    expect("VERSION_ID=1\nIMAGE_VERSION='2026.11 beta'\n", "2026.11 beta");
    expect("IMAGE_VERSION=\nVERSION_ID=7", "7");
    expect("ID=arch\n", "");
    expect("", "");
    expect("VERSION_ID=1\nVERSION_ID=2\r\n", "2");
    expect("VERSION_ID=\"a\\\"b\\$c\"\n", "a\"b$c");
    expect("VERSION_ID=a\\ b\n", "a b");
}

/* Whoever made the image wrote it. */
static void test_files_that_are_hardly_meant(void **state)
{
    CLEANUP_FREE char *text = alloc_zeroed(5000);

    expect("#VERSION_ID=1\n XVERSION_ID=2\nVERSION_IDX=3\nVERSION_ID\n", "");
    expect("VERSION_ID=\"never ends\n", "");
    expect("VERSION_ID='it''s'\n", "its");
    expect("VERSION_ID=\\", "\\");
    expect("VERSION_ID=\033[31mred\n", " [31mred");
    expect("VERSION_ID=\xff\n", "?");
    memset(text, 'v', 4999);
    memcpy(text, "VERSION_ID=", 11);
    expect(text, "");
    text[11 + 63] = 0;
    expect(text, text + 11);
    text[11 + 63] = 'v';
    text[11 + 64] = 0;
    expect(text, "");
}

static void test_where_it_stands(void **state)
{
    char root[] = "/tmp/test-os-release-XXXXXX", found[64];
    struct error error;

    assert_non_null(mkdtemp(root));
    CLEANUP_FREE char *etc = alloc_printf("%s/etc", root), *lib = alloc_printf("%s/usr/lib", root);
    CLEANUP_FREE char *first = alloc_printf("%s/os-release", etc),
                      *second = alloc_printf("%s/os-release", lib);
    assert_int_equal(file_make_folders(etc), 0);
    assert_int_equal(file_make_folders(lib), 0);
    assert_string_equal(os_release_read_version(root, found, sizeof(found)), "");
    assert_true(file_replace(second, "VERSION_ID=2", 12, 0644, &error));
    assert_string_equal(os_release_read_version(root, found, sizeof(found)), "2");
    /* Neither waited for, nor in the way. */
    assert_int_equal(mkfifo(first, 0644), 0);
    assert_string_equal(os_release_read_version(root, found, sizeof(found)), "2");
    assert_int_equal(unlink(first), 0);
    assert_true(file_replace(first, "VERSION_ID=1", 12, 0644, &error));
    assert_string_equal(os_release_read_version(root, found, sizeof(found)), "1");
    CLEANUP_FREE char *large = alloc_zeroed(100000);
    memset(large, '\n', 100000);
    memcpy(large, "VERSION_ID=3", 12);
    assert_true(file_replace(first, large, 100000, 0644, &error));
    assert_string_equal(os_release_read_version(root, found, sizeof(found)), "2");
    CLEANUP_FREE char *command = alloc_printf("rm -r %s", root);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_versions_of_usual_files),
        cmocka_unit_test(test_files_that_are_hardly_meant),
        cmocka_unit_test(test_where_it_stands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
