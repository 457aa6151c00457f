/* SPDX-License-Identifier: MIT */
/* IMAGE.json: byte for byte what the ancestor writes, and every number against every other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/base/alloc.h"
#include "common/image/manifest.h"
#include "tests/unit/manifest_texts.h"

static const char ancestor[] =
    "{\"chunk_hashes\":\"550d7456,e20f0db2,0\",\"chunk_size\":131072,\"last_chunk_size\":4096,"
    "\"file_hash\":4294967295,\"file_size\":266240}";

/* The ancestor's members with other numbers, written as they are given. */
static void assert_numbers_refused(const char *hashes, const char *chunk_size, const char *last_chunk_size,
                                   const char *file_hash, const char *file_size, const char *words)
{
    CLEANUP_FREE char *text = alloc_printf(
        "{\"chunk_hashes\":%s,\"chunk_size\":%s,\"last_chunk_size\":%s,\"file_hash\":%s,\"file_size\":%s}",
        hashes, chunk_size, last_chunk_size, file_hash, file_size);

    assert_manifest_refused(text, words);
}

static void test_ancestor(void **state)
{
    struct manifest *manifest = manifest_text_must_parse(ancestor);

    assert_int_equal(manifest->chunk_count, 3);
    assert_int_equal(manifest->chunk_hashes[0], 0x550d7456);
    assert_int_equal(manifest->chunk_hashes[1], 0xe20f0db2);
    assert_int_equal(manifest->chunk_hashes[2], 0);
    assert_int_equal(manifest->chunk_size, 131072);
    assert_int_equal(manifest->last_chunk_size, 4096);
    assert_int_equal(manifest->file_hash, UINT32_MAX);
    assert_int_equal(manifest->file_size, 266240);
    assert_false(manifest->has_sha256);
    assert_false(manifest->chunks.present);
    assert_false(manifest->release.has_serial);
    CLEANUP_FREE char *text = manifest_format(manifest);
    assert_string_equal(text, ancestor);
    assert_null(manifest_free(manifest));
    assert_null(manifest_free(NULL));
}

static void test_any_order_and_unknown_members(void **state)
{
    struct manifest *manifest =
        manifest_text_must_parse("\n{\"file_size\": 5, \"other\": {\"a\": [1, 2, {\"a\": 1.5}], \"b\": null},"
                                 " \"file_size\\u0000\": 6,"
                                 " \"last_chunk_size\": 1,\t\"chunk_hashes\": \"a,ffffffff,b\", \"file_hash\""
                                 ": 0, \"chunk_size\": 2}\r\n ");

    assert_int_equal(manifest->chunk_count, 3);
    assert_int_equal(manifest->chunk_hashes[1], UINT32_MAX);
    assert_int_equal(manifest->file_size, 5);
    manifest_free(manifest);
}

static void test_empty_image(void **state)
{
    static const char text[] =
        "{\"chunk_hashes\":\"\",\"chunk_size\":131072,\"last_chunk_size\":0,\"file_hash\":46947589,\"file_size\":0}";
    struct manifest *manifest = manifest_text_must_parse(text);

    assert_int_equal(manifest->chunk_count, 0);
    CLEANUP_FREE char *formatted = manifest_format(manifest);
    assert_string_equal(formatted, text);
    manifest_free(manifest);
    assert_numbers_refused("\"\"", "131072", "131072", "1", "0", "last_chunk_size");
    assert_numbers_refused("\"0\"", "131072", "0", "1", "0", "1 chunk hashes");
}

