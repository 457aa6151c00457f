/* SPDX-License-Identifier: MIT */
#include "common/image/manifest_pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/text.h"
#include "common/image/chunk_table.h"
#include "common/image/manifest_member.h"

enum {
    SECTION_SLACK = 1024, /* bytes that zstd may add to incompressible data */
    /* How much an index may unpack to: all rows literally, every block's operations, and the patches. */
    INDEX_UNPACKED_SLACK = 64 * 1024,
    FRAME_NUMBER_SIZE = 3, /* bytes: a chunk has at most 1 MiB */
    PROBE_TEXT_SIZE = 64,  /* one probe with its comma */
    PROBE_HASH_DIGITS = 16,
};

static bool parse_section(struct json_object *object, const char *where, uint64_t pack_size,
                          uint64_t unpacked_max, struct manifest_section *section, struct error *error)
{
    uint64_t offset = 0, size = 0, unpacked = 0;

    if (!manifest_need_number(object, where, "offset", MANIFEST_PACK_HEADER_SIZE, pack_size, &offset,
                              error) ||
        !manifest_need_number(object, where, "size", 1, pack_size, &size, error) ||
        !manifest_need_number(object, where, "unpacked", 0, unpacked_max, &unpacked, error) ||
        !manifest_need_sha256(object, where, section->sha256, error))
        return false;
    if (size > pack_size - offset)
        return error_set(error, ERROR_FORMAT, "%soffset and size of the manifest end outside the pack",
                         where);
    if (size > unpacked + SECTION_SLACK)
        return error_set(error, ERROR_FORMAT,
                         "%ssize of the manifest, %" PRIu64 ", is more than %" PRIu64 " bytes can need",
                         where, size, unpacked);
    section->offset = offset;
    section->size = (uint32_t)size;
    section->unpacked = (uint32_t)unpacked;
    return true;
}

static bool need_section(struct json_object *object, const char *where, const char *name, uint64_t pack_size,
                         uint64_t unpacked_max, struct manifest_section *section, struct error *error)
{
    CLEANUP_FREE char *inner = alloc_printf("%s%s.", where, name);
    struct json_object *part;

    if (json_get_object(object, name, &part) != JSON_MEMBER_OK)
        return error_set(error, ERROR_FORMAT, "%s%s of the manifest is no object", where, name);
    return parse_section(part, inner, pack_size, unpacked_max, section, error);
}

/* Takes OFFSET:HASH off the front of *text; false if there is none. */
static bool take_probe(const char **text, uint64_t base_size, struct manifest_probe *probe)
{
    char number[24];
    const char *colon = strchr(*text, ':');

    if (!colon || (size_t)(colon - *text) >= sizeof(number))
        return false;
    memcpy(number, *text, (size_t)(colon - *text));
    number[colon - *text] = 0;
    if (text_parse_u64(number, &probe->offset) < 0 || probe->offset >= base_size)
        return false;
    const char *digit = colon + 1;
    probe->xxh3 = 0;
    for (size_t i = 0; i < PROBE_HASH_DIGITS; i++, digit++) {
        if (!((*digit >= '0' && *digit <= '9') || (*digit >= 'a' && *digit <= 'f')))
            return false;
        probe->xxh3 = probe->xxh3 << 4 | (uint64_t)(*digit <= '9' ? *digit - '0' : *digit - 'a' + 10);
    }
    *text = digit;
    return true;
}

static bool parse_probes(struct json_object *object, const char *where, struct manifest_base *base,
                         struct error *error)
{
    const char *text;

    if (!manifest_need_string(object, where, "probes", &text, error))
        return false;
    for (;;) {
        if (base->probe_count == MANIFEST_PROBES_MAX ||
            !take_probe(&text, base->size, &base->probes[base->probe_count++]) || (*text && *text != ','))
            return error_set(error, ERROR_FORMAT,
                             "%sprobes of the manifest are not 1 to %d of OFFSET:HASH within the base", where,
                             MANIFEST_PROBES_MAX);
        if (!*text++)
            return true;
    }
}

static bool parse_base(struct json_object *object, uint32_t number, const struct manifest_pack *pack,
                       uint64_t table_size, struct manifest_base *base, struct error *error)
{
    CLEANUP_FREE char *where = alloc_printf("moonsinter.pack.bases[%" PRIu32 "].", number);
    uint64_t span_max = 0, output_max = 0;

    if (!manifest_need_number(object, where, "size", 1, MANIFEST_PACK_SIZE_MAX, &base->size, error) ||
        !parse_probes(object, where, base, error) ||
        !manifest_need_number(object, where, "patches", MANIFEST_PACK_HEADER_SIZE, pack->size,
                              &base->patches_offset, error) ||
        !need_section(object, where, "index", pack->size, 4 * table_size + INDEX_UNPACKED_SLACK, &base->index,
                      error) ||
        !manifest_need_number(object, where, "span_max", 0, MANIFEST_SPAN_MAX_LIMIT, &span_max, error) ||
        !manifest_need_number(object, where, "output_max", 0, MANIFEST_OUTPUT_MAX_LIMIT, &output_max, error))
        return false;
    base->span_max = (uint32_t)span_max;
    base->output_max = (uint32_t)output_max;
    return true;
}

