/* SPDX-License-Identifier: MIT */
/* Looks at boot loader, slots and state folder. See daemon/doctor/doctor_private.h. */
#include "daemon/doctor/doctor_private.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "common/io/device.h"
#include "daemon/host/state_folder.h"

enum {
    /* The record has some 70 KB at most, is written beside the old one, and the manifest is some MB at most.
     */
    STATE_BYTES_MIN = 8 * 1024 * 1024,
};

static void on_boot_finding(void *owner, enum boot_level level, const char *sentence)
{
    doctor_tell(owner, "boot-loader", level, "%s", sentence);
}

void doctor_look_at_boot(struct doctor *doctor)
{
    struct error error;

    if (boot_new(doctor->config, NULL, &doctor->boot, &error))
        boot_probe(doctor->boot, on_boot_finding, doctor);
    else
        doctor_tell(doctor, "boot-loader", BOOT_LEVEL_FAILURE, "%s", error.message);
}

/* What a slot's name leads to, and its size. */
static void look_at_slot(struct doctor *doctor, enum slot slot)
{
    const struct storage *device = &doctor->slots->devices[slot];
    const char *name = doctor->config->slot_names[slot];
    struct device *opened;
    struct error error;
    uint64_t bytes = 0;
    char size[16];

    if (!device->present) {
        doctor_tell(doctor, "slots", BOOT_LEVEL_FAILURE,
                    "slot %s: %s is not there; lsblk -o NAME,PARTLABEL,PARTUUID,LABEL,UUID shows what is",
                    slot_name(slot), name);
        return;
    }
    if (!device_open_source(device->path, &opened, &error)) {
        doctor_tell(doctor, "slots", BOOT_LEVEL_FAILURE, "slot %s: %s", slot_name(slot), error.message);
        return;
    }
    if (!device_size(opened, &bytes, &error))
        doctor_tell(doctor, "slots", BOOT_LEVEL_FAILURE, "slot %s: %s", slot_name(slot), error.message);
    else
        doctor_tell(doctor, "slots", BOOT_LEVEL_OK, "slot %s: %s is %s, %s", slot_name(slot), name,
                    device->path, text_format_bytes(size, sizeof(size), bytes));
    if (device->is_block && (!doctor->slot_bytes || bytes < doctor->slot_bytes))
        doctor->slot_bytes = bytes;
    device_close(opened);
}

/* Opens the target as an update would, but writes nothing. */
static void look_at_holders(struct doctor *doctor, enum slot target)
{
    const char *path = doctor->slots->devices[target].path;
    struct device *opened;
    struct error error;

    if (!slots_target_check(doctor->slots, target, &error)) {
        doctor_tell(doctor, "target", BOOT_LEVEL_FAILURE, "%s", error.message);
        return;
    }
    if (!device_open_target(path, 0, false, &opened, &error)) {
        doctor_tell(doctor, "target", BOOT_LEVEL_FAILURE, "an update cannot be written to slot %s: %s",
                    slot_name(target), error.message);
        return;
    }
    bool readable = device_readback_check(opened, &error);
    device_close(opened);
    if (!readable) {
        doctor_tell(doctor, "target", BOOT_LEVEL_FAILURE, "%s", error.message);
        return;
    }
    doctor_tell(doctor, "target", BOOT_LEVEL_OK,
                "an update would be written to slot %s (%s), which nobody holds", slot_name(target), path);
}

static void look_at_names(struct doctor *doctor)
{
    const struct slots *slots = doctor->slots;
    CLEANUP_FREE char *a = storage_find_disk("", &slots->devices[SLOT_A]);
    CLEANUP_FREE char *b = storage_find_disk("", &slots->devices[SLOT_B]);

    if (slots->name_why)
        doctor_tell(doctor, "slot-names", BOOT_LEVEL_FAILURE, "every update would be held: %s",
                    slots->name_why);
    if (slots->parts_why)
        doctor_tell(doctor, "parts-mixed", BOOT_LEVEL_FAILURE, "every update would be held: %s",
                    slots->parts_why);
    if (a && b && strcmp(a, b) != 0)
        doctor_tell(doctor, "slot-disks", BOOT_LEVEL_WARNING,
                    "slot a (%s) is on the disk %s and slot b (%s) on %s: where that is not meant, A= or B= "
                    "leads to a stick or a cloned disk",
                    slots->devices[SLOT_A].path, a, slots->devices[SLOT_B].path, b);
}

