/* SPDX-License-Identifier: MIT */
/* The manifest's member `pack`: every number against every other. */
#include "common/image/manifest_pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/unit/manifest_texts.h"

#define SECTION(offset, size, unpacked)                                                                      \
    "{\"offset\":" offset ",\"size\":" size ",\"unpacked\":" unpacked ",\"sha256\":\"" ZEROS64 "\"}"

/* An image of ours with a table of one row, and `pack` as that member. */
static void assert_pack(const char *pack, const char *words)
{
    CLEANUP_FREE char *members = alloc_printf(
        CHUNKS("\"url\":\"x\",\"size\":88,\"sha256\":\"" ZEROS64 "\"},\"pack\":%s,\"x\":{"), pack);

    if (words) {
        assert_ours_refused(members, words);
        return;
    }
    CLEANUP_FREE char *text = manifest_text_ours(members);
    manifest_free(manifest_text_must_parse(text));
}

static void assert_pack_with(const char *members, const char *words)
{
    CLEANUP_FREE char *pack = alloc_printf("{\"url\":\"x\",\"size\":10000,%s}", members);

    assert_pack(pack, words);
}

/* A base that is right but for what is given. */
static void assert_base(const char *size, const char *probes, const char *patches, const char *index,
                        const char *span_max, const char *output_max, const char *words)
{
    CLEANUP_FREE char *members =
        alloc_printf("\"bases\":[{\"size\":%s,\"probes\":%s,\"patches\":%s,\"index\":%s,\"span_max\":%s,"
                     "\"output_max\":%s}]",
                     size, probes, patches, index, span_max, output_max);

    assert_pack_with(members, words);
}

#define PROBE "\"99:0123456789abcdef\""
#define INDEX SECTION("8", "9992", "10000")

static void test_bad_packs(void **state)
{
    assert_pack("[]", "moonsinter.pack of the manifest is no object");
    assert_pack("{\"url\":5}", "moonsinter.pack.url");
    assert_pack("{\"url\":\"x\"}", "lacks moonsinter.pack.size");
    assert_pack("{\"url\":\"\",\"size\":8}", "moonsinter.pack.url");
    assert_pack("{\"url\":\"x\",\"size\":7}", "moonsinter.pack.size");
    assert_pack("{\"url\":\"x\",\"size\":4611686018427387905}", "moonsinter.pack.size");
    assert_pack("{\"url\":\"x\",\"size\":8}", "neither frames nor bases");
    assert_ours_refused(OURS("\"pack\":{}"), "no moonsinter.chunks");
    assert_pack_with("\"frames\":[]", "moonsinter.pack.frames of the manifest is no object");
    assert_pack_with("\"bases\":{}", "no array");
    assert_pack_with("\"bases\":[]", "moonsinter.pack.bases");
    assert_pack_with("\"bases\":[1]", "moonsinter.pack.bases[0]");
    assert_pack_with("\"bases\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "1 to 16 members");
    assert_pack_with("\"bases\":[{}]", "lacks moonsinter.pack.bases[0].size");
    assert_pack_with("\"frames\":" SECTION("8", "1027", "3"), NULL);
    assert_base("100", PROBE, "8", INDEX, "8388608", "4194304", NULL);
}

/* The table has one row, so `frames` has at most 3 bytes and an index at most 4 * 88 + 65536. */
static void test_bad_sections(void **state)
{
    static const char *const sections[] = {
        SECTION("7", "1", "1"),
        SECTION("8", "0", "1"),
        SECTION("10000", "1", "1"),
        SECTION("9999", "2", "1"),
        SECTION("8", "9993", "10000"),
        SECTION("8", "1026", "1"),
        SECTION("8", "100", "4294967297"),
        SECTION("9223372036854775807", "9223372036854775807", "1"),
        SECTION("18446744073709551608", "100", "1"),
        SECTION("100", "18446744073709551608", "1"),
        SECTION("100", "100", "-1"),
        "{\"offset\":8,\"size\":1,\"unpacked\":1}",
        "{\"offset\":8,\"size\":1,\"unpacked\":1,\"sha256\":\"00\"}",
        "null",
        "1",
    };

    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        CLEANUP_FREE char *frames = alloc_printf("\"frames\":%s", sections[i]);
        assert_pack_with(frames, "moonsinter.pack");
        assert_base("100", PROBE, "8", sections[i], "0", "0", "moonsinter.pack.bases[0].index");
    }
    assert_pack_with("\"frames\":" SECTION("8", "1", "4"), "moonsinter.pack.frames.unpacked");
    assert_base("100", PROBE, "8", SECTION("8", "100", "65888"), "0", "0", NULL);
    assert_base("100", PROBE, "8", SECTION("8", "100", "65889"), "0", "0", "bases[0].index.unpacked");
}

static void test_bad_bases(void **state)
{
    static const char *const probes[] = {"\"\"",
                                         "5",
                                         "\"1\"",
                                         "\":0123456789abcdef\"",
                                         "\"1:\"",
                                         "\"1:0123456789abcde\"",
                                         "\"1:0123456789ABCDEF\"",
                                         "\"1:0123456789abcdef0\"",
                                         "\"1:0123456789abcdef,\"",
                                         "\",1:0123456789abcdef\"",
                                         "\"-1:0123456789abcdef\"",
                                         "\" 1:0123456789abcdef\"",
                                         "\"1:0123456789abcdef;2:0123456789abcdef\"",
                                         "\"100:0123456789abcdef\"",
                                         "\"18446744073709551617:0123456789abcdef\"",
                                         "\"000000000000000000000000000000000001:0123456789abcdef\""};
    char many[17 * 20 + 3] = "\"";

    assert_base("0", PROBE, "8", INDEX, "0", "0", "bases[0].size");
    assert_base("4611686018427387905", PROBE, "8", INDEX, "0", "0", "bases[0].size");
    assert_base("100", PROBE, "7", INDEX, "0", "0", "bases[0].patches");
    assert_base("100", PROBE, "10001", INDEX, "0", "0", "bases[0].patches");
    assert_base("100", PROBE, "8", INDEX, "8388609", "0", "bases[0].span_max");
    assert_base("100", PROBE, "8", INDEX, "0", "4194305", "bases[0].output_max");
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
        assert_base("100", probes[i], "8", INDEX, "0", "0", "bases[0].probes");
    for (unsigned i = 0; i < 17; i++)
        strcat(many, i ? ",10:0123456789abcdef" : "10:0123456789abcdef");
    strcat(many, "\"");
    assert_base("100", many, "8", INDEX, "0", "0", "bases[0].probes");
    strcpy(many + strlen(many) - 21, "\"");
    assert_base("100", many, "8", INDEX, "0", "0", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_packs),
        cmocka_unit_test(test_bad_sections),
        cmocka_unit_test(test_bad_bases),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