static bool parse_bases(struct json_object *array, uint64_t table_size, struct manifest_pack *pack,
                        struct error *error)
{
    size_t count = json_object_array_length(array);

    if (count < 1 || count > MANIFEST_BASES_MAX)
        return error_set(error, ERROR_FORMAT, "moonsinter.pack.bases of the manifest has not 1 to %d members",
                         MANIFEST_BASES_MAX);
    pack->bases = alloc_array(count, sizeof(pack->bases[0]));
    for (size_t i = 0; i < count; i++) {
        struct json_object *object = json_object_array_get_idx(array, i);
        if (!json_object_is_type(object, json_type_object))
            return error_set(error, ERROR_FORMAT, "moonsinter.pack.bases[%zu] of the manifest is no object",
                             i);
        if (!parse_base(object, (uint32_t)i, pack, table_size, &pack->bases[i], error))
            return false;
        pack->base_count++;
    }
    return true;
}

bool manifest_pack_parse(struct json_object *object, uint64_t table_size, struct manifest_pack *pack,
                         struct error *error)
{
    static const char where[] = "moonsinter.pack.";
    uint64_t chunks = (table_size - CHUNK_TABLE_HEADER_SIZE) / CHUNK_TABLE_ROW_SIZE;
    struct json_object *part;

    if (!manifest_need_url(object, where, &pack->url, error) ||
        !manifest_need_number(object, where, "size", MANIFEST_PACK_HEADER_SIZE, MANIFEST_PACK_SIZE_MAX,
                              &pack->size, error))
        return false;
    if (json_get_object(object, "frames", &part) != JSON_MEMBER_ABSENT) {
        if (!need_section(object, where, "frames", pack->size, chunks * FRAME_NUMBER_SIZE, &pack->frames,
                          error))
            return false;
        pack->has_frames = true;
    }
    switch (json_get_array(object, "bases", &part)) {
    case JSON_MEMBER_BAD:
        return error_set(error, ERROR_FORMAT, "moonsinter.pack.bases of the manifest is no array");
    case JSON_MEMBER_OK:
        if (!parse_bases(part, table_size, pack, error))
            return false;
        break;
    case JSON_MEMBER_ABSENT:
        if (!pack->has_frames)
            return error_set(error, ERROR_FORMAT,
                             "moonsinter.pack of the manifest has neither frames nor bases");
        break;
    }
    pack->present = true;
    return true;
}

static void add_section(struct json_object *object, const char *name, const struct manifest_section *section)
{
    struct json_object *part = json_object_new_object();

    json_add_u64(part, "offset", section->offset);
    json_add_u64(part, "size", section->size);
    json_add_u64(part, "unpacked", section->unpacked);
    manifest_add_sha256(part, section->sha256);
    json_object_object_add(object, name, part);
}

static void add_probes(struct json_object *object, const struct manifest_base *base)
{
    char text[MANIFEST_PROBES_MAX * PROBE_TEXT_SIZE];
    size_t at = 0;

    for (uint32_t i = 0; i < base->probe_count; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%" PRIu64 ":%016" PRIx64, i ? "," : "",
                               base->probes[i].offset, base->probes[i].xxh3);
    json_add_string(object, "probes", text);
}

struct json_object *manifest_pack_format(const struct manifest_pack *pack)
{
    struct json_object *object = json_object_new_object();

    json_add_string(object, "url", pack->url);
    json_add_u64(object, "size", pack->size);
    if (pack->has_frames)
        add_section(object, "frames", &pack->frames);
    if (pack->base_count == 0)
        return object;
    struct json_object *bases = json_object_new_array();
    for (uint32_t i = 0; i < pack->base_count; i++) {
        const struct manifest_base *base = &pack->bases[i];
        struct json_object *part = json_object_new_object();
        json_add_u64(part, "size", base->size);
        add_probes(part, base);
        json_add_u64(part, "patches", base->patches_offset);
        add_section(part, "index", &base->index);
        json_add_u64(part, "span_max", base->span_max);
        json_add_u64(part, "output_max", base->output_max);
        json_object_array_add(bases, part);
    }
    json_object_object_add(object, "bases", bases);
    return object;
}

void manifest_pack_finish(struct manifest_pack *pack)
{
    free(pack->url);
    free(pack->bases);
    *pack = (struct manifest_pack){0};
}
