/* SPDX-License-Identifier: MIT */
#include "common/image/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/utf8.h"
#include "common/base/version.h"
#include "common/image/chunk_table.h"
#include "common/image/manifest_member.h"

static bool parse_chunks(struct json_object *object, uint64_t file_size, struct manifest_chunks *chunks,
                         struct error *error)
{
    static const char where[] = "moonsinter.chunks.";

    if (!manifest_need_url(object, where, &chunks->url, error) ||
        !manifest_need_number(object, where, "size", CHUNK_TABLE_HEADER_SIZE, CHUNK_TABLE_SIZE_MAX,
                              &chunks->size_bytes, error) ||
        !manifest_need_sha256(object, where, chunks->sha256, error))
        return false;

    /* Whether a table of this size can describe the image with any average: each chunk except the last has at
     * least the smallest minimum, and none has more than the largest maximum. */
    uint64_t rows = (chunks->size_bytes - CHUNK_TABLE_HEADER_SIZE) / CHUNK_TABLE_ROW_SIZE;
    uint64_t rows_max = file_size / (CHUNKER_AVERAGE_MIN / 4) + (file_size % (CHUNKER_AVERAGE_MIN / 4) != 0);
    if ((chunks->size_bytes - CHUNK_TABLE_HEADER_SIZE) % CHUNK_TABLE_ROW_SIZE != 0 || rows > rows_max ||
        file_size > rows * CHUNKER_AVERAGE_MAX * 4)
        return error_set(error, ERROR_FORMAT,
                         "moonsinter.chunks.size of the manifest, %" PRIu64
                         ", cannot be the size of a table of chunks "
                         "of an image of %" PRIu64 " bytes",
                         chunks->size_bytes, file_size);
    chunks->present = true;
    return true;
}

/* The format number is checked first: in another format the other members may mean something else. */
static bool check_format(struct json_object *ours, struct error *error)
{
    uint64_t format = 0;
    const char *needs = NULL;
    struct json_object *parts;

    if (!manifest_need_number(ours, "moonsinter.", "format", 1, INT32_MAX, &format, error))
        return false;
    if (format == MANIFEST_FORMAT || format == MANIFEST_FORMAT_SET) {
        /* Readers of format 1 ignore parts, and would install a part of the release. */
        if ((format == MANIFEST_FORMAT_SET) != (json_get_array(ours, "parts", &parts) != JSON_MEMBER_ABSENT))
            return error_set(error, ERROR_FORMAT,
                             "the manifest has format %" PRIu64
                             " and moonsinter.parts is %s; a set has format %d",
                             format, format == MANIFEST_FORMAT ? "there" : "missing", MANIFEST_FORMAT_SET);
        return true;
    }
    if (json_get_string(ours, "needs", &needs) == JSON_MEMBER_OK &&
        utf8_is_printable(needs, MANIFEST_TEXT_MAX))
        return error_set(error, ERROR_FORMAT,
                         "the manifest has format %" PRIu64
                         " and needs moonsinter %s or later; this is %s and knows formats up to %d",
                         format, needs, version_text(), MANIFEST_FORMAT_SET);
    return error_set(error, ERROR_FORMAT,
                     "the manifest needs a moonsinter with manifest format %" PRIu64
                     "; this is %s and knows formats up to %d",
                     format, version_text(), MANIFEST_FORMAT_SET);
}

/* *ret_value is NULL where the member is missing. */
static bool find_member(struct json_object *ours, const char *name, enum json_type type,
                        struct json_object **ret_value, struct error *error)
{
    enum json_member member = type == json_type_array ? json_get_array(ours, name, ret_value)
                                                      : json_get_object(ours, name, ret_value);

    if (member == JSON_MEMBER_BAD)
        return error_set(error, ERROR_FORMAT, "moonsinter.%s of the manifest is no %s", name,
                         json_type_to_name(type));
    if (member == JSON_MEMBER_ABSENT)
        *ret_value = NULL;
    return true;
}

