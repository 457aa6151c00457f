/* SPDX-License-Identifier: MIT */
/* The manifest's member `parts`, which makes a release a set. */
#include "common/image/manifest_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/unit/manifest_texts.h"

#define FILE_OF(url) "{\"url\":\"" url "\",\"size\":333,\"sha256\":\"" SHA64 "\"}"
#define BOOT         "{\"name\":\"boot\",\"manifest\":" FILE_OF("boot-7.vfat.json") "}"
#define UKI          "{\"name\":\"uki\",\"a\":" FILE_OF("a.efi.json") ",\"b\":" FILE_OF("https://h/b.efi.json?t=1") "}"
#define SET(parts)   "{\"format\":2,\"needs\":\"0.2.0\",\"sha256\":\"" ZEROS64 "\",\"parts\":" parts "}"

static void test_a_set(void **state)
{
    static const char text[] =
        "{\"chunk_hashes\":\"1\",\"chunk_size\":4096,\"last_chunk_size\":1000,\"file_hash\":7,\"file_size\":1000,"
        "\"moonsinter\":{\"format\":2,\"needs\":\"0.2.0\",\"sha256\":\"" SHA64
        "\",\"release\":{\"version\":\"7\"},\"parts\":[" BOOT "," UKI "]}}\n";
    struct manifest *manifest = manifest_text_must_parse(text);
    const struct manifest_parts *parts = &manifest->parts;

    assert_int_equal(parts->count, 2);
    const struct manifest_part *boot = manifest_parts_find(parts, "boot");
    assert_ptr_equal(boot, &parts->list[0]);
    assert_false(boot->per_slot);
    assert_string_equal(boot->files[0].url, "boot-7.vfat.json");
    assert_true(boot->files[0].size_bytes == 333 && boot->files[0].sha256[0] == 0xe3);
    assert_null(boot->files[1].url);
    const struct manifest_part *uki = manifest_parts_find(parts, "uki");
    assert_true(uki->per_slot);
    assert_string_equal(uki->files[0].url, "a.efi.json");
    assert_string_equal(uki->files[1].url, "https://h/b.efi.json?t=1");
    assert_null(manifest_parts_find(parts, "roo"));
    CLEANUP_FREE char *formatted = manifest_format(manifest);
    assert_string_equal(formatted, text);
    manifest_free(manifest);
}

/* What the format's number says and what is there have to agree: a reader of format 1 would install the main
 * image alone. */
static void test_the_format_says_so(void **state)
{
    assert_ours_refused("{\"format\":1,\"sha256\":\"" ZEROS64 "\",\"parts\":[" BOOT "]}",
                        "has format 1 and moonsinter.parts is there");
    assert_ours_refused("{\"format\":2,\"sha256\":\"" ZEROS64 "\"}",
                        "has format 2 and moonsinter.parts is missing");
    assert_ours_refused("{\"format\":2,\"sha256\":\"" ZEROS64 "\",\"parts\":null}",
                        "has format 2 and moonsinter.parts is missing");
    assert_ours_refused("{\"format\":3,\"needs\":\"3.1\",\"sha256\":5}", "needs moonsinter 3.1 or later");
}

static void test_how_many(void **state)
{
    assert_ours_refused(SET("[]"), "has 0 parts");
    assert_ours_refused(SET("{}"), "moonsinter.parts of the manifest is no array");
    assert_ours_refused(SET("\"boot\""), "moonsinter.parts of the manifest is no array");
    for (int count = 16; count <= 17; count++) {
        CLEANUP_FREE char *list = alloc_string("");
        for (int i = 0; i < count; i++) {
            char *longer = alloc_printf("%s%s{\"name\":\"part-%d\",\"manifest\":" FILE_OF("x.json") "}", list,
                                        i > 0 ? "," : "", i);
            free(list);
            list = longer;
        }
        CLEANUP_FREE char *members = alloc_printf(SET("[%s]"), list);
        if (count > MANIFEST_PARTS_MAX) {
            assert_ours_refused(members, "has 17 parts");
            continue;
        }
        CLEANUP_FREE char *text = manifest_text_ours(members);
        struct manifest *manifest = manifest_text_must_parse(text);
        assert_int_equal(manifest->parts.count, 16);
        manifest_free(manifest);
    }
}

