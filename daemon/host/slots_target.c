/* SPDX-License-Identifier: MIT */
/* Which slot is the target, and whether its places may be written: part of daemon/host/slots.h. */
#include "daemon/host/slots.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"

const struct storage *slots_find_place(const struct slots *slots, const char *name, enum slot slot)
{
    if (strcmp(name, MANIFEST_MAIN_NAME) == 0)
        return &slots->devices[slot];
    for (unsigned i = 0; i < slots->part_count; i++)
        if (strcmp(slots->parts[i].name, name) == 0)
            return &slots->parts[i].devices[slot];
    return NULL;
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
static bool check_others(const struct slots *slots, enum slot target, const char *what,
                         const struct storage *place, const struct storage *opened, struct error *error)
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

bool slots_target_check_part(const struct slots *slots, enum slot target, const char *name, int fd,
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
           check_others(slots, target, what, place, &opened, error);
}

bool slots_target_check_opened(const struct slots *slots, enum slot target, int fd, struct error *error)
{
    return slots_target_check_part(slots, target, MANIFEST_MAIN_NAME, fd, error);
}
