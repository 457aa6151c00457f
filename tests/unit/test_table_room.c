/* SPDX-License-Identifier: MIT */
#include "common/sinter/table_room.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static void test_what_a_device_wants(void **state)
{
    struct error error;

    /* The default average makes 30,000 chunks of each GiB, and the smallest 900,000. */
    assert_true(table_room_allows(GIB / 1167, table_room_chunks_max(GIB, 0), &error));
    assert_false(table_room_allows(GIB / 256, table_room_chunks_max(GIB, 0), &error));
    assert_int_equal(error.kind, ERROR_FORMAT);
    /* A board of 64 MiB. */
    assert_true(table_room_allows(GIB / 32768, table_room_chunks_max(GIB, 64 * MIB), &error));
    assert_false(table_room_allows(GIB / 1167, table_room_chunks_max(GIB, 64 * MIB), &error));
    assert_true(table_room_allows(4096, table_room_chunks_max(MIB, MIB), &error));
    assert_true(table_room_allows(UINT64_MAX, 0, &error));
}

/* Never an abort. Sanitizers need their address space for themselves. */
static void test_memory_that_is_not_there(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    struct rlimit before, low = {.rlim_cur = 256 * MIB, .rlim_max = RLIM_INFINITY};
    struct error error;

    assert_true(table_room_is_there(0, &error));
    assert_true(table_room_is_there(65536, &error));
    assert_false(table_room_is_there(UINT64_C(1) << 58, &error));
    assert_int_equal(error.code, ENOMEM);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    low.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
    bool there = table_room_is_there(6 * MIB, &error);
    /* An emulator of programs (qemu-user) takes no such bound. */
    void *beyond = mmap(NULL, 300 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    if (beyond != MAP_FAILED)
        skip();
    assert_false(there);
    assert_int_equal(error.kind, ERROR_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_device_wants),
        cmocka_unit_test(test_memory_that_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
