/* SPDX-License-Identifier: MIT */
#include "daemon/host/partition_name.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sysmacros.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/folder.h"
#include "common/base/le.h"
#include "common/base/text.h"

enum {
    DEVICES_MAX = 4096,
    SYSFS_FILE_MAX = 8192,
    UDEV_FILE_MAX = 256 * 1024,
    SECTOR_MAX = 4096,
    GPT_NAME_UNITS = 36, /* UTF-16 */
    GPT_ENTRY_SIZE = 128,
    NAME_SIZE = 4 * GPT_NAME_UNITS + 1,
};

/* A partition and the disk it is on, by their folders in sysfs. */
struct partition {
    const char *root;
    char *name; /* "sda2" */
    char *disk; /* the folder of its disk, all links resolved */
    unsigned number;
    dev_t device;
};

static void partition_finish(struct partition *partition)
{
    free(partition->name);
    free(partition->disk);
}

/* The rest of the line that begins with `key`; freed by the caller, NULL if there is none. */
static char *find_line(const char *text, const char *key)
{
    size_t length = strlen(key);

    for (const char *at = text; text && *at; at += strcspn(at, "\n"), at += *at == '\n')
        if (strncmp(at, key, length) == 0)
            return alloc_printf("%.*s", (int)strcspn(at + length, "\n"), at + length);
    return NULL;
}

/* False if `name` is no partition, or not one of a disk by itself. */
static bool partition_open(const char *root, const char *name, struct partition *ret_partition)
{
    CLEANUP_FREE char *folder = alloc_printf("%s/sys/class/block/%s", root, name);
    CLEANUP_FREE char *number_text = file_read_text(SYSFS_FILE_MAX, "%s/partition", folder);
    CLEANUP_FREE char *device_text = file_read_text(SYSFS_FILE_MAX, "%s/dev", folder);
    CLEANUP_FREE char *real = realpath(folder, NULL);
    unsigned number_major, number_minor;
    uint64_t number;

    if (!number_text || !device_text || !real || text_parse_u64(number_text, &number) < 0 || !number ||
        number > 1024 || sscanf(device_text, "%7u:%7u", &number_major, &number_minor) != 2)
        return false;
    *strrchr(real, '/') = 0;
    CLEANUP_FREE char *holders_path = alloc_printf("%s/holders", real);
    CLEANUP_FOLDER DIR *holders = opendir(holders_path);
    if (folder_next(holders))
        return false;
    *ret_partition = (struct partition){
        .root = root,
        .name = alloc_string(name),
        .disk = alloc_string(real),
        .number = (unsigned)number,
        .device = makedev(number_major, number_minor),
    };
    return true;
}

/* --- what the partition table says --- */

static void print_guid(const unsigned char *guid, char *ret_text)
{
    snprintf(ret_text, NAME_SIZE, "%08" PRIx32 "-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             le_read_u32(guid), le_read_u16(guid + 4), le_read_u16(guid + 6), guid[8], guid[9], guid[10],
             guid[11], guid[12], guid[13], guid[14], guid[15]);
}

/* To UTF-8; what is no character becomes a question mark. */
static void print_gpt_name(const unsigned char *name, char *ret_text)
{
    char *out = ret_text;

    for (size_t i = 0; i < GPT_NAME_UNITS; i++) {
        unsigned unit = le_read_u16(name + 2 * i), low = 0;
        if (!unit)
            break;
        if (unit >= 0xd800 && unit < 0xdc00 && i + 1 < GPT_NAME_UNITS)
            low = le_read_u16(name + 2 * (i + 1));
        if (low >= 0xdc00 && low < 0xe000) {
            unsigned code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            i++;
            *out++ = (char)(0xf0 | code >> 18);
            *out++ = (char)(0x80 | (code >> 12 & 0x3f));
            *out++ = (char)(0x80 | (code >> 6 & 0x3f));
            *out++ = (char)(0x80 | (code & 0x3f));
        } else if (unit >= 0xd800 && unit < 0xe000) {
            *out++ = '?';
        } else if (unit < 0x80) {
            *out++ = (char)unit;
        } else if (unit < 0x800) {
            *out++ = (char)(0xc0 | unit >> 6);
            *out++ = (char)(0x80 | (unit & 0x3f));
        } else {
            *out++ = (char)(0xe0 | unit >> 12);
            *out++ = (char)(0x80 | (unit >> 6 & 0x3f));
            *out++ = (char)(0x80 | (unit & 0x3f));
        }
    }
    *out = 0;
}

