/* SPDX-License-Identifier: MIT */
#include "daemon/boot/entry_parts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "daemon/host/storage.h"

enum { ENTRY_MAX = 64 * 1024, FILES_MAX = 16 };

/* What one entry starts; the kernel, or the image that is all in one, comes first. */
struct entry_files {
    char *paths[FILES_MAX]; /* without `root` */
    size_t count;
};

static void files_finish(struct entry_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->paths[i]);
    files->count = 0;
}

#define CLEANUP_FILES __attribute__((cleanup(files_finish)))

/* A file that the entry names is looked for from the top of the entry's own file system. */
static void add_file(struct entry_files *files, const struct loader_entry_file *entry, const char *value,
                     size_t length)
{
    if (files->count < FILES_MAX)
        files->paths[files->count++] =
            alloc_printf("%.*s/%.*s", (int)entry->place_length, entry->path, (int)length, value);
}

/* Adds the files that lines with one of these keys name. */
static void add_named(struct entry_files *files, const struct loader_entry_file *entry, const char *text,
                      const char *const keys[])
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *key = line + strspn(line, " \t");
        size_t length = strcspn(key, " \t\r\n");
        for (size_t i = 0; keys[i]; i++) {
            if (strlen(keys[i]) != length || strncmp(key, keys[i], length) != 0)
                continue;
            const char *value = key + length + strspn(key + length, " \t");
            value += strspn(value, "/\\");
            add_file(files, entry, value, strcspn(value, " \t\r\n"));
        }
    }
}

static bool read_entry(const struct entry_parts *parts, enum slot slot, struct entry_files *files)
{
    static const char *const kernel_keys[] = {"linux", "efi", "uki", NULL};
    static const char *const other_keys[] = {"initrd", "devicetree", "devicetree-overlay", NULL};
    struct loader_entry_file entry;

    if (!loader_entries_find(parts->entries, slot, &entry))
        return false;
    if (text_has_suffix(parts->entries->names[slot], ".efi")) {
        files->paths[files->count++] = alloc_string(entry.path);
        return true;
    }
    CLEANUP_FREE char *text = file_read_text(ENTRY_MAX, "%s%s", parts->entries->root, entry.path);
    if (!text)
        return false;
    add_named(files, &entry, text, kernel_keys);
    add_named(files, &entry, text, other_keys);
    return files->count > 0;
}

void entry_parts_init(struct entry_parts *parts, const struct loader_entries *entries,
                      const struct config *config)
{
    *parts = (struct entry_parts){.entries = entries, .count = config->part_count};
    for (unsigned i = 0; i < parts->count; i++) {
        parts->parts[i].name = alloc_string(config->parts[i].name);
        for (int slot = SLOT_A; slot <= SLOT_B; slot++)
            parts->parts[i].places[slot] = alloc_string(config->parts[i].slot_names[slot]);
    }
}

void entry_parts_finish(struct entry_parts *parts)
{
    for (unsigned i = 0; i < parts->count; i++) {
        free(parts->parts[i].name);
        free(parts->parts[i].places[SLOT_A]);
        free(parts->parts[i].places[SLOT_B]);
    }
    parts->count = 0;
}

/* Whether both name one file, whatever way leads to it. */
static bool is_place(const struct entry_parts *parts, const char *path, const char *place)
{
    struct storage named, wanted;

    if (!storage_find(parts->entries->root, path, &named, NULL))
        return false;
    if (!storage_find(parts->entries->root, place, &wanted, NULL)) {
        storage_finish(&named);
        return false;
    }
    bool same = storage_equal(&named, &wanted);
    storage_finish(&named);
    storage_finish(&wanted);
    return same;
}

/* The part that lies there in that slot; NULL = none. */
static const char *find_part(const struct entry_parts *parts, const char *path, enum slot slot)
{
    for (unsigned i = 0; i < parts->count; i++)
        if (is_place(parts, path, parts->parts[i].places[slot]))
            return parts->parts[i].name;
    return NULL;
}

bool entry_parts_make_entry(const struct entry_parts *parts, enum slot slot)
{
    for (unsigned i = 0; i < parts->count; i++) {
        const char *place = parts->parts[i].places[slot], *name = strrchr(place, '/');
        if (name && strcasecmp(name + 1, parts->entries->names[slot]) == 0)
            return true;
    }
    return false;
}

bool entry_parts_bring_kernel(const struct entry_parts *parts)
{
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        CLEANUP_FILES struct entry_files files = {.count = 0};
        if (!read_entry(parts, (enum slot)i, &files) || !find_part(parts, files.paths[0], (enum slot)i))
            return false;
    }
    return true;
}

/* Tells of what lies below the entry's mount point, where nothing else would use it, and is not named. */
static void probe_places(const struct entry_parts *parts, enum slot slot, const struct entry_files *files,
                         boot_finding_fn found, void *owner)
{
    struct loader_entry_file entry;

    if (!loader_entries_find(parts->entries, slot, &entry))
        return;
    for (unsigned i = 0; i < parts->count; i++) {
        const char *place = parts->parts[i].places[slot];
        bool named = strncmp(place, entry.path, entry.place_length) != 0 || place[entry.place_length] != '/';
        for (size_t j = 0; j < files->count && !named; j++)
            named = is_place(parts, files->paths[j], place);
        if (!named)
            boot_find(found, owner, BOOT_LEVEL_WARNING,
                      "the entry of slot %s (%s) does not name %s, where the part %s is, so that it would be "
                      "updated and never started; correct the entry, or %c= in [Part %s]",
                      slot_name(slot), parts->entries->names[slot], place, parts->parts[i].name, 'A' + slot,
                      parts->parts[i].name);
    }
}

/* Whether the entry of `slot` names nothing of the other one. */
static bool check_entry(const struct entry_parts *parts, enum slot slot, const struct entry_files *files,
                        struct error *error)
{
    enum slot other = slot_other(slot);

    for (size_t i = 0; i < files->count; i++) {
        const char *name = find_part(parts, files->paths[i], other);
        if (name)
            return error_set(
                error, ERROR_REFUSED,
                "the entry of slot %s (%s) names %s, which is the part %s of slot %s; each slot needs "
                "files of its own",
                slot_name(slot), parts->entries->names[slot], files->paths[i], name, slot_name(other));
    }
    return true;
}

bool entry_parts_check(const struct entry_parts *parts, struct error *error)
{
    for (int i = SLOT_A; i <= SLOT_B && parts->count; i++) {
        CLEANUP_FILES struct entry_files files = {.count = 0};
        if (read_entry(parts, (enum slot)i, &files) && !check_entry(parts, (enum slot)i, &files, error))
            return false;
    }
    return true;
}

void entry_parts_probe(const struct entry_parts *parts, boot_finding_fn found, void *owner)
{
    for (int i = SLOT_A; i <= SLOT_B && parts->count; i++) {
        CLEANUP_FILES struct entry_files files = {.count = 0};
        struct error error;
        if (!read_entry(parts, (enum slot)i, &files))
            continue;
        if (!check_entry(parts, (enum slot)i, &files, &error))
            boot_find(found, owner, BOOT_LEVEL_FAILURE, "%s", error.message);
        probe_places(parts, (enum slot)i, &files, found, owner);
    }
}
