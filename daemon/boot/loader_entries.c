/* SPDX-License-Identifier: MIT */
#include "daemon/boot/loader_entries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/folder.h"

enum { DIRECTORY_ENTRIES_MAX = 1000, PLACES_MAX = 3 };

/* Folders of entries, on either partition. */
static const char *const entry_folders[] = {"loader/entries", "EFI/Linux"};
enum { FOLDER_COUNT = sizeof(entry_folders) / sizeof(entry_folders[0]) };

/* Mount points; NULL = no more. */
struct places {
    char *paths[PLACES_MAX];
};

static void places_finish(struct places *places)
{
    for (int i = 0; i < PLACES_MAX; i++)
        free(places->paths[i]);
}

#define CLEANUP_PLACES __attribute__((cleanup(places_finish)))

/* Where the EFI system partition is mounted: Esp=, or those of the usual places that have entries. The
 * entries may lie on /boot while systemd-boot itself, with an empty folder for entries, is on /efi. */
static struct places find_places(const struct loader_entries *entries)
{
    static const char *const usual[PLACES_MAX] = {"/efi", "/boot/efi", "/boot"};
    struct places places = {{NULL}};
    int count = 0;

    for (int i = 0; i < (entries->esp ? 1 : PLACES_MAX); i++) {
        CLEANUP_FREE char *place =
            alloc_printf("%s%s", entries->root, entries->esp ? entries->esp : usual[i]);
        bool found = false;
        for (int j = 0; j < FOLDER_COUNT && !found; j++) {
            CLEANUP_FREE char *folder = alloc_printf("%s/%s", place, entry_folders[j]);
            found = access(folder, F_OK) == 0;
        }
        if (found)
            places.paths[count++] = alloc_string(place);
    }
    return places;
}

void loader_entries_init(struct loader_entries *entries, const char *root, const struct config *config)
{
    *entries = (struct loader_entries){.root = alloc_string(root),
                                       .esp = config->esp ? alloc_string(config->esp) : NULL};
    for (int i = SLOT_A; i <= SLOT_B; i++)
        entries->names[i] = alloc_string(config->boot_entries[i]);
}

void loader_entries_finish(struct loader_entries *entries)
{
    for (int i = SLOT_A; i <= SLOT_B; i++)
        free(entries->names[i]);
    free(entries->root);
    free(entries->esp);
    *entries = (struct loader_entries){0};
}

bool loader_entries_are_there(const struct loader_entries *entries)
{
    CLEANUP_PLACES struct places places = find_places(entries);

    return places.paths[0] != NULL;
}

/* Whether `name` is `entry`, perhaps with counters: NAME+LEFT[-DONE].conf for NAME.conf. */
static bool match_entry(const char *name, const char *entry, struct loader_entry_file *ret_file)
{
    const char *suffix = strrchr(entry, '.');
    size_t base = (size_t)(suffix - entry), length = strlen(name), tail = strlen(suffix);
    struct loader_entry_file file = {0};

    if (length < base + tail || strncasecmp(name, entry, base) != 0 ||
        strcasecmp(name + length - tail, suffix) != 0)
        return false;
    const char *at = name + base, *end = name + length - tail;
    if (at < end) {
        if (*at++ != '+')
            return false;
        size_t left = strspn(at, "0123456789");
        file.counted = true;
        file.exhausted = strspn(at, "0") == left;
        at += left;
        if (left && at < end && *at == '-') {
            left = strspn(++at, "0123456789");
            at += left;
        }
        if (!left || at != end)
            return false;
    }
    *ret_file = file;
    return true;
}

/* The pattern for an entry with or without counters. */
static char *entry_pattern(const char *entry)
{
    const char *suffix = strrchr(entry, '.');

    return alloc_printf("%.*s[+.]*%s", (int)(suffix - entry), entry, suffix + 1);
}

enum slot loader_entries_slot(const struct loader_entries *entries, const char *name)
{
    struct loader_entry_file file;

    for (int i = SLOT_A; i <= SLOT_B; i++) {
        CLEANUP_FREE char *pattern = entry_pattern(entries->names[i]);
        if (match_entry(name, entries->names[i], &file) || strcasecmp(name, pattern) == 0)
            return (enum slot)i;
    }
    return SLOT_NONE;
}

/* Adds what is found to *file; whether anything was found so far to *found. */
static void find_entry_in(size_t root_length, const char *place, const char *folder_name,
                          const char *entry_name, struct loader_entry_file *file, bool *found)
{
    CLEANUP_FREE char *path = alloc_printf("%s/%s", place, folder_name);
    CLEANUP_FOLDER DIR *folder = opendir(path);
    struct dirent *entry;

    for (int i = 0; i < DIRECTORY_ENTRIES_MAX && (entry = folder_next(folder)); i++) {
        struct loader_entry_file match;
        if (!match_entry(entry->d_name, entry_name, &match))
            continue;
        match.place_length = strlen(place) - root_length;
        if (snprintf(match.path, sizeof(match.path), "%s/%s", path + root_length, entry->d_name) >=
            (int)sizeof(match.path))
            continue;
        bool twice = *found && (file->twice || match.counted != file->counted);
        bool better = file->counted && (!match.counted || (file->exhausted && !match.exhausted));
        if (!*found || better)
            *file = match;
        file->twice = twice;
        *found = true;
    }
}

bool loader_entries_find(const struct loader_entries *entries, enum slot slot,
                         struct loader_entry_file *ret_file)
{
    CLEANUP_PLACES struct places places = find_places(entries);
    struct loader_entry_file file = {0};
    bool found = false;

    for (int i = 0; i < PLACES_MAX && places.paths[i]; i++)
        for (int j = 0; j < FOLDER_COUNT; j++)
            find_entry_in(strlen(entries->root), places.paths[i], entry_folders[j], entries->names[slot],
                          &file, &found);
    if (found)
        *ret_file = file;
    return found;
}

bool loader_entries_refuse(const struct loader_entries *entries, enum slot slot, struct error *error)
{
    CLEANUP_PLACES struct places places = find_places(entries);
    char *const *paths = places.paths;

    if (!paths[0])
        return error_set(
            error, ERROR_REFUSED,
            "%s has neither %s nor %s, so the entry of slot %s is not to be found; mount the EFI "
            "system partition there, or set Esp=",
            entries->esp ? entries->esp : "/efi, /boot/efi or /boot", entry_folders[0], entry_folders[1],
            slot_name(slot));
    return error_set(error, ERROR_REFUSED,
                     "slot %s has no entry %s in %s or %s on %s%s%s%s%s; make it, or set Entry%c=",
                     slot_name(slot), entries->names[slot], entry_folders[0], entry_folders[1], paths[0],
                     paths[1] ? ", " : "", paths[1] ? paths[1] : "", paths[1] && paths[2] ? ", " : "",
                     paths[1] && paths[2] ? paths[2] : "", 'A' + slot);
}

bool loader_entries_check(const struct loader_entries *entries, enum slot slot, struct error *error)
{
    struct loader_entry_file file;

    if (loader_entries_find(entries, slot, &file))
        return true;
    bool certain = loader_entries_find(entries, slot_other(slot), &file) ||
                   (entries->esp && !loader_entries_are_there(entries));
    return !certain || loader_entries_refuse(entries, slot, error);
}

char *loader_entries_value(const struct loader_entries *entries, enum slot slot)
{
    struct loader_entry_file file;

    if (loader_entries_find(entries, slot, &file) && file.counted)
        return entry_pattern(entries->names[slot]);
    return alloc_string(entries->names[slot]);
}
