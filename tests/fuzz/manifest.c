/* The manifest. What is understood is written and understood again as the same. */
#include "common/image/manifest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/fuzz/fuzz.h"

static void check_sums(const struct manifest *manifest)
{
    uint64_t whole = manifest->chunk_count ? (uint64_t)(manifest->chunk_count - 1) * manifest->chunk_size : 0;

    assert(manifest->chunk_size >= 1 && manifest->last_chunk_size <= manifest->chunk_size);
    assert(whole + manifest->last_chunk_size == manifest->file_size);
    assert(manifest->file_size <= MANIFEST_FILE_SIZE_MAX);
}

static void resolve(const struct manifest *manifest)
{
    struct error error;
    char *url;

    if (manifest->chunks.present &&
        manifest_resolve_url("https://host/a/b.json", manifest->chunks.url, &url, &error)) {
        assert(strncmp(url, "https://", 8) == 0);
        free(url);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest *manifest, *again;
    struct error error;

    if (!manifest_parse((const char *)data, size, &manifest, &error)) {
        assert(error.kind != ERROR_NONE && *error.message);
        return 0;
    }
    check_sums(manifest);
    resolve(manifest);
    CLEANUP_FREE char *text = manifest_format(manifest);
    if (!manifest_parse(text, strlen(text), &again, &error))
        abort();
    CLEANUP_FREE char *text_again = manifest_format(again);
    assert(strcmp(text, text_again) == 0);
    manifest_free(again);
    manifest_free(manifest);
    return 0;
}