static bool parse_ours(struct json_object *ours, struct manifest *manifest, struct error *error)
{
    struct json_object *chunks, *pack, *release, *parts;

    if (!manifest_need_sha256(ours, "moonsinter.", manifest->sha256, error) ||
        !find_member(ours, "chunks", json_type_object, &chunks, error) ||
        !find_member(ours, "pack", json_type_object, &pack, error) ||
        !find_member(ours, "release", json_type_object, &release, error) ||
        !find_member(ours, "parts", json_type_array, &parts, error))
        return false;
    manifest->has_sha256 = true;
    if (pack && !chunks)
        return error_set(error, ERROR_FORMAT, "the manifest has moonsinter.pack but no moonsinter.chunks");
    return (!chunks || parse_chunks(chunks, manifest->file_size, &manifest->chunks, error)) &&
           (!pack || manifest_pack_parse(pack, manifest->chunks.size_bytes, &manifest->pack, error)) &&
           (!release || manifest_release_parse(release, &manifest->release, error)) &&
           (!parts || manifest_parts_parse(parts, &manifest->parts, error));
}

static uint64_t count_hashes(const char *text)
{
    uint64_t count = *text != 0;

    for (; *text; text++)
        count += *text == ',';
    return count;
}

/* Reads one hash as printf's %x writes it and moves *text past it; returns 0 or -EINVAL. */
static int take_hash(const char **text, uint32_t *ret_hash)
{
    const char *c = *text;
    uint32_t hash = 0;

    /* Not strspn(): under AddressSanitizer it measures the whole rest of the text for each hash. */
    for (; (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'f'); c++) {
        if (c - *text == 8)
            return -EINVAL;
        hash = hash << 4 | (uint32_t)(*c <= '9' ? *c - '0' : *c - 'a' + 10);
    }
    if (c == *text || (c - *text > 1 && **text == '0'))
        return -EINVAL;
    *text = c;
    *ret_hash = hash;
    return 0;
}

/* `count` was found by counting the commas in `text`, so it is safe to allocate by. */
static bool parse_hashes(const char *text, uint32_t count, uint32_t **ret_hashes, struct error *error)
{
    CLEANUP_FREE uint32_t *hashes = calloc(count ? count : 1, sizeof(*hashes));
    if (!hashes)
        return error_set_errno(error, ENOMEM, "cannot hold %" PRIu32 " chunk hashes", count);

    for (uint32_t i = 0; i < count; i++) {
        bool last = i + 1 == count;
        if (take_hash(&text, &hashes[i]) < 0 || *text != (last ? 0 : ','))
            return error_set(error, ERROR_FORMAT,
                             "hash %" PRIu32
                             " of the manifest's chunk_hashes is not 1 to 8 lower-case hex digits "
                             "without leading zeros",
                             i + 1);
        text += !last;
    }
    *ret_hashes = hashes;
    hashes = NULL;
    return true;
}

/* Reads the ancestor's five members and checks each against the others. */
static bool parse_ancestor(struct json_object *object, struct manifest *manifest, struct error *error)
{
    const char *hashes;
    uint64_t chunk_size = 0, last_chunk_size = 0, file_hash = 0, file_size = 0;

    if (!manifest_need_string(object, "", "chunk_hashes", &hashes, error) ||
        !manifest_need_number(object, "", "chunk_size", 1, MANIFEST_CHUNK_SIZE_MAX, &chunk_size, error) ||
        !manifest_need_number(object, "", "last_chunk_size", 0, MANIFEST_CHUNK_SIZE_MAX, &last_chunk_size,
                              error) ||
        !manifest_need_number(object, "", "file_hash", 0, UINT32_MAX, &file_hash, error) ||
        !manifest_need_number(object, "", "file_size", 0, MANIFEST_FILE_SIZE_MAX, &file_size, error))
        return false;

    uint64_t count = count_hashes(hashes), rest = file_size % chunk_size;
    uint64_t expected_count = file_size / chunk_size + (rest != 0);
    uint64_t expected_last = rest != 0 || file_size == 0 ? rest : chunk_size;
    if (count != expected_count)
        return error_set(error, ERROR_FORMAT,
                         "the manifest has %" PRIu64 " chunk hashes, but %" PRIu64
                         " bytes in chunks of %" PRIu64 " make %" PRIu64,
                         count, file_size, chunk_size, expected_count);
    if (last_chunk_size != expected_last)
        return error_set(error, ERROR_FORMAT,
                         "the manifest's last_chunk_size is %" PRIu64 ", but %" PRIu64
                         " bytes in chunks of %" PRIu64 " leave %" PRIu64,
                         last_chunk_size, file_size, chunk_size, expected_last);
    if (!parse_hashes(hashes, (uint32_t)count, &manifest->chunk_hashes, error))
        return false;
    manifest->chunk_count = (uint32_t)count;
    manifest->chunk_size = (uint32_t)chunk_size;
    manifest->last_chunk_size = (uint32_t)last_chunk_size;
    manifest->file_hash = (uint32_t)file_hash;
    manifest->file_size = file_size;
    return true;
}