static void test_whole(void **state)
{
    static const char text[] =
        "{\"chunk_hashes\":\"1\",\"chunk_size\":4096,\"last_chunk_size\":1000,\"file_hash\":7,\"file_size\":1000,"
        "\"moonsinter\":{\"format\":1,\"sha256\":\"" SHA64
        "\",\"chunks\":{\"url\":\"a%20b.chunks\",\"size\":88,"
        "\"sha256\":\"" ZEROS64
        "\"},\"pack\":{\"url\":\"a%20b.pack\",\"size\":1848211,\"frames\":{\"offset\":1700008,\"size\":2,"
        "\"unpacked\":1,\"sha256\":\"" SHA64
        "\"},\"bases\":[{\"size\":671088640,\"probes\":\"1048576:8f3a000000000001,9437184:07c20000000000ff\","
        "\"patches\":1736219,\"index\":{\"offset\":1801000,\"size\":47211,\"unpacked\":61022,\"sha256\":\"" SHA64
        "\"},\"span_max\":2097152,\"output_max\":1048576},{\"size\":1,\"probes\":\"0:0000000000000000\","
        "\"patches\":8,\"index\":{\"offset\":8,\"size\":1,\"unpacked\":0,\"sha256\":\"" ZEROS64
        "\"},\"span_max\":0,\"output_max\":0}]},\"release\":{\"version\":\"1.0 \\\"\u00fc\\\"/x\",\"serial\":9223372036854775807,"
        "\"created\":\"2026-11-22T13:39:09Z\",\"expires\":\"9999-12-31T23:59:59Z\",\"compatible\":\"board-7\"}}}\n";
    struct manifest *manifest = manifest_text_must_parse(text);

    assert_true(manifest->has_sha256);
    assert_int_equal(manifest->sha256[0], 0xe3);
    assert_int_equal(manifest->sha256[31], 0x55);
    assert_true(manifest->chunks.present);
    assert_string_equal(manifest->chunks.url, "a%20b.chunks");
    assert_int_equal(manifest->chunks.size_bytes, 88);
    assert_true(manifest->pack.present);
    assert_string_equal(manifest->pack.url, "a%20b.pack");
    assert_int_equal(manifest->pack.size, 1848211);
    assert_true(manifest->pack.has_frames);
    assert_int_equal(manifest->pack.frames.offset, 1700008);
    assert_int_equal(manifest->pack.frames.sha256[0], 0xe3);
    assert_int_equal(manifest->pack.base_count, 2);
    const struct manifest_base *base = &manifest->pack.bases[0];
    assert_int_equal(base->size, 671088640);
    assert_int_equal(base->probe_count, 2);
    assert_int_equal(base->probes[1].offset, 9437184);
    assert_true(base->probes[1].xxh3 == UINT64_C(0x07c20000000000ff));
    assert_int_equal(base->patches_offset, 1736219);
    assert_int_equal(base->index.size, 47211);
    assert_int_equal(base->index.unpacked, 61022);
    assert_int_equal(base->span_max, 2097152);
    assert_int_equal(base->output_max, 1048576);
    assert_string_equal(manifest->release.version, "1.0 \"\u00fc\"/x");
    assert_string_equal(manifest->release.compatible, "board-7");
    assert_true(manifest->release.has_serial);
    assert_true(manifest->release.serial == INT64_MAX);
    assert_int_equal(manifest->release.created, 1795354749);
    assert_true(manifest->release.expires == UINT64_C(253402300799));
    CLEANUP_FREE char *formatted = manifest_format(manifest);
    assert_string_equal(formatted, text);
    manifest_free(manifest);
}

static void test_smallest_of_ours(void **state)
{
    CLEANUP_FREE char *text = manifest_text_ours("{\"sha256\":\"" ZEROS64 "\",\"format\":1}");
    struct manifest *manifest = manifest_text_must_parse(text);

    assert_true(manifest->has_sha256);
    assert_false(manifest->chunks.present);
    assert_null(manifest->release.version);
    CLEANUP_FREE char *formatted = manifest_format(manifest);
    assert_non_null(strstr(formatted, ",\"moonsinter\":{\"format\":1,\"sha256\":\"" ZEROS64 "\"}}\n"));
    manifest_free(manifest);
}

/* What later versions will add has its names already, and none of them stops this one. */
static void test_reserved_members_are_ignored(void **state)
{
    CLEANUP_FREE char *text = manifest_text_ours(
        "{\"format\":1,\"sha256\":\"" ZEROS64 "\",\"needs\":7,\"pack\":null,\"patches\":[1],\"rollout\":{},"
        "\"signature\":\"x\",\"chunks\":null,\"release\":{\"rollout\":{\"share\":10},\"name\":1}}");

    manifest_free(manifest_text_must_parse(text));
}

static void test_not_json(void **state)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "<!DOCTYPE html><html></html>",
                                        "null",
                                        "[]",
                                        "5",
                                        "\"a\"",
                                        "{",
                                        "{}}",
                                        "{} x",
                                        "{'a':1}",
                                        "{\"a\":1,}",
                                        "{\"a\":\"\xff\"}",
                                        "{\"a\":NaN}",
                                        "{\"a\":1}{\"a\":1}",
                                        "{/* */}"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_manifest_refused(texts[i], "the manifest");
    assert_manifest_refused("{}", "lacks chunk_hashes");
    struct manifest *manifest = NULL;
    struct error error;
    assert_false(manifest_text_parse("{}\0", 3, &manifest, &error));
}

static void test_truncated_anywhere(void **state)
{
    struct manifest *manifest = NULL;
    struct error error;

    for (size_t size = 0; size < strlen(ancestor); size++)
        assert_false(manifest_text_parse(ancestor, size, &manifest, &error));
    assert_null(manifest);
}

