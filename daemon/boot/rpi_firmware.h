/* SPDX-License-Identifier: MIT */
/*
 * What a Raspberry Pi's firmware tells of itself and of this start, in the device tree. Reads /proc only; any
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RPI_FIRMWARE_FOLDER "/proc/device-tree/chosen/bootloader"

/* Of `capabilities`, as Raspberry Pi documents it: tryboot_a_b= in autoboot.txt. */
enum { RPI_FIRMWARE_TRYBOOT_A_B = 1 << 2 };

/* Older firmware does not report everything. */
struct rpi_firmware {
    bool has_capabilities, has_partition, has_tryboot, has_built_s;
    uint32_t capabilities;
    uint32_t built_s; /* when the boot EEPROM was built, Unix time (build-timestamp) */
    bool is_pi_5;     /* its EEPROM reads config.txt itself; before, start4.elf on the boot partition does */
    uint32_t
        partition; /* number of the partition that the firmware started from; on which disk is not known */
    bool tryboot;  /* the flag was set, so this start is a trial */
};

/* `root` is put in front. */
void rpi_firmware_read(const char *root, struct rpi_firmware *ret_firmware);