static void test_names(void **state)
{
    static const char *const bad[] = {
        "",   "Boot", "bo ot", "b\\u00f6t",   "boot/x",
        "..", "a_b",  "root",  "boot\\u0000", "abcdefghijklmnopqrstuvwxyz0123456"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CLEANUP_FREE char *members =
            alloc_printf(SET("[{\"name\":\"%s\",\"manifest\":" FILE_OF("x.json") "}]"), bad[i]);
        assert_ours_refused(members, "moonsinter.parts[0].name");
    }
    assert_ours_refused(SET("[{\"manifest\":" FILE_OF("x.json") "}]"), "lacks moonsinter.parts[0].name");
    assert_ours_refused(SET("[" BOOT "," BOOT "]"), "two parts with the name boot");
    assert_null(manifest_part_check_name("abcdefghijklmnopqrstuvwxyz012345"));
    assert_null(manifest_part_check_name("-"));
}

static void test_files(void **state)
{
    static const struct {
        const char *part, *words;
    } bad[] = {
        {"5", "parts[0] of the manifest is no object"},
        {"{\"name\":\"boot\"}", "either the object manifest, or the objects a and b"},
        {"{\"name\":\"boot\",\"a\":" FILE_OF("x.json") "}", "either the object manifest"},
        {"{\"name\":\"boot\",\"b\":" FILE_OF("x.json") "}", "either the object manifest"},
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF("x.json") ",\"a\":" FILE_OF("x.json") "}",
         "either the object manifest"},
        {"{\"name\":\"boot\",\"manifest\":[]}", "either the object manifest"},
        {"{\"name\":\"boot\",\"a\":" FILE_OF("x.json") ",\"b\":7}", "either the object manifest"},
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF("x.vfat") "}", "does not end in .json"},
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF(".json") "}", "does not end in .json"},
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF("d/.json") "}", "does not end in .json"},
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF("x?y=z.json") "}", "does not end in .json"},
        /* Without .json these would be another folder, or another host. */
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF("..json") "}", "does not end in .json"},
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF("d/...json") "}", "does not end in .json"},
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF("//host.json") "}", "does not end in .json"},
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF("https://host.json?t") "}", "does not end in .json"},
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF("https://host/.json") "}", "does not end in .json"},
        {"{\"name\":\"boot\",\"manifest\":" FILE_OF("") "}", "parts[0].manifest.url"},
        {"{\"name\":\"boot\",\"manifest\":{\"url\":\"x.json\",\"size\":1}}", "parts[0].manifest.sha256"},
        {"{\"name\":\"boot\",\"manifest\":{\"url\":\"x.json\",\"size\":0,\"sha256\":\"" SHA64 "\"}}",
         "parts[0].manifest.size"},
        {"{\"name\":\"boot\",\"manifest\":{\"url\":\"x.json\",\"size\":12582913,\"sha256\":\"" SHA64 "\"}}",
         "parts[0].manifest.size"},
        {"{\"name\":\"boot\",\"a\":" FILE_OF(
             "x.json") ",\"b\":{\"url\":\"y.json\",\"size\":1,\"sha256\":\"e\"}}",
         "parts[0].b.sha256"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CLEANUP_FREE char *members = alloc_printf(SET("[%s]"), bad[i].part);
        assert_ours_refused(members, bad[i].words);
        /* Behind a whole one, whose memory is freed, too. */
        CLEANUP_FREE char *second =
            alloc_printf(SET("[{\"name\":\"first\",\"manifest\":" FILE_OF("f.json") "},%s]"), bad[i].part);
        assert_ours_refused(second, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_set),    cmocka_unit_test(test_the_format_says_so),
        cmocka_unit_test(test_how_many), cmocka_unit_test(test_names),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
