/* SPDX-License-Identifier: MIT */
/* Numbers of variable length: every length of them, the shortest form only, and nothing past the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/varint.h"

/* A reader over an exact copy, so that a sanitizer sees a read past the end. */
static struct byte_reader reader_of(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    assert_non_null(copy);
    memcpy(copy, data, size);
    return (struct byte_reader){.data = copy, .left = size};
}

static void test_every_length(void **state)
{
    for (unsigned bits = 0; bits <= 64; bits++) {
        const uint64_t around = bits == 64 ? 0 : UINT64_C(1) << bits;
        for (int step = -1; step <= 1; step++) {
            uint64_t value = around + (uint64_t)(int64_t)step;
            uint8_t data[VARINT_SIZE_MAX];
            size_t size = varint_write(data, value);
            size_t significant = value ? 64 - (size_t)__builtin_clzll(value) : 1;
            assert_int_equal(size, (significant + 6) / 7);
            for (size_t cut = 0; cut <= size; cut++) {
                struct byte_reader reader = reader_of(data, cut);
                const void *copy = reader.data;
                uint64_t read = byte_reader_varint(&reader);
                assert_int_equal(reader.failed, cut < size);
                assert_true(read == (cut < size ? 0 : value));
                assert_int_equal(reader.left, 0);
                free((void *)(uintptr_t)copy);
            }
        }
    }
}

static void test_known_bytes(void **state)
{
    static const uint8_t expected[] = {0xe5, 0x8e, 0x26};
    uint8_t data[VARINT_SIZE_MAX];

    assert_int_equal(varint_write(data, 624485), sizeof(expected));
    assert_memory_equal(data, expected, sizeof(expected));
}

static void test_other_forms_are_refused(void **state)
{
    static const uint8_t forms[][11] = {
        {0x80, 0x00},                                                       /* zero in two bytes */
        {0xff, 0x80, 0x00},                                                 /* 127 in three */
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},       /* 2^64 and more */
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, /* eleven bytes */
        {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80},
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct byte_reader reader = {.data = forms[i], .left = sizeof(forms[i])};
        assert_true(byte_reader_varint(&reader) == 0);
        assert_true(reader.failed);
    }
}

static void test_once_failed_stays_failed(void **state)
{
    static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x80};
    struct byte_reader reader = {.data = data, .left = sizeof(data)};

    assert_int_equal(byte_reader_fixed32(&reader), 0x04030201);
    assert_true(byte_reader_fixed64(&reader) == UINT64_C(0x0c0b0a0908070605));
    assert_non_null(byte_reader_bytes(&reader, 0));
    assert_false(reader.failed);
    assert_null(byte_reader_bytes(&reader, 2));
    assert_true(reader.failed);
    assert_null(byte_reader_bytes(&reader, 0));
    assert_int_equal(byte_reader_fixed32(&reader), 0);
    assert_true(byte_reader_fixed64(&reader) == 0);
    assert_true(byte_reader_varint(&reader) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_other_forms_are_refused),
        cmocka_unit_test(test_once_failed_stays_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
