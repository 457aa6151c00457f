/* SPDX-License-Identifier: MIT */
#include "daemon/boot/rpi_firmware.h"

#include <stddef.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

/* A number of the device tree's: four bytes, the highest first. */
static bool read_number(const char *root, const char *name, uint32_t *ret_number)
{
    CLEANUP_FREE char *path = alloc_printf("%s" RPI_FIRMWARE_FOLDER "/%s", root, name);
    CLEANUP_FREE char *data = NULL;
    size_t size;

    if (!file_read(path, sizeof(*ret_number), &data, &size, NULL) || size != sizeof(*ret_number))
        return false;
    *ret_number = 0;
    for (size_t i = 0; i < size; i++)
        *ret_number = *ret_number << 8 | (unsigned char)data[i];
    return true;
}

/* Whether `compatible`, a list of texts that each end with a zero, has that one. */
static bool is_compatible(const char *root, const char *name)
{
    CLEANUP_FREE char *path = alloc_printf("%s/proc/device-tree/compatible", root);
    CLEANUP_FREE char *data = NULL;
    size_t size;

    if (!file_read(path, 4096, &data, &size, NULL))
        return false;
    for (size_t at = 0; at < size; at += strlen(data + at) + 1)
        if (strcmp(data + at, name) == 0)
            return true;
    return false;
}

void rpi_firmware_read(const char *root, struct rpi_firmware *ret_firmware)
{
    struct rpi_firmware firmware = {0};
    uint32_t tryboot = 0;

    firmware.has_capabilities = read_number(root, "capabilities", &firmware.capabilities);
    firmware.has_built_s = read_number(root, "build-timestamp", &firmware.built_s);
    firmware.is_pi_5 = is_compatible(root, "brcm,bcm2712");
    firmware.has_partition = read_number(root, "partition", &firmware.partition);
    firmware.has_tryboot = read_number(root, "tryboot", &tryboot);
    firmware.tryboot = tryboot != 0;
    *ret_firmware = firmware;
}
