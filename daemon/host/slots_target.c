/* SPDX-License-Identifier: MIT */
/* Which slot is the target, and whether its places may be written: part of daemon/host/slots.h. */
#include "daemon/host/slots.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"

static const struct slots_part *find_part(const struct slots *slots, const char *name)
{
    for (unsigned i = 0; i < slots->part_count; i++)
        if (strcmp(slots->parts[i].name, name) == 0)
            return &slots->parts[i];
    return NULL;
}

const struct storage *slots_find_place(const struct slots *slots, const char *name, enum slot slot)
{
    if (strcmp(name, MANIFEST_MAIN_NAME) == 0)
        return &slots->devices[slot];
    const struct slots_part *part = find_part(slots, name);
    return part ? &part->devices[slot] : NULL;
}

enum slot slots_target(const struct slots *slots)
{
    return slot_other(slots->running);
}

void slots_note_started(struct slots *slots, enum slot started)
{
    if (slots->part_count == 0 || started == SLOT_NONE || slots->running == SLOT_NONE ||
        started == slots->running)
        return;
    free(slots->parts_why);
    slots->parts_why = alloc_printf(
        "the boot loader started the parts of slot %s, but the root file system that runs is slot "
        "%s's; reboot, and see to it that each slot's boot files start that slot's root",
        slot_name(started), slot_name(slots->running));
}

/* Whether one place of `target` may be written; `what` is what it is called. */
static bool check_place(const struct slots *slots, const char *what, const char *section,
                        const struct storage *place, bool is_root, struct error *error)
{
    if (is_root || storage_set_has(&slots->in_use, place))
        return error_set(error, ERROR_REFUSED,
                         "%s (%s) holds this machine's root file system and is never written", what,
                         place->path);
    if (!place->present && text_has_prefix(place->path, "/dev/"))
        return error_set(error, ERROR_REFUSED, "%s (%s) is not there; make the partition, or correct [%s]",
                         what, place->path, section);
    return true;
}

static bool check_parts(const struct slots *slots, enum slot target, struct error *error)
{
    for (unsigned i = 0; i < slots->part_count; i++) {
        const struct slots_part *part = &slots->parts[i];
        CLEANUP_FREE char *what = alloc_printf("part %s of slot %s", part->name, slot_name(target));
        CLEANUP_FREE char *section = alloc_printf("Part %s", part->name);
        if (!check_place(slots, what, section, &part->devices[target], part->is_root[target], error))
            return false;
        if (part->files[target].why)
            return error_set(error, ERROR_REFUSED, "%s (%s) %s", what, part->devices[target].path,
                             part->files[target].why);
    }
    return true;
}

bool slots_target_check(const struct slots *slots, enum slot target, struct error *error)
{
    const struct storage *device = &slots->devices[target];
    CLEANUP_FREE char *what = alloc_printf("slot %s", slot_name(target));

    if (slots->name_why)
        return error_set(error, ERROR_REFUSED, "%s", slots->name_why);
    if (slots->running == SLOT_NONE)
        return error_set(error, ERROR_REFUSED, "nothing is written while the running slot is not known: %s",
                         slots->why);
    if (slots->parts_why)
        return error_set(error, ERROR_REFUSED, "%s", slots->parts_why);
    if (target == slots->running)
        return error_set(error, ERROR_REFUSED, "slot %s (%s) is running and is never written",
                         slot_name(target), device->path);
    return check_place(slots, what, "Slots", device, slots->is_root[target], error) &&
           check_parts(slots, target, error);
}

/* Whether the opened file is `place`, and nothing that runs. */
static bool check_opened(const struct slots *slots, const char *what, const struct storage *place,
                         const struct storage *opened, struct error *error)
{
    if (storage_set_has(&slots->in_use, opened))
        return error_set(error, ERROR_REFUSED,
                         "%s (%s) turned out to be the running system when it was opened", what, place->path);
    if (place->present && !storage_equal(place, opened))
        return error_set(error, ERROR_REFUSED, "%s (%s) became another device or file while it was opened",
                         what, place->path);
    return true;
}

