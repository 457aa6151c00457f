/* SPDX-License-Identifier: MIT */
#include "daemon/host/kept_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/folder.h"
#include "common/base/text.h"
#include "common/image/manifest.h"

static const char prefix[] = "part-", suffix[] = ".json";

/* The name of the file; the caller's. */
static char *name_file(const char *name, enum manifest_part_slot slot)
{
    const char *of = "";

    switch (slot) {
    case MANIFEST_PART_OF_BOTH:
        break;
    case MANIFEST_PART_OF_A:
        of = ".a";
        break;
    case MANIFEST_PART_OF_B:
        of = ".b";
        break;
    }
    return alloc_printf("%s%s%s%s", prefix, name, of, suffix);
}

void kept_parts_add(struct kept_parts *parts, const char *name, enum manifest_part_slot slot,
                    const char *text, size_t size)
{
    struct kept_part *part = &parts->list[parts->count++];

    *part = (struct kept_part){.slot = slot, .size = size, .text = alloc_zeroed(size + 1)};
    snprintf(part->name, sizeof(part->name), "%s", name);
    memcpy(part->text, text, size);
}

void kept_parts_finish(struct kept_parts *parts)
{
    for (unsigned i = 0; i < parts->count; i++)
        free(parts->list[i].text);
    *parts = (struct kept_parts){0};
}

/* A part that stayed the same is not written again, as flash wears out. */
static bool holds(const char *path, const struct kept_part *part)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;

    return file_read(path, part->size, &text, &size, NULL) && size == part->size &&
           memcmp(text, part->text, size) == 0;
}

bool kept_parts_write(const struct kept_parts *parts, const char *folder, struct error *error)
{
    for (unsigned i = 0; i < parts->count; i++) {
        const struct kept_part *part = &parts->list[i];
        CLEANUP_FREE char *name = name_file(part->name, part->slot);
        CLEANUP_FREE char *path = alloc_printf("%s/%s", folder, name);
        if (!holds(path, part) && !file_replace(path, part->text, part->size, 0644, error))
            return false;
    }
    return true;
}

static bool is_kept(const struct kept_parts *parts, const char *file)
{
    for (unsigned i = 0; i < parts->count; i++) {
        CLEANUP_FREE char *name = name_file(parts->list[i].name, parts->list[i].slot);
        if (strcmp(name, file) == 0)
            return true;
    }
    return false;
}

void kept_parts_remove_others(const struct kept_parts *parts, const char *folder)
{
    CLEANUP_FOLDER DIR *stream = opendir(folder);
    struct dirent *entry;

    while ((entry = folder_next(stream)))
        if (text_has_prefix(entry->d_name, prefix) && text_has_suffix(entry->d_name, suffix) &&
            !is_kept(parts, entry->d_name))
            unlinkat(dirfd(stream), entry->d_name, 0);
}

bool kept_parts_read(const char *folder, const char *name, enum manifest_part_slot slot, char **ret_text,
                     size_t *ret_size, struct error *error)
{
    CLEANUP_FREE char *file = name_file(name, slot);
    CLEANUP_FREE char *path = alloc_printf("%s/%s", folder, file);

    return file_read(path, MANIFEST_SIZE_MAX, ret_text, ret_size, error);
}
