/* SPDX-License-Identifier: MIT */
/* Errors: set, prefixed, cut short, and passed over where nobody wants them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "common/base/error.h"

static void test_set(void **state)
{
    struct error error = {.code = 5};

    assert_false(error_set(&error, ERROR_REMOTE, "%s said %d", "it", 404));
    assert_int_equal(error.kind, ERROR_REMOTE);
    assert_int_equal(error.code, 0);
    assert_string_equal(error.message, "it said 404");
    assert_false(error_set(NULL, ERROR_REMOTE, "nobody listens"));
}

static void test_errno(void **state)
{
    struct error error;

    assert_false(error_set_errno(&error, ENOSPC, "cannot write %s", "x"));
    assert_int_equal(error.kind, ERROR_SYSTEM);
    assert_int_equal(error.code, ENOSPC);
    assert_string_equal(error.message, "cannot write x: No space left on device");
    assert_false(error_set_errno(&error, -EIO, "cannot read"));
    assert_int_equal(error.code, EIO);
    assert_string_equal(error.message, "cannot read: Input/output error");
    assert_false(error_set_errno(NULL, EIO, "nobody listens"));
}

static void test_prefix(void **state)
{
    struct error error;

    error_set(&error, ERROR_FORMAT, "it is broken");
    assert_false(error_prefix(&error, "the file %s", "x"));
    assert_string_equal(error.message, "the file x: it is broken");
    assert_int_equal(error.kind, ERROR_FORMAT);
    assert_false(error_prefix(NULL, "nobody listens"));
}

static void test_no_secrets(void **state)
{
    static const char url[] = "http://user:s3cret@h/x?s3cret";
    struct error error;

    error_set(&error, ERROR_REMOTE, "%s is gone", url);
    assert_string_equal(error.message, "http://h/x?... is gone");
    error_prefix(&error, "%s", url);
    assert_string_equal(error.message, "http://h/x?...: http://h/x?... is gone");
    error_set_errno(&error, ENOENT, "cannot open %s", url);
    assert_string_equal(error.message, "cannot open http://h/x?...: No such file or directory");
    error_set(&error, ERROR_REMOTE, "there is no %.19s", url);
    assert_null(strstr(error.message, "s3cret"));
}

static void test_long_messages_are_cut(void **state)
{
    char text[2000];
    struct error error;

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = 0;
    error_set(&error, ERROR_FORMAT, "%s", text);
    assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
    error_prefix(&error, "prefix");
    assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
    assert_memory_equal(error.message, "prefix: xxx", 11);
    error_prefix(&error, "%s", text);
    assert_memory_equal(error.message, "prefix: xxx", 11);
    error_set_errno(&error, EIO, "%s", text);
    assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
    text[sizeof(error.message) - 4] = 0;
    error_set_errno(&error, EIO, "%s", text);
    assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
}

static void test_names(void **state)
{
    assert_string_equal(error_kind_name(ERROR_NONE), "none");
    assert_string_equal(error_kind_name(ERROR_NETWORK), "network");
    assert_string_equal(error_kind_name(ERROR_REMOTE), "remote");
    assert_string_equal(error_kind_name(ERROR_FORMAT), "format");
    assert_string_equal(error_kind_name(ERROR_MISMATCH), "mismatch");
    assert_string_equal(error_kind_name(ERROR_REFUSED), "refused");
    assert_string_equal(error_kind_name(ERROR_SYSTEM), "system");
    assert_string_equal(error_kind_name(ERROR_CANCELLED), "cancelled");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),    cmocka_unit_test(test_errno),
        cmocka_unit_test(test_prefix), cmocka_unit_test(test_long_messages_are_cut),
        cmocka_unit_test(test_names),  cmocka_unit_test(test_no_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