/* A megabyte of brackets must not become a gigabyte of objects. */
static void test_bombs(void **state)
{
    const size_t size = MANIFEST_SIZE_MAX;
    char *text = malloc(size + 2);

    memset(text, '[', size);
    memcpy(text, "{\"a\":", 5);
    text[size] = 0;
    assert_manifest_refused(text, "values");
    for (size_t i = 5; i + 3 <= size; i += 3)
        memcpy(text + i, "[],", 3);
    assert_manifest_refused(text, "values");
    memset(text + 5, '1', size - 5);
    assert_manifest_refused(text, "the manifest");
    memset(text, '[', 30);
    text[30] = 0;
    assert_manifest_refused(text, "the manifest");
    memset(text, ' ', size + 1);
    text[size + 1] = 0;
    assert_manifest_refused(text, "more than the");
    free(text);
}

static void test_missing_and_mistyped(void **state)
{
    static const char *const names[] = {"chunk_hashes", "chunk_size", "last_chunk_size", "file_hash",
                                        "file_size"};
    static const char *const values[] = {"-1",   "1.0", "1e2", "\"1\"",
                                         "true", "[1]", "{}",  "18446744073709551615"};

    for (size_t i = 0; i < 5; i++) {
        CLEANUP_FREE char *without = alloc_string(ancestor);
        memcpy(strstr(without, names[i]), "X", 1);
        CLEANUP_FREE char *words = alloc_printf("lacks %s", names[i]);
        assert_manifest_refused(without, words);
    }
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_numbers_refused("\"1\"", values[i], "1", "1", "1", "chunk_size");
        assert_numbers_refused("\"1\"", "1", values[i], "1", "1", "last_chunk_size");
        assert_numbers_refused("\"1\"", "1", "1", values[i], "1", "file_hash");
        assert_numbers_refused("\"1\"", "1", "1", "1", values[i], "file_size");
    }
    assert_numbers_refused("1", "1", "1", "1", "1", "chunk_hashes");
    assert_numbers_refused("[\"1\"]", "1", "1", "1", "1", "chunk_hashes");
    assert_numbers_refused("null", "1", "1", "1", "1", "lacks chunk_hashes");
    assert_numbers_refused("\"1\\u0000\"", "1", "1", "1", "1", "chunk_hashes");
}

static void test_duplicates(void **state)
{
    assert_numbers_refused("\"1\"", "1,\"chunk_size\":1", "1", "1", "1", "two members");
    assert_numbers_refused("\"1\"", "1,\"chunk\\u005fsize\":2", "1", "1", "1", "two members");
    assert_numbers_refused("\"1\"", "1,\"x\":[{\"a\":1,\"a\":1}]", "1", "1", "1", "two members");
    assert_ours_refused("{\"format\":1,\"sha256\":\"" ZEROS64 "\"},\"moonsinter\":{}", "two members");
}

static void test_sizes_that_disagree(void **state)
{
    assert_numbers_refused("\"1,2\"", "10", "10", "1", "10", "2 chunk hashes");
    assert_numbers_refused("\"1\"", "10", "1", "1", "11", "make 2");
    assert_numbers_refused("\"1,2\"", "10", "10", "1", "11", "last_chunk_size");
    assert_numbers_refused("\"1,2\"", "10", "0", "1", "20", "last_chunk_size");
    assert_numbers_refused("\"1\"", "10", "11", "1", "10", "last_chunk_size");
    assert_numbers_refused("\"1\"", "0", "0", "1", "10", "chunk_size");
    assert_numbers_refused("\"1\"", "1073741825", "10", "1", "10", "chunk_size");
    assert_numbers_refused("\"1\"", "10", "10", "4294967296", "10", "file_hash");
    assert_numbers_refused("\"1\"", "1073741824", "1", "1", "4611686018427387905", "file_size");
}

/* Numbers at and past 2^31, 2^32, 2^62 and 2^63: what would agree if it wrapped does not. */
static void test_large_numbers(void **state)
{
    static const char *const sizes[] = {
        "2147483648",           "4294967296",          "4294967306",           "4611686018427387904",
        "9223372036854775807",  "9223372036854775808", "18446744073709551615", "18446744073709551616",
        "18446744073709551626", "99999999999999999999"};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        /* json-c since 0.18 does not take a number of more than 64 bits for one, and then no member is named.
         */
        bool fits = i < 7;
        assert_numbers_refused("\"1\"", "10", "10", "1", sizes[i], "");
        assert_numbers_refused("\"1\"", sizes[i], "10", "1", "10", fits ? "chunk_size" : "");
        assert_numbers_refused("\"1\"", "10", sizes[i], "1", "10", fits ? "last_chunk_size" : "");
    }
    struct manifest *manifest =
        manifest_text_must_parse("{\"chunk_hashes\":\"1,2,3,4,5\",\"chunk_size\":1073741824,"
                                 "\"last_chunk_size\":1,\"file_hash\":0,\"file_size\":4294967297}");
    assert_true(manifest->file_size == UINT64_C(4294967297));
    manifest_free(manifest);
}