/* Reads the name from GPT's entry number `number`. */
static bool read_gpt(int fd, size_t sector, unsigned number, enum partition_name_kind kind, char *ret_text)
{
    unsigned char header[92], entry[GPT_ENTRY_SIZE];

    if (file_pread_full(fd, header, sizeof(header), sector) < 0 || memcmp(header, "EFI PART", 8) != 0)
        return false;
    uint64_t table = le_read_u64(header + 72), count = le_read_u32(header + 80),
             size = le_read_u32(header + 84);
    if (size < GPT_ENTRY_SIZE || size > SECTOR_MAX || number > count || table > UINT64_MAX / SECTOR_MAX / 2)
        return false;
    if (file_pread_full(fd, entry, sizeof(entry), table * sector + (number - 1) * size) < 0)
        return false;
    if (kind == PARTITION_NAME_UUID)
        print_guid(entry + 16, ret_text);
    else
        print_gpt_name(entry + 56, ret_text);
    return true;
}

/* Reads the name from the partition table of the disk. */
static char *read_table(const struct partition *partition, enum partition_name_kind kind)
{
    CLEANUP_FREE char *path = alloc_printf("%s/dev/%s", partition->root, strrchr(partition->disk, '/') + 1);
    CLEANUP_FREE char *sector_text =
        file_read_text(SYSFS_FILE_MAX, "%s/queue/logical_block_size", partition->disk);
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    unsigned char boot_record[512];
    char text[NAME_SIZE];
    uint64_t sector;

    if (!sector_text || text_parse_u64(sector_text, &sector) < 0 || sector < 512 || sector > SECTOR_MAX)
        sector = 512;
    if (fd < 0)
        return NULL;
    if (read_gpt(fd, (size_t)sector, partition->number, kind, text))
        return alloc_string(text);
    if (kind != PARTITION_NAME_UUID || file_pread_full(fd, boot_record, sizeof(boot_record), 0) < 0 ||
        boot_record[510] != 0x55 || boot_record[511] != 0xaa)
        return NULL;
    return alloc_printf("%08" PRIx32 "-%02x", le_read_u32(boot_record + 440), partition->number);
}

/* --- */

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

/* The partition's name; NULL if not known. Without `ask_kernel` the kernel's text is passed over, as it
 * spoils letters beyond ASCII. */
static char *find_name(const struct partition *partition, enum partition_name_kind kind, bool ask_kernel)
{
    CLEANUP_FREE char *uevent = ask_kernel ? file_read_text(SYSFS_FILE_MAX, "%s/sys/class/block/%s/uevent",
                                                            partition->root, partition->name)
                                           : NULL;
    char *name = find_line(uevent, kind == PARTITION_NAME_UUID ? "PARTUUID=" : "PARTNAME=");

    if (name)
        return name;
    CLEANUP_FREE char *udev = file_read_text(UDEV_FILE_MAX, "%s/run/udev/data/b%u:%u", partition->root,
                                             major(partition->device), minor(partition->device));
    name = find_line(udev, kind == PARTITION_NAME_UUID ? "E:ID_PART_ENTRY_UUID=" : "E:ID_PART_ENTRY_NAME=");
    if (name) {
        storage_decode_name(name);
        return name;
    }
    /* If udev has read the table already, the disk need not be woken. */
    CLEANUP_FREE char *scheme = find_line(udev, "E:ID_PART_ENTRY_SCHEME=");
    return scheme ? NULL : read_table(partition, kind);
}

void partition_name_find(const char *root, enum partition_name_kind kind, const char *value,
                         struct storage_set *set)
{
    CLEANUP_FREE char *path = alloc_printf("%s/sys/class/block", root);
    CLEANUP_FOLDER DIR *folder = opendir(path);
    struct dirent *entry;

    for (int i = 0; i < DEVICES_MAX && (entry = folder_next(folder)); i++) {
        struct partition partition = {0};
        if (!partition_open(root, entry->d_name, &partition))
            continue;
        CLEANUP_FREE char *name = find_name(&partition, kind, is_ascii(value));
        if (name && (kind == PARTITION_NAME_UUID ? strcasecmp(name, value) : strcmp(name, value)) == 0) {
            struct storage storage = {.path = alloc_printf("/dev/%s", entry->d_name),
                                      .present = true,
                                      .is_block = true,
                                      .number = partition.device};
            storage_set_add_only(set, &storage);
            storage_finish(&storage);
        }
        partition_finish(&partition);
    }
}