/* Whether the opened file is none of the target's other places. */
static bool check_others(const struct slots *slots, const char *what, const struct storage *place,
                         const struct storage *opened, struct error *error)
{
    for (unsigned i = 0; i <= slots->part_count; i++)
        for (int slot = SLOT_A; slot <= SLOT_B; slot++) {
            const struct storage *other = i == 0 ? &slots->devices[slot] : &slots->parts[i - 1].devices[slot];
            if (other != place && storage_equal(other, opened))
                return error_set(error, ERROR_REFUSED,
                                 "%s (%s) turned out to be the same storage as %s when it was opened", what,
                                 place->path, other->path);
        }
    return true;
}

/* Whether a file that was opened is still what was looked at. */
static bool check_file(const struct slots_part *part, enum slot target, const char *what, int fd,
                       struct error *error)
{
    const struct file_place *file = part ? &part->files[target] : NULL;
    const char *why = file && file->path ? file_place_check_opened(file, fd) : NULL;

    return !why || error_set(error, ERROR_REFUSED, "%s (%s) %s", what, part->devices[target].path, why);
}

bool slots_target_check_opened(const struct slots *slots, enum slot target, const char *name, int fd,
                               struct error *error)
{
    const struct storage *place = slots_find_place(slots, name, target);
    bool is_main = strcmp(name, MANIFEST_MAIN_NAME) == 0;
    CLEANUP_FREE char *what = is_main ? alloc_printf("slot %s", slot_name(target))
                                      : alloc_printf("part %s of slot %s", name, slot_name(target));
    struct storage opened;

    if (!place)
        return error_set(error, ERROR_REFUSED, "the settings have no [Part %s]", name);
    if (!slots_target_check(slots, target, error))
        return false;
    int result = storage_find_fd(fd, &opened);
    if (result < 0)
        return error_set_errno(error, result, "cannot look at %s (%s), which was opened", what, place->path);
    return check_opened(slots, what, place, &opened, error) &&
           check_others(slots, what, place, &opened, error) &&
           check_file(find_part(slots, name), target, what, fd, error);
}

/* What the file of a part takes of its file system beside what it has already. */
static uint64_t find_growth(const struct file_place *file, uint64_t bytes)
{
    uint64_t unit = file->unit_bytes ? file->unit_bytes : 1;
    uint64_t rounded = bytes > UINT64_MAX - unit ? bytes : (bytes + unit - 1) / unit * unit;

    return rounded > file->own_bytes ? rounded - file->own_bytes : 0;
}

static bool refuse_room(const struct slots_part *part, enum slot target, uint64_t bytes, uint64_t room,
                        struct error *error)
{
    return error_set(error, ERROR_REFUSED,
                     "the image of %" PRIu64
                     " bytes does not fit into part %s of slot %s (%s), which has room "
                     "for %" PRIu64,
                     bytes, part->name, slot_name(target), part->devices[target].path, room);
}

bool slots_target_check_room(const struct slots *slots, enum slot target, const struct slots_need *needs,
                             unsigned count, struct error *error)
{
    for (unsigned i = 0; i < count; i++) {
        const struct slots_part *part = find_part(slots, needs[i].name);
        const struct file_place *file = part ? &part->files[target] : NULL;
        if (!part)
            continue;
        if (part->bytes[target] && needs[i].bytes > part->bytes[target])
            return refuse_room(part, target, needs[i].bytes, part->bytes[target], error);
        if (!file->path || !file->file_system)
            continue;
        if (needs[i].bytes > file->max_bytes)
            return refuse_room(part, target, needs[i].bytes, file->max_bytes, error);
        /* What the files before this one take of the same file system is gone. */
        uint64_t left = file->free_bytes;
        for (unsigned j = 0; j < i; j++) {
            const struct slots_part *other = find_part(slots, needs[j].name);
            const struct file_place *before = other ? &other->files[target] : NULL;
            if (!before || before->file_system != file->file_system)
                continue;
            uint64_t growth = find_growth(before, needs[j].bytes);
            left = left > growth ? left - growth : 0;
        }
        if (find_growth(file, needs[i].bytes) > left)
            return refuse_room(part, target, needs[i].bytes, left + file->own_bytes, error);
    }
    return true;
}