void doctor_look_at_slots(struct doctor *doctor)
{
    struct boot_state *boot = &doctor->boot_state;
    struct error error;

    *boot = (struct boot_state){
        .running = SLOT_NONE, .next = SLOT_NONE, .trial = SLOT_NONE, .started = SLOT_NONE};
    if (doctor->boot && !boot_read(doctor->boot, boot, &error))
        *boot = (struct boot_state){
            .running = SLOT_NONE, .next = SLOT_NONE, .trial = SLOT_NONE, .started = SLOT_NONE};
    struct slots_request request = {.names = {doctor->config->slot_names[0], doctor->config->slot_names[1]},
                                    .parts = doctor->config->parts,
                                    .part_count = doctor->config->part_count,
                                    .selected = boot->running,
                                    .judge_names = true,
                                    .names_by_content = doctor->config->backend == CONFIG_BACKEND_FILE};
    if (!slots_find(&request, &doctor->slots, &error)) {
        doctor_tell(doctor, "slots", BOOT_LEVEL_FAILURE, "%s", error.message);
        return;
    }
    slots_note_started(doctor->slots, boot->started);
    look_at_slot(doctor, SLOT_A);
    look_at_slot(doctor, SLOT_B);
    doctor_look_at_parts(doctor);
    look_at_names(doctor);
    enum slot target = slots_target(doctor->slots);
    if (target == SLOT_NONE) {
        doctor_tell(doctor, "running-slot", BOOT_LEVEL_FAILURE,
                    "which slot runs cannot be determined, so nothing is installed: %s", doctor->slots->why);
        return;
    }
    doctor_tell(doctor, "running-slot", BOOT_LEVEL_OK, "slot %s runs (%s)", slot_name(doctor->slots->running),
                doctor->slots->why);
    if (doctor->slots->devices[target].present)
        look_at_holders(doctor, target);
    /* During a trial nothing can be armed, which passes by itself. */
    if (doctor->boot && boot->trial == SLOT_NONE && !boot_can_arm(doctor->boot, target, &error))
        doctor_tell(doctor, "boot-loader", BOOT_LEVEL_FAILURE, "an update would be held: %s", error.message);
}

void doctor_look_at_state_folder(struct doctor *doctor)
{
    const char *path = doctor->config->state_directory;
    struct statvfs room;
    char left[16];

    if (access(path, F_OK) < 0 && errno == ENOENT) {
        doctor_tell(
            doctor, "state-folder", BOOT_LEVEL_WARNING,
            "StateDirectory=%s is not there yet; moonsinterd makes it on the file system that it finds then",
            path);
        return;
    }
    if (access(path, W_OK | X_OK) < 0 || statvfs(path, &room) < 0) {
        doctor_tell(doctor, "state-folder", BOOT_LEVEL_FAILURE, "StateDirectory=%s cannot be written to: %s",
                    path, strerror(errno));
        return;
    }
    CLEANUP_FREE char *objection = doctor->slots && doctor->config->backend != CONFIG_BACKEND_FILE
                                       ? state_folder_find_objection(path, doctor->slots)
                                       : NULL;
    uint64_t bytes = (uint64_t)room.f_bavail * room.f_frsize;
    text_format_bytes(left, sizeof(left), bytes);
    if (objection)
        doctor_tell(
            doctor, "state-folder", BOOT_LEVEL_FAILURE,
            "StateDirectory= does not outlive a change of slot: %s; set it to a folder on a partition that "
            "both slots mount",
            objection);
    else if (bytes < STATE_BYTES_MIN)
        doctor_tell(
            doctor, "state-folder", BOOT_LEVEL_FAILURE,
            "StateDirectory=%s has %s left on its file system, and the record and the manifest need 8 MB",
            path, left);
    else
        doctor_tell(doctor, "state-folder", BOOT_LEVEL_OK, "%s can be written to by both slots, with %s left",
                    path, left);
}
