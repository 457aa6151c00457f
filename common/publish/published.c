/* SPDX-License-Identifier: MIT */
#include "common/publish/published.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/image/pack_section.h"
#include "common/image/table_difference.h"
#include "common/io/device.h"
#include "common/sinter/trust.h"

bool published_read_manifest(const char *image_path, struct manifest **ret_manifest, size_t *ret_size,
                             uint8_t *ret_sha256, struct error *error)
{
    CLEANUP_FREE char *path = alloc_printf("%s.json", image_path);
    CLEANUP_FREE char *text = NULL;
    struct trust nobody = {0}; /* no key, so no signature is needed: these are the publisher's own files */
    struct trust_verdict verdict = {0};
    bool distrusted;
    size_t size;

    if (!file_read(path, MANIFEST_SIZE_MAX, &text, &size, error))
        return false;
    struct trust_input input = {.manifest = text, .manifest_size = size};
    if (!trust_parse_manifest(&nobody, &input, &verdict, ret_manifest, &distrusted, error))
        return error_prefix(error, "%s", path);
    free(verdict.comment);
    *ret_size = size;
    if (ret_sha256)
        digest_sha256(text, size, ret_sha256);
    return true;
}

static bool read_table(const char *image_path, struct published *published, struct error *error)
{
    const struct manifest *manifest = published->manifest;
    CLEANUP_FREE char *path = alloc_printf("%s.chunks", image_path);
    uint8_t sha256[DIGEST_SHA256_SIZE];
    char *data;
    size_t size;

    if (!manifest->chunks.present)
        return error_set(error, ERROR_REFUSED, "the manifest of %s names no table of chunks", image_path);
    if (!file_read(path, CHUNK_TABLE_SIZE_MAX, &data, &size, error))
        return false;
    digest_sha256(data, size, sha256);
    if (size != manifest->chunks.size_bytes || memcmp(sha256, manifest->chunks.sha256, sizeof(sha256)) != 0) {
        free(data);
        return error_set(error, ERROR_MISMATCH, "%s is not the table that the manifest names", path);
    }
    return chunk_table_parse((uint8_t *)data, size, manifest->file_size, &published->table, error) ||
           error_prefix(error, "%s", path);
}

/* Reads a section and unpacks it. Its sizes were checked when the manifest was parsed. */
static bool read_section(const struct device *pack, const struct manifest_section *section, const char *what,
                         uint8_t **ret_data, struct error *error)
{
    CLEANUP_FREE uint8_t *frame = malloc(section->size);

    if (!frame)
        return error_set_errno(error, ENOMEM, "cannot hold a section of %s", device_path(pack));
    if (!device_read(pack, frame, section->size, section->offset, error))
        return false;
    return pack_section_unpack(section, frame, what, ret_data, error) ||
           error_prefix(error, "%s", device_path(pack));
}

static bool read_frames(const struct device *pack, struct published *published, struct error *error)
{
    const struct manifest_pack *member = &published->manifest->pack;
    CLEANUP_FREE uint8_t *data = NULL;

    return read_section(pack, &member->frames, "frames", &data, error) &&
           frame_index_parse(data, member->frames.unpacked, published->table,
                             chunk_index_classes(published->index), member->size, &published->frames, error);
}

static bool read_patches(const struct device *pack, struct published *published, uint32_t number,
                         struct error *error)
{
    const struct manifest_pack *member = &published->manifest->pack;
    const struct manifest_base *base = &member->bases[number];
    CLEANUP_FREE uint8_t *data = NULL;
    struct table_difference *difference;
    size_t used;

    if (!read_section(pack, &base->index, "index", &data, error) ||
        !table_difference_parse(data, base->index.unpacked, published->manifest->chunks.size_bytes,
                                base->size, &difference, &used, error))
        return false;
    table_difference_free(difference);
    return patch_list_parse(data + used, base->index.unpacked - used, published->table, base, member->size,
                            &published->patches[number], error);
}

static bool read_pack(const char *image_path, struct published *published, struct error *error)
{
    const struct manifest_pack *member = &published->manifest->pack;
    CLEANUP_FREE char *path = alloc_printf("%s.pack", image_path);
    struct device *pack;

    if (!member->present)
        return true;
    if (!device_open_source(path, &pack, error))
        return false;
    published->patches = alloc_array(member->base_count, sizeof(struct patch_list *));
    bool ok = !member->has_frames || read_frames(pack, published, error);
    for (uint32_t i = 0; ok && i < member->base_count; i++)
        ok = read_patches(pack, published, i, error);
    device_close(pack);
    return ok;
}

bool published_read(const char *image_path, struct published *ret_published, struct error *error)
{
    struct published published = {0};

    bool ok =
        published_read_manifest(image_path, &published.manifest, &published.manifest_size, NULL, error) &&
        read_table(image_path, &published, error);
    if (ok) {
        published.index = chunk_index_new(published.table);
        ok = read_pack(image_path, &published, error);
    }
    if (!ok) {
        published_finish(&published);
        return false;
    }
    *ret_published = published;
    return true;
}

void published_finish(struct published *published)
{
    for (uint32_t i = 0; published->patches && i < published->manifest->pack.base_count; i++)
        patch_list_free(published->patches[i]);
    free(published->patches);
    frame_index_free(published->frames);
    chunk_index_free(published->index);
    chunk_table_free(published->table);
    manifest_free(published->manifest);
    *published = (struct published){0};
}
