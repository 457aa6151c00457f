/* SPDX-License-Identifier: MIT */
/* The places of the parts of a set: part of daemon/host/slots.h. */
#include "daemon/host/slots_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sysmacros.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "daemon/config/config.h"

enum { SECTOR = 512 /* sysfs counts in these, whatever the device's own are */ };

/* A place among all: those of the slots first, then those of each part. */
struct place {
    const struct storage *storage;
    const char *name; /* as configured */
    enum slot slot;
    char section[sizeof("Part ") + MANIFEST_PART_NAME_MAX];
};

static struct place get_place(const struct slots *slots, const struct slots_request *request, unsigned index)
{
    struct place place = {.slot = (enum slot)(index % SLOT_COUNT)};
    unsigned part = index / SLOT_COUNT;

    if (part == 0) {
        strcpy(place.section, "Slots");
        place.storage = &slots->devices[place.slot];
        place.name = request->names[place.slot];
    } else {
        snprintf(place.section, sizeof(place.section), "Part %s", slots->parts[part - 1].name);
        place.storage = &slots->parts[part - 1].devices[place.slot];
        place.name = request->parts[part - 1].slot_names[place.slot];
    }
    return place;
}

bool slots_find_parts(struct slots *slots, const struct slots_request *request, const char *root,
                      struct error *error)
{
    assert(request->part_count <= MANIFEST_PARTS_MAX);
    for (unsigned i = 0; i < request->part_count; i++) {
        struct slots_part *part = &slots->parts[slots->part_count++];
        strcpy(part->name, request->parts[i].name);
        for (int slot = SLOT_A; slot <= SLOT_B; slot++)
            if (!storage_find(root, request->parts[i].slot_names[slot], &part->devices[slot], error))
                return error_prefix(error, "part %s of slot %s", part->name, slot_name((enum slot)slot));
    }
    return true;
}

/* Files that are not there yet are told apart by name, of which FAT, where boot files lie, does not know
 * letters of either case apart. */
static bool is_same_name(const struct storage *storage, const struct storage *other)
{
    return !storage->present && !other->present && strcasecmp(storage->path, other->path) == 0;
}

bool slots_check_distinct(const struct slots *slots, const struct slots_request *request, const char *root,
                          struct error *error)
{
    unsigned count = SLOT_COUNT * (slots->part_count + 1);

    for (unsigned i = 0; i < count; i++) {
        struct place place = get_place(slots, request, i);
        struct storage_set below = {0};
        bool shared = false;
        storage_set_add(&below, root, place.storage);
        for (unsigned j = 0; j < count && !shared; j++) {
            struct place other = get_place(slots, request, j);
            shared = j != i && (storage_set_has(&below, other.storage) ||
                                storage_overlaps(root, place.storage, other.storage) ||
                                (i >= SLOT_COUNT && is_same_name(place.storage, other.storage)));
            if (shared)
                error_set(error, ERROR_REFUSED, "%s=%s in [%s] and %s=%s in [%s] are the same storage (%s)",
                          place.slot == SLOT_A ? "A" : "B", place.name, place.section,
                          other.slot == SLOT_A ? "A" : "B", other.name, other.section, other.storage->path);
        }
        storage_set_finish(&below);
        if (shared)
            return false;
    }
    return true;
}

void slots_note_parts_in_use(struct slots *slots, const char *root, const struct root_device *cmdline,
                             const struct root_device *mounts)
{
    for (unsigned i = 0; i < slots->part_count; i++)
        for (int slot = SLOT_A; slot <= SLOT_B; slot++) {
            struct slots_part *part = &slots->parts[i];
            const struct storage *place = &part->devices[slot];
            part->is_root[slot] =
                storage_set_has(&cmdline->below, place) || storage_set_has(&mounts->below, place) ||
                slots_shares_storage(cmdline, root, place) || slots_shares_storage(mounts, root, place);
            if (slot == (int)slots->running)
                storage_set_add(&slots->in_use, root, place);
        }
}

void slots_judge_part_names(struct slots *slots, const struct slots_request *request, const char *root)
{
    for (unsigned i = 0; i < slots->part_count; i++)
        for (int slot = SLOT_A; slot <= SLOT_B; slot++) {
            CLEANUP_FREE char *what =
                alloc_printf("part %s of slot %s", slots->parts[i].name, slot_name((enum slot)slot));
            slots_judge_name(slots, request, root, what, request->parts[i].slot_names[slot]);
        }
}

/* A file that lies in a place of an image would be gone with the next one. */
static void check_below(struct slots *slots, const struct slots_request *request, const char *root,
                        struct file_place *file)
{
    for (unsigned i = 0; i < SLOT_COUNT * (slots->part_count + 1) && !file->why; i++) {
        struct place place = get_place(slots, request, i);
        if (storage_equal(place.storage, &file->on) || storage_overlaps(root, place.storage, &file->on))
            file->why =
                alloc_printf("lies on %s, which is %c=%s in [%s] and is overwritten as a whole; name a "
                             "file on another partition",
                             file->on.path, place.slot == SLOT_A ? 'A' : 'B', place.name, place.section);
    }
}

/* By what the kernel says, for opening a device for less than an update needs no more than that. */
static uint64_t find_partition_bytes(const char *root, const struct storage *place)
{
    CLEANUP_FREE char *text =
        file_read_text(32, "%s/sys/dev/block/%u:%u/size", root, major(place->number), minor(place->number));
    uint64_t sectors;

    if (!text || text_parse_u64(text, &sectors) < 0 || sectors > UINT64_MAX / SECTOR)
        return 0;
    return sectors * SECTOR;
}

void slots_look_at_places(struct slots *slots, const struct slots_request *request, const char *root)
{
    for (unsigned i = 0; i < slots->part_count; i++)
        for (int slot = SLOT_A; slot <= SLOT_B; slot++) {
            struct slots_part *part = &slots->parts[i];
            const struct storage *place = &part->devices[slot];
            if (place->is_block) {
                part->bytes[slot] = find_partition_bytes(root, place);
            } else if (place->present || !text_has_prefix(place->path, "/dev/")) {
                file_place_look(root, request->parts[i].slot_names[slot], place, request->names_by_content,
                                &part->files[slot]);
                if (part->files[slot].on.present)
                    check_below(slots, request, root, &part->files[slot]);
            }
        }
}