bool manifest_parse(const char *text, size_t size, struct manifest **ret_manifest, struct error *error)
{
    CLEANUP_JSON struct json_object *object = NULL;
    struct json_object *ours;

    if (size > MANIFEST_SIZE_MAX)
        return error_set(error, ERROR_FORMAT, "the manifest has %zu bytes, more than the %d allowed", size,
                         MANIFEST_SIZE_MAX);
    if (!json_parse_object(text, size, "the manifest", &object, error))
        return false;
    enum json_member member = json_get_object(object, "moonsinter", &ours);
    if (member == JSON_MEMBER_BAD)
        return error_set(error, ERROR_FORMAT, "moonsinter in the manifest is no object");
    if (member == JSON_MEMBER_OK && !check_format(ours, error))
        return false;

    struct manifest *manifest = alloc_zeroed(sizeof(*manifest));
    if (!parse_ancestor(object, manifest, error) ||
        (member == JSON_MEMBER_OK && !parse_ours(ours, manifest, error))) {
        manifest_free(manifest);
        return false;
    }
    *ret_manifest = manifest;
    return true;
}

const char *manifest_check_part(const struct manifest *manifest)
{
    if (manifest->parts.count)
        return "is of a set itself; give single images as parts";
    return manifest->has_sha256 && manifest->chunks.present
               ? NULL
               : "lacks the SHA-256 of its image or of its chunks; run moonsinter generate on the part first";
}

struct manifest *manifest_free(struct manifest *manifest)
{
    if (!manifest)
        return NULL;
    free(manifest->chunk_hashes);
    free(manifest->chunks.url);
    manifest_pack_finish(&manifest->pack);
    manifest_release_finish(&manifest->release);
    manifest_parts_finish(&manifest->parts);
    free(manifest);
    return NULL;
}

/* Makes the "moonsinter" member, without what is not given. */
static struct json_object *format_ours(const struct manifest *manifest)
{
    struct json_object *ours = json_object_new_object(), *part;

    bool is_set = manifest->parts.count > 0;
    json_add_u64(ours, "format", is_set ? MANIFEST_FORMAT_SET : MANIFEST_FORMAT);
    if (is_set)
        json_add_string(ours, "needs", MANIFEST_SET_NEEDS);
    manifest_add_sha256(ours, manifest->sha256);
    if (manifest->chunks.present) {
        part = json_object_new_object();
        json_add_string(part, "url", manifest->chunks.url);
        json_add_u64(part, "size", manifest->chunks.size_bytes);
        manifest_add_sha256(part, manifest->chunks.sha256);
        json_object_object_add(ours, "chunks", part);
    }
    if (manifest->pack.present)
        json_object_object_add(ours, "pack", manifest_pack_format(&manifest->pack));
    part = manifest_release_format(&manifest->release);
    if (part)
        json_object_object_add(ours, "release", part);
    part = manifest_parts_format(&manifest->parts);
    if (part)
        json_object_object_add(ours, "parts", part);
    return ours;
}

char *manifest_format(const struct manifest *manifest)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (!stream)
        abort();
    fputs("{\"chunk_hashes\":\"", stream);
    for (uint32_t i = 0; i < manifest->chunk_count; i++)
        fprintf(stream, "%s%" PRIx32, i > 0 ? "," : "", manifest->chunk_hashes[i]);
    fprintf(stream,
            "\",\"chunk_size\":%" PRIu32 ",\"last_chunk_size\":%" PRIu32 ",\"file_hash\":%" PRIu32
            ",\"file_size\":%" PRIu64,
            manifest->chunk_size, manifest->last_chunk_size, manifest->file_hash, manifest->file_size);
    if (manifest->has_sha256) {
        CLEANUP_JSON struct json_object *ours = format_ours(manifest);
        fprintf(stream, ",\"moonsinter\":%s", json_to_text(ours));
    }
    fputs(manifest->has_sha256 ? "}\n" : "}", stream);
    if (fclose(stream) != 0)
        abort();
    return text;
}
