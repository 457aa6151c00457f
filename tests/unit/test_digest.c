/* SPDX-License-Identifier: MIT */
/* The digests against published values, and streams against the one-shot functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "common/base/digest.h"

static void test_known_answers(void **state)
{
    uint8_t sha256[DIGEST_SHA256_SIZE];
    char hex[DIGEST_SHA256_HEX_SIZE];

    assert_int_equal(digest_xxh32("", 0), 0x02cc5d05);
    assert_int_equal(digest_xxh32("abc", 3), 0x32d153ff);
    assert_true(digest_xxh3("", 0) == UINT64_C(0x2d06800538d394c2));
    assert_true(digest_xxh3("abc", 3) == UINT64_C(0x78af5f94892f3950));
    digest_sha256("", 0, sha256);
    digest_sha256_to_hex(sha256, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_sha256("abc", 3, sha256);
    digest_sha256_to_hex(sha256, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_hex(void **state)
{
    static const char *const bad[] = {
        "",
        "00",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8555",
        "g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85 ",
    };
    uint8_t digest[DIGEST_SHA256_SIZE], untouched[DIGEST_SHA256_SIZE];
    char hex[DIGEST_SHA256_HEX_SIZE];

    memset(digest, 7, sizeof(digest));
    memset(untouched, 7, sizeof(untouched));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(digest_sha256_from_hex(bad[i], digest), -EINVAL);
    assert_memory_equal(digest, untouched, sizeof(digest));
    assert_int_equal(
        digest_sha256_from_hex("E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", digest),
        0);
    digest_sha256_to_hex(digest, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_stream(void **state)
{
    uint8_t data[10000], expected[DIGEST_SHA256_SIZE], sha256[DIGEST_SHA256_SIZE];
    uint32_t xxh32;

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 >> 3);
    digest_sha256(data, sizeof(data), expected);
    for (size_t piece = 1; piece <= sizeof(data); piece += 1111) {
        struct digest_stream *stream = digest_stream_new(true, true);
        for (size_t done = 0; done < sizeof(data); done += piece)
            digest_stream_update(stream, data + done,
                                 sizeof(data) - done < piece ? sizeof(data) - done : piece);
        digest_stream_final(stream, sha256, &xxh32);
        assert_memory_equal(sha256, expected, sizeof(expected));
        assert_int_equal(xxh32, digest_xxh32(data, sizeof(data)));
        assert_null(digest_stream_free(stream));
    }
    assert_null(digest_stream_free(NULL));
}

static void test_stream_of_one_kind(void **state)
{
    uint8_t sha256[DIGEST_SHA256_SIZE], expected[DIGEST_SHA256_SIZE];
    uint32_t xxh32 = 0;

    struct digest_stream *stream = digest_stream_new(true, false);
    digest_stream_update(stream, "abc", 3);
    digest_stream_final(stream, sha256, NULL);
    digest_stream_free(stream);
    digest_sha256("abc", 3, expected);
    assert_memory_equal(sha256, expected, sizeof(expected));
    stream = digest_stream_new(false, true);
    digest_stream_final(stream, NULL, &xxh32);
    digest_stream_free(stream);
    assert_int_equal(xxh32, 0x02cc5d05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_of_one_kind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
