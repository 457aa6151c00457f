/* SPDX-License-Identifier: MIT */
#include "daemon/boot/rpi_boot_part.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "daemon/boot/rpi_config.h"
#include "daemon/host/mounts.h"
#include "daemon/host/storage.h"

enum {
    MOUNTINFO_MAX = 4 * 1024 * 1024,
    SETTINGS_MAX = 64 * 1024,
    NUMBER_MAX = 9, /* one digit in autoboot.txt, which is overwritten in place */
    /* 2025-03-10, when the Raspberry Pi 5's bootloader learnt [boot_partition=N] (rpi-eeprom,
     * firmware-2712/release-notes.md, and pull request 676 there). On a Raspberry Pi 4 it is start4.elf that
     * reads config.txt, of March 2025 or newer (raspberrypi/firmware, issue 1940); that one lies on the boot
     * partition itself, so it comes with the part, and the device tree does not tell its date. */
    FILTER_SINCE_S = 1741564800,
};

void rpi_boot_part_init(struct rpi_boot_part *part, const struct config *config)
{
    *part = (struct rpi_boot_part){{NULL}};
    for (unsigned i = 0; i < config->part_count; i++)
        if (strcmp(config->parts[i].name, RPI_BOOT_PART_NAME) == 0)
            for (int slot = SLOT_A; slot <= SLOT_B; slot++)
                part->places[slot] = alloc_string(config->parts[i].slot_names[slot]);
}

void rpi_boot_part_finish(struct rpi_boot_part *part)
{
    free(part->places[SLOT_A]);
    free(part->places[SLOT_B]);
    *part = (struct rpi_boot_part){{NULL}};
}

bool rpi_boot_part_number(const struct rpi_boot_part *part, const struct config *config, const char *root,
                          enum slot slot, unsigned *ret_number, struct error *error)
{
    unsigned set = config->boot_partitions[slot];
    struct storage place;
    uint64_t number = 0;

    if (!part->places[slot]) {
        *ret_number = set;
        return true;
    }
    if (!storage_find(root, part->places[slot], &place, error))
        return error_prefix(error, "part " RPI_BOOT_PART_NAME " of slot %s", slot_name(slot));
    CLEANUP_FREE char *text = place.is_block ? file_read_text(16, "%s/sys/dev/block/%u:%u/partition", root,
                                                              major(place.number), minor(place.number))
                                             : NULL;
    bool known = text && text_parse_u64(text, &number) == 0;
    storage_finish(&place);
    if (config->has_boot_partition[slot] && (!known || number == set)) {
        *ret_number = set;
        return true;
    }
    if (config->has_boot_partition[slot])
        return error_set(error, ERROR_REFUSED,
                         "BootPartition%c=%u, but the part " RPI_BOOT_PART_NAME
                         " of slot %s (%s) is partition %u; correct one of them, or leave BootPartition%c= "
                         "away",
                         'A' + slot, set, slot_name(slot), part->places[slot], (unsigned)number, 'A' + slot);
    if (!known)
        return error_set(
            error, ERROR_REFUSED,
            "the part " RPI_BOOT_PART_NAME
            " of slot %s (%s) is no partition that is there, so its number is not known; correct "
            "it, or set BootPartition%c=",
            slot_name(slot), part->places[slot], 'A' + slot);
    if (number < 1 || number > NUMBER_MAX)
        return error_set(error, ERROR_REFUSED,
                         "the part " RPI_BOOT_PART_NAME
                         " of slot %s (%s) is partition %u; it has to be one of 1 to %d",
                         slot_name(slot), part->places[slot], (unsigned)number, NUMBER_MAX);
    *ret_number = (unsigned)number;
    return true;
}

