/* SPDX-License-Identifier: MIT */
/* The manifest. What is understood is written and understood again as the same. */
#include "common/image/manifest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/image/url.h"
#include "common/sinter/release.h"
#include "tests/fuzz/fuzz.h"

static void check_sums(const struct manifest *manifest)
{
    uint64_t whole = manifest->chunk_count ? (uint64_t)(manifest->chunk_count - 1) * manifest->chunk_size : 0;

    assert(manifest->chunk_size >= 1 && manifest->last_chunk_size <= manifest->chunk_size);
    assert(whole + manifest->last_chunk_size == manifest->file_size);
    assert(manifest->file_size <= MANIFEST_FILE_SIZE_MAX);
}

/* A reference may contain any word, so what tells that nothing of the base's secrets is shown is that a base
 * with other ones shows the same. */
static void resolve(const struct manifest *manifest)
{
    struct url *base, *base_without, *url, *without;
    struct error error;

    if (!url_new("https://user:password@host/a/b.json?token", &base, &error) ||
        !url_new("https://host/a/b.json?other", &base_without, &error))
        abort();
    if (manifest->chunks.present && url_refer(base, manifest->chunks.url, &url, &error)) {
        assert(url_is_secure(url));
        if (!url_refer(base_without, manifest->chunks.url, &without, &error))
            abort();
        assert(strcmp(url_shown(url), url_shown(without)) == 0);
        url_free(without);
        url_free(url);
    }
    url_free(base_without);
    url_free(base);
}

/* The image of a part lies beside its manifest: .json after its URL is the URL that the reference leads to,
 * with the same query. */
static void resolve_part(const struct release *set, const struct manifest_part_file *file)
{
    struct url *image, *manifest;
    struct error error;

    if (!file->url || !release_refer_part(set, file, &image, &error))
        return;
    assert(url_is_secure(image));
    if (!url_refer(set->manifest_url, file->url, &manifest, &error))
        abort();
    struct url *beside = url_append_to_path(image, ".json");
    assert(url_is_equal(beside, manifest));
    url_free(beside);
    url_free(manifest);
    url_free(image);
}

static void resolve_parts(const struct manifest *manifest)
{
    struct release set = {0};
    struct error error;

    if (!url_new("https://user:password@host/a/b.json?token", &set.manifest_url, &error))
        abort();
    for (uint32_t i = 0; i < manifest->parts.count; i++)
        for (int slot = 0; slot < 2; slot++)
            resolve_part(&set, &manifest->parts.list[i].files[slot]);
    url_free(set.manifest_url);
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
    resolve_parts(manifest);
    CLEANUP_FREE char *text = manifest_format(manifest);
    if (!manifest_parse(text, strlen(text), &again, &error))
        abort();
    CLEANUP_FREE char *text_again = manifest_format(again);
    assert(strcmp(text, text_again) == 0);
    manifest_free(again);
    manifest_free(manifest);
    return 0;
}
