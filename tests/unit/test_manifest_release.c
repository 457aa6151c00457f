/* SPDX-License-Identifier: MIT */
/* The manifest's member `release`. */
#include "common/image/manifest_release.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"
#include "tests/unit/manifest_texts.h"

static void test_rollout(void **state)
{
    static const char text[] =
        "{\"chunk_hashes\":\"1\",\"chunk_size\":4096,\"last_chunk_size\":1000,\"file_hash\":7,\"file_size\":1000,"
        "\"moonsinter\":{\"format\":1,\"sha256\":\"" SHA64
        "\",\"release\":{\"rollout\":{\"start\":\"2026-11-22T13:39:09Z\","
        "\"duration\":4294967295,\"percent\":0,\"hold\":true}}}}\n";
    struct manifest *manifest = manifest_text_must_parse(text);
    const struct manifest_rollout *rollout = &manifest->release.rollout;

    assert_true(rollout->present && rollout->hold);
    assert_int_equal(rollout->start_s, 1795354749);
    assert_true(rollout->duration_s == UINT32_MAX);
    assert_int_equal(rollout->percent, 0);
    CLEANUP_FREE char *formatted = manifest_format(manifest);
    assert_string_equal(formatted, text);
    manifest_free(manifest);

    /* What is not said is said so. */
    CLEANUP_FREE char *empty =
        manifest_text_ours("{\"format\":1,\"sha256\":\"" ZEROS64 "\",\"release\":{\"rollout\":{}}}");
    manifest = manifest_text_must_parse(empty);
    rollout = &manifest->release.rollout;
    assert_true(rollout->present && !rollout->hold);
    assert_int_equal(rollout->percent, 100);
    assert_int_equal(rollout->start_s + rollout->duration_s, 0);
    CLEANUP_FREE char *again = manifest_format(manifest);
    assert_non_null(strstr(again, "\"release\":{\"rollout\":{}}}}"));
    manifest_free(manifest);
}

static void test_bad_release(void **state)
{
    static const char *const members[] = {
        "\"version\":1",
        "\"version\":\"\"",
        "\"version\":\"a\\nb\"",
        "\"version\":\"a\\u0000b\"",
        "\"version\":\"\\u202e\"",
        "\"version\":\"\\u0085\"",
        "\"compatible\":[\"a\"]",
        "\"compatible\":\"\\u001b[31m\"",
        "\"serial\":-1",
        "\"serial\":1.5",
        "\"serial\":\"1\"",
        "\"serial\":9223372036854775808",
        "\"created\":1795354749",
        "\"created\":\"\"",
        "\"created\":\"2026-11-22\"",
        "\"created\":\"2026-11-22T13:39:09\"",
        "\"created\":\"2026-11-22T13:39:09+01:00\"",
        "\"created\":\"2026-02-29T13:39:09Z\"",
        "\"expires\":\"1970-01-01T00:00:00Z\"",
        "\"expires\":\"1969-12-31T23:59:59Z\"",
        "\"rollout\":true",
        "\"rollout\":[]",
        "\"rollout\":{\"percent\":101}",
        "\"rollout\":{\"percent\":-1}",
        "\"rollout\":{\"percent\":1.5}",
        "\"rollout\":{\"percent\":\"10\"}",
        "\"rollout\":{\"duration\":4294967296}",
        "\"rollout\":{\"duration\":\"1h\"}",
        "\"rollout\":{\"start\":1795354749}",
        "\"rollout\":{\"start\":\"1970-01-01T00:00:00Z\"}",
        "\"rollout\":{\"hold\":1}",
        "\"rollout\":{\"hold\":\"false\"}",
    };

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        CLEANUP_FREE char *release =
            alloc_printf("{\"format\":1,\"sha256\":\"" ZEROS64 "\",\"release\":{%s}}", members[i]);
        assert_ours_refused(release, "moonsinter.release.");
    }
    char text[MANIFEST_TEXT_MAX + 2];
    memset(text, 'x', sizeof(text));
    text[MANIFEST_TEXT_MAX + 1] = 0;
    CLEANUP_FREE char *too_long =
        alloc_printf("{\"format\":1,\"sha256\":\"" ZEROS64 "\",\"release\":{\"version\":\"%s\"}}", text);
    assert_ours_refused(too_long, "moonsinter.release.version");
    text[MANIFEST_TEXT_MAX] = 0;
    CLEANUP_FREE char *members_ok =
        alloc_printf("{\"format\":1,\"sha256\":\"" ZEROS64 "\",\"release\":{\"version\":\"%s\"}}", text);
    CLEANUP_FREE char *just_right = manifest_text_ours(members_ok);
    manifest_free(manifest_text_must_parse(just_right));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollout),
        cmocka_unit_test(test_bad_release),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
