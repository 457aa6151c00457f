/* SPDX-License-Identifier: MIT */
/*
 * The boot partitions of a Raspberry Pi that are a part of the set, by the section [Part boot]: which numbers
 * they have, and what doctor finds on them. They are looked into only where somebody has mounted them. Reads
 * /proc, /sys and mounted files, so it may block on the medium.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/boot/boot.h"
#include "daemon/boot/rpi_firmware.h"
#include "daemon/config/config.h"

/* The part that is the boot partition. */
#define RPI_BOOT_PART_NAME "boot"

struct rpi_boot_part {
    char *places[SLOT_COUNT]; /* as configured; NULL = the settings have no such part */
};

/* Copies what is needed from the settings. */
void rpi_boot_part_init(struct rpi_boot_part *part, const struct config *config);

void rpi_boot_part_finish(struct rpi_boot_part *part);

/* The number of the partition that slot's firmware starts from, for autoboot.txt: that of the part's
 * partition where there is the part, which must not contradict a BootPartitionA= or B= that was set, else the
 * one from the settings. Refused where it cannot be told. */
bool rpi_boot_part_number(const struct rpi_boot_part *part, const struct config *config, const char *root,
                          enum slot slot, unsigned *ret_number, struct error *error);

/* Tells what keeps a boot partition from starting its own slot, as far as that is to be seen: its config.txt
 * and cmdline.txt lead to the other one, or rely on a filter that this firmware does not know. `numbers` are
 * those of the slots' boot partitions. */
void rpi_boot_part_probe(const struct rpi_boot_part *part, const struct boot *boot,
                         const struct rpi_firmware *firmware, const unsigned numbers[SLOT_COUNT],
                         boot_finding_fn found, void *owner);