static void test_bad_hashes(void **state)
{
    static const char *const hashes[] = {"01",   "A",   "100000000", "0x1",  "-1",        "1 ",  " 1", "g",
                                         "00",   "\\t", "1\\n",      "+1",   "000000001", "1;2", "1,", ",1",
                                         "1,,2", ",",   "1,2,",      "1, 2", "1,0x2",     "1,02"};

    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        size_t count = 1;
        for (const char *c = hashes[i]; *c; c++)
            count += *c == ',';
        CLEANUP_FREE char *quoted = alloc_printf("\"%s\"", hashes[i]);
        CLEANUP_FREE char *size = alloc_printf("%zu", 10 * count);
        assert_numbers_refused(quoted, "10", "10", "1", size, "of the manifest's chunk_hashes");
    }
}

static void test_formats(void **state)
{
    assert_ours_refused("{}", "lacks moonsinter.format");
    assert_ours_refused("[]", "no object");
    assert_ours_refused("1", "no object");
    assert_ours_refused("{\"format\":0}", "moonsinter.format");
    assert_ours_refused("{\"format\":\"1\"}", "moonsinter.format");
    assert_ours_refused("{\"format\":3}", "needs a moonsinter with manifest format 3");
    assert_ours_refused("{\"format\":3,\"needs\":\"3.1\",\"sha256\":5}", "needs moonsinter 3.1 or later");
    assert_ours_refused("{\"format\":3,\"needs\":\"\\n\"}", "needs a moonsinter with manifest format 3");
    /* The five members may mean something else by then. */
    assert_manifest_refused("{\"moonsinter\":{\"format\":7}}", "format 7");
}

static void test_bad_ours(void **state)
{
    assert_ours_refused("{\"format\":1}", "lacks moonsinter.sha256");
    assert_ours_refused("{\"format\":1,\"sha256\":\"00\"}", "64 hex digits");
    assert_ours_refused("{\"format\":1,\"sha256\":\"" ZEROS64 "0\"}", "64 hex digits");
    assert_ours_refused("{\"format\":1,\"sha256\":12}", "no string");
    assert_ours_refused(OURS("\"chunks\":[]"), "moonsinter.chunks");
    assert_ours_refused(CHUNKS(""), "lacks moonsinter.chunks.url");
    assert_ours_refused(CHUNKS("\"url\":\"x\""), "lacks moonsinter.chunks.size");
    assert_ours_refused(CHUNKS("\"url\":\"x\",\"size\":88"), "lacks moonsinter.chunks.sha256");
    assert_ours_refused(CHUNKS("\"url\":\"\",\"size\":88,\"sha256\":\"" ZEROS64 "\""),
                        "moonsinter.chunks.url");
    assert_ours_refused(OURS("\"release\":[]"), "moonsinter.release");
}

/* 10 bytes are one chunk: the table has one row, so 88 bytes. */
static void test_bad_table_sizes(void **state)
{
    static const char *const sizes[] = {"0",  "43",  "44",         "45",         "87",
                                        "89", "132", "4294967384", "2147483648", "9223372036854775808"};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        CLEANUP_FREE char *members =
            alloc_printf("{\"format\":1,\"sha256\":\"" ZEROS64
                         "\",\"chunks\":{\"url\":\"x\",\"size\":%s,\"sha256\":\"" ZEROS64 "\"}}",
                         sizes[i]);
        assert_ours_refused(members, "moonsinter.chunks.size");
    }
    /* Three chunks of at most 1 MiB cannot make 4 GiB. */
    assert_manifest_refused(
        "{\"chunk_hashes\":\"1,2,3,4\",\"chunk_size\":1073741824,\"last_chunk_size\":1073741824,"
        "\"file_hash\":0,\"file_size\":4294967296,\"moonsinter\":" CHUNKS(
            "\"url\":\"x\",\"size\":176,\"sha256\":\"" ZEROS64 "\"") "}",
        "moonsinter.chunks.size");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ancestor),
        cmocka_unit_test(test_any_order_and_unknown_members),
        cmocka_unit_test(test_empty_image),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_smallest_of_ours),
        cmocka_unit_test(test_reserved_members_are_ignored),
        cmocka_unit_test(test_not_json),
        cmocka_unit_test(test_truncated_anywhere),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_missing_and_mistyped),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_sizes_that_disagree),
        cmocka_unit_test(test_large_numbers),
        cmocka_unit_test(test_bad_hashes),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_bad_ours),
        cmocka_unit_test(test_bad_table_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
