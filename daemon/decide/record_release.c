/* SPDX-License-Identifier: MIT */
/* By what a release is recognised, with all images of a set, and which of them a slot holds. See
 * daemon/decide/record.h. */
#include "daemon/decide/record.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/sinter/release_parts.h"

enum { LINE_SIZE = MANIFEST_PART_NAME_MAX + 3 + DIGEST_SHA256_HEX_SIZE + 24 };

/* One image of a part, as a line. */
static void write_line(char ret_line[LINE_SIZE], const char *name, const char *slot,
                       const struct manifest *manifest)
{
    char sha256[DIGEST_SHA256_HEX_SIZE];

    digest_sha256_to_hex(manifest->sha256, sha256);
    snprintf(ret_line, LINE_SIZE, "%s %s %s %" PRIu64 "\n", name, slot, sha256, manifest->file_size);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* A blank sorts before everything that a name may have, and "-" before "a", so the lines sort by name and
 * slot. */
static void digest_parts(const struct release *set, char ret_hex[DIGEST_SHA256_HEX_SIZE])
{
    const struct manifest_parts *parts = &set->manifest->parts;
    char lines[MANIFEST_PARTS_MAX * 2][LINE_SIZE];
    struct digest_stream *stream = digest_stream_new(true, false);
    uint8_t digest[DIGEST_SHA256_SIZE];
    size_t count = 0;

    for (uint32_t i = 0; i < parts->count; i++)
        for (unsigned slot = 0; slot < (parts->list[i].per_slot ? 2 : 1); slot++)
            write_line(lines[count++], parts->list[i].name,
                       parts->list[i].per_slot ? slot_name((enum slot)slot) : "-",
                       set->parts[i][slot]->manifest);
    qsort(lines, count, sizeof(lines[0]), compare_lines);
    for (size_t i = 0; i < count; i++)
        digest_stream_update(stream, lines[i], strlen(lines[i]));
    digest_stream_final(stream, digest, NULL);
    digest_stream_free(stream);
    digest_sha256_to_hex(digest, ret_hex);
}

void record_release_from(struct record_release *remembered, const struct release *release)
{
    const struct manifest *manifest = release->manifest;
    uint8_t digest[DIGEST_SHA256_SIZE];

    assert(release_has_parts(release));
    memset(remembered, 0, sizeof(*remembered));
    record_copy_text(remembered->version, sizeof(remembered->version), manifest->release.version);
    remembered->has_serial = manifest->release.has_serial;
    remembered->serial = manifest->release.serial;
    if (manifest->has_sha256)
        digest_sha256_to_hex(manifest->sha256, remembered->sha256);
    digest_sha256(release->manifest_text, release->manifest_size, digest);
    digest_sha256_to_hex(digest, remembered->manifest_sha256);
    if (manifest->parts.count)
        digest_parts(release, remembered->parts_sha256);
    remembered->is_signed = release->verdict.is_signed;
    remembered->created_s = manifest->release.created;
}

bool record_release_is_same(const struct record_release *a, const struct record_release *b)
{
    if (*a->manifest_sha256 && strcmp(a->manifest_sha256, b->manifest_sha256) == 0)
        return true;
    return *a->sha256 && strcmp(a->sha256, b->sha256) == 0 && strcmp(a->parts_sha256, b->parts_sha256) == 0;
}

static unsigned find_part(const struct record_slot *slot, const char *name)
{
    unsigned i = 0;

    while (i < slot->part_count && strcmp(slot->parts[i].name, name) != 0)
        i++;
    return i;
}

const struct record_part *record_slot_part(const struct record_slot *slot, const char *name)
{
    unsigned i = find_part(slot, name);

    return i < slot->part_count ? &slot->parts[i] : NULL;
}

struct record_part *record_slot_find_part(struct record_slot *slot, const char *name)
{
    unsigned i = find_part(slot, name);

    return i < slot->part_count ? &slot->parts[i] : NULL;
}

struct slot_print *record_slot_find_print(struct record_slot *slot, const char *name)
{
    struct record_part *part = record_slot_find_part(slot, name);

    if (strcmp(name, MANIFEST_MAIN_NAME) == 0)
        return &slot->print;
    return part ? &part->print : NULL;
}

void record_slot_set_parts(struct record *record, enum slot slot, const struct release *set)
{
    struct record_slot *kept = &record->slots[slot];

    assert(release_has_parts(set));
    memset(kept->parts, 0, sizeof(kept->parts));
    kept->part_count = set->manifest->parts.count;
    for (unsigned i = 0; i < kept->part_count; i++) {
        const struct manifest_part *part = &set->manifest->parts.list[i];
        memcpy(kept->parts[i].name, part->name, sizeof(kept->parts[i].name));
        kept->parts[i].per_slot = part->per_slot;
        const struct manifest *manifest = release_part(set, i, slot)->manifest;
        digest_sha256_to_hex(manifest->sha256, kept->parts[i].sha256);
        kept->parts[i].bytes = manifest->file_size;
    }
}

void record_slot_carry_part(struct record *record, enum slot slot, const char *name)
{
    const struct record_part *part = record_slot_find_part(&record->slots[slot_other(slot)], name);
    struct record_slot *kept = &record->slots[slot];

    assert(part && kept->part_count < MANIFEST_PARTS_MAX && !record_slot_find_part(kept, name));
    kept->parts[kept->part_count] = *part;
    memset(&kept->parts[kept->part_count].print, 0, sizeof(part->print));
    kept->part_count++;
}
