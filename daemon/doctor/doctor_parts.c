/* SPDX-License-Identifier: MIT */
/* Looks at the places of the parts of a set. See daemon/doctor/doctor_private.h. */
#include "daemon/doctor/doctor_private.h"

#include "common/base/text.h"
#include "common/io/device.h"

/* One place of a part. */
struct place {
    const struct slots_part *part;
    enum slot slot;
    const char *name; /* as configured */
    const struct storage *storage;
    const struct file_place *file; /* its path is NULL for a partition */
};

/* How large the place is, or the room it has. */
static void tell_size(struct doctor *doctor, const struct place *place)
{
    char size[16], left[16];

    if (!place->file->path)
        doctor_tell(doctor, "parts", BOOT_LEVEL_OK, "part %s of slot %s: %s is %s, %s", place->part->name,
                    slot_name(place->slot), place->name, place->storage->path,
                    text_format_bytes(size, sizeof(size), place->part->bytes[place->slot]));
    else
        doctor_tell(doctor, "parts", BOOT_LEVEL_OK,
                    "part %s of slot %s: %s %s %s, with %s left on its file system", place->part->name,
                    slot_name(place->slot), place->name,
                    place->storage->present ? "takes" : "will be made by an update and takes",
                    text_format_bytes(size, sizeof(size), place->file->own_bytes),
                    text_format_bytes(left, sizeof(left), place->file->free_bytes));
}

/* Opens the place as an update would, but writes nothing, and makes no file. */
static bool look_at_holder(struct doctor *doctor, const struct place *place)
{
    struct device *opened;
    struct error error;

    if (!device_try_target(place->storage->path, &opened, &error)) {
        doctor_tell(doctor, "parts", BOOT_LEVEL_FAILURE, "part %s of slot %s cannot be written: %s",
                    place->part->name, slot_name(place->slot), error.message);
        return false;
    }
    device_close(opened);
    return true;
}

/* What is wrong with a place keeps updates off where it is the target's, or may be. */
static void look_at_place(struct doctor *doctor, const struct place *place)
{
    bool runs = place->slot == doctor->slots->running;
    bool is_there = place->storage->present || (place->file->path && !runs);

    if (!is_there)
        doctor_tell(doctor, "parts", runs ? BOOT_LEVEL_WARNING : BOOT_LEVEL_FAILURE,
                    "part %s of slot %s: %s is not there; make it, or correct [Part %s]", place->part->name,
                    slot_name(place->slot), place->name, place->part->name);
    else if (place->file->why)
        doctor_tell(doctor, "parts", runs ? BOOT_LEVEL_WARNING : BOOT_LEVEL_FAILURE,
                    "part %s of slot %s: %s %s", place->part->name, slot_name(place->slot), place->name,
                    place->file->why);
    else if (place->part->is_root[place->slot] && !runs)
        doctor_tell(doctor, "parts", BOOT_LEVEL_FAILURE,
                    "part %s of slot %s: %s holds this machine's root file system and is never written; "
                    "correct [Part %s]",
                    place->part->name, slot_name(place->slot), place->name, place->part->name);
    else if (runs || look_at_holder(doctor, place))
        tell_size(doctor, place);
}

void doctor_look_at_parts(struct doctor *doctor)
{
    for (unsigned i = 0; i < doctor->slots->part_count; i++)
        for (int slot = SLOT_A; slot <= SLOT_B; slot++) {
            const struct slots_part *part = &doctor->slots->parts[i];
            const struct place place = {
                .part = part,
                .slot = (enum slot)slot,
                .name = doctor->config->parts[i].slot_names[slot],
                .storage = &part->devices[slot],
                .file = &part->files[slot],
            };
            look_at_place(doctor, &place);
        }
}

void doctor_look_at_room_for_parts(struct doctor *doctor)
{
    struct slots_need needs[MANIFEST_PARTS_MAX];
    enum slot target = doctor->slots ? slots_target(doctor->slots) : SLOT_NONE;
    const struct manifest_parts *parts = &doctor->release->manifest->parts;
    unsigned count = 0;
    struct error error;

    for (uint32_t i = 0; i < parts->count && target != SLOT_NONE; i++) {
        const struct release *part = release_part(doctor->release, i, (unsigned)target);
        if (part && slots_find_place(doctor->slots, parts->list[i].name, target))
            needs[count++] =
                (struct slots_need){.name = parts->list[i].name, .bytes = part->manifest->file_size};
    }
    if (count && !slots_target_check_room(doctor->slots, target, needs, count, &error))
        doctor_tell(doctor, "part-size", BOOT_LEVEL_FAILURE, "%s", error.message);
    else if (count)
        doctor_tell(doctor, "part-size", BOOT_LEVEL_OK, "the parts of the release fit into slot %s",
                    slot_name(target));
}
