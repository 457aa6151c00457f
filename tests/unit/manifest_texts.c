/* SPDX-License-Identifier: MIT */
#include "tests/unit/manifest_texts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"

bool manifest_text_parse(const char *text, size_t size, struct manifest **ret_manifest, struct error *error)
{
    char *copy = malloc(size ? size : 1);

    assert_non_null(copy);
    memcpy(copy, text, size);
    bool ok = manifest_parse(copy, size, ret_manifest, error);
    free(copy);
    return ok;
}

struct manifest *manifest_text_must_parse(const char *text)
{
    struct manifest *manifest;
    struct error error;

    if (!manifest_text_parse(text, strlen(text), &manifest, &error))
        fail_msg("%s: %s", text, error.message);
    return manifest;
}

void assert_manifest_refused(const char *text, const char *words)
{
    struct manifest *manifest = NULL;
    struct error error = {0};

    if (manifest_text_parse(text, strlen(text), &manifest, &error))
        fail_msg("accepted: %s", text);
    assert_null(manifest);
    assert_int_equal(error.kind, ERROR_FORMAT);
    if (!strstr(error.message, words))
        fail_msg("no \"%s\" in: %s", words, error.message);
}

char *manifest_text_ours(const char *members)
{
    return alloc_printf("{\"chunk_hashes\":\"1\",\"chunk_size\":10,\"last_chunk_size\":10,\"file_hash\":1,"
                        "\"file_size\":10,\"moonsinter\":%s}",
                        members);
}

void assert_ours_refused(const char *members, const char *words)
{
    CLEANUP_FREE char *text = manifest_text_ours(members);

    assert_manifest_refused(text, words);
}