/* Where that partition is mounted, the caller's; NULL = nowhere. */
static char *find_mount(const char *root, const char *place)
{
    CLEANUP_FREE char *text = file_read_text(MOUNTINFO_MAX, "%s/proc/self/mountinfo", root);
    struct storage storage;
    char *found = NULL;

    if (!text || !storage_find(root, place, &storage, NULL))
        return NULL;
    struct mounts mounts = mounts_parse(text);
    for (size_t i = 0; i < mounts.count && !found && storage.present && storage.is_block; i++)
        if (mounts.items[i].number == storage.number)
            found = alloc_string(mounts.items[i].mount_point);
    mounts_finish(&mounts);
    storage_finish(&storage);
    return found;
}

/* The slot whose device that value of root= stands for; SLOT_NONE = neither's, such as a mapped device. */
static enum slot find_root_slot(const struct boot *boot, const char *value)
{
    struct storage named, device;
    enum slot found = SLOT_NONE;

    if (!storage_find(boot->root, value, &named, NULL))
        return SLOT_NONE;
    for (int i = SLOT_A; i <= SLOT_B && named.present; i++) {
        if (!storage_find(boot->root, boot->slot_names[i], &device, NULL))
            continue;
        if (device.present && storage_equal(&named, &device))
            found = (enum slot)i;
        storage_finish(&device);
    }
    storage_finish(&named);
    return found;
}

static void probe_root(const struct boot *boot, enum slot slot, const char *folder,
                       const struct rpi_config *config, boot_finding_fn found, void *owner)
{
    CLEANUP_FREE char *cmdline = file_read_text(SETTINGS_MAX, "%s%s/%s", boot->root, folder, config->cmdline);
    CLEANUP_FREE char *value = cmdline ? rpi_config_root(cmdline) : NULL;

    if (!config->certain)
        return;
    if (!cmdline || !value)
        boot_find(found, owner, BOOT_LEVEL_FAILURE,
                  "the boot partition of slot %s (on %s) has no root= in %s, which its config.txt leads to; "
                  "publish one whose config.txt names a file with it for each slot (docs/boot.md)",
                  slot_name(slot), folder, config->cmdline);
    else if (find_root_slot(boot, value) == slot_other(slot))
        boot_find(found, owner, BOOT_LEVEL_FAILURE,
                  "the boot partition of slot %s (on %s) starts slot %s: %s has root=%s; publish one whose "
                  "config.txt tells the slots apart (docs/boot.md)",
                  slot_name(slot), folder, slot_name(slot_other(slot)), config->cmdline, value);
}

void rpi_boot_part_probe(const struct rpi_boot_part *part, const struct boot *boot,
                         const struct rpi_firmware *firmware, const unsigned numbers[SLOT_COUNT],
                         boot_finding_fn found, void *owner)
{
    bool filters = false, plain = false;
    bool old = firmware->is_pi_5 && firmware->has_built_s && firmware->built_s < FILTER_SINCE_S;

    if (!part->places[SLOT_A])
        return;
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        enum slot slot = (enum slot)i;
        CLEANUP_FREE char *folder = find_mount(boot->root, part->places[i]);
        CLEANUP_FREE char *text =
            folder ? file_read_text(SETTINGS_MAX, "%s%s/config.txt", boot->root, folder) : NULL;
        struct rpi_config config;
        if (!text)
            continue;
        rpi_config_read(text, numbers[i], &config);
        filters = filters || config.by_partition;
        plain = plain || !config.by_partition;
        if (!old || !config.by_partition)
            probe_root(boot, slot, folder, &config, found, owner);
        rpi_config_finish(&config);
    }
    if (old && filters)
        boot_find(found, owner, BOOT_LEVEL_FAILURE,
                  "config.txt has [boot_partition=N], which this boot EEPROM does not know: it is older than "
                  "2025-03-10; bring a newer one with rpi-eeprom-update");
    else if (old && !plain)
        boot_find(
            found, owner, BOOT_LEVEL_WARNING,
            "this boot EEPROM is older than 2025-03-10 and does not know [boot_partition=N] in "
            "config.txt, so that one image of the boot partition cannot serve both slots; bring a newer "
            "one with rpi-eeprom-update, or publish an image for each slot");
}
