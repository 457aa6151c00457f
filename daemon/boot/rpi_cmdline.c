/* SPDX-License-Identifier: MIT */
/*
 * The `rpi-cmdline` backend, as moonsinter's ancestor had it: one FAT partition, one kernel, and root= in
 * cmdline.txt decides. No trial, and no way back except by hand. The file is overwritten in place at the
 * same length, padded with blanks: that is one sector and touches neither the FAT nor the folder, so a
 * power cut leaves the old line or the new one.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "daemon/boot/boot.h"
#include "daemon/boot/in_place.h"
#include "daemon/host/storage.h"

struct rpi_backend {
    char *path;
    char *names[SLOT_COUNT]; /* as configured, and as written after root= */
};

/* The file, taken apart around the value of root=. */
struct cmdline {
    char text[IN_PLACE_SECTOR + 1]; /* the line, without line feed and blanks at its end */
    bool line_feed;                 /* the file ends in one */
    size_t value;                   /* where in text the value of root= begins */
    size_t length;                  /* of the value */
};

/* Finds root= among the parameters, which are separated by blanks outside of quotes. */
static bool cmdline_find_root(struct cmdline *cmdline, const char *path, struct error *error)
{
    static const char key[] = "root=";
    const char *text = cmdline->text;
    unsigned found = 0;

    for (size_t at = 0; text[at];) {
        at += strspn(text + at, " \t");
        size_t begin = at;
        for (bool quoted = false; text[at] && (quoted || (text[at] != ' ' && text[at] != '\t')); at++)
            quoted ^= text[at] == '"';
        if (at - begin == 2 && strncmp(text + begin, "--", 2) == 0)
            break; /* what follows is for init */
        if (strncmp(text + begin, key, strlen(key)) != 0)
            continue;
        found++;
        cmdline->value = begin + strlen(key);
        cmdline->length = at - cmdline->value;
    }
    if (found == 1 && cmdline->length)
        return true;
    return error_set(error, ERROR_REFUSED, "%s has %s; it must have exactly one, naming slot a or slot b",
                     path,
                     found > 1 ? "more than one root="
                     : found   ? "an empty root="
                               : "no root=");
}

static bool cmdline_parse(const struct in_place *file, struct cmdline *ret_cmdline, struct error *error)
{
    struct cmdline cmdline = {0};
    size_t length = file->size;

    memcpy(cmdline.text, file->data, length);
    while (length && strchr(" \t\r\n", cmdline.text[length - 1])) {
        cmdline.line_feed |= cmdline.text[length - 1] == '\n';
        length--;
    }
    cmdline.text[length] = 0;
    if (strpbrk(cmdline.text, "\r\n"))
        return error_set(error, ERROR_REFUSED, "%s has more than one line; the firmware wants all in one",
                         file->path);
    if (!cmdline_find_root(&cmdline, file->path, error))
        return false;
    *ret_cmdline = cmdline;
    return true;
}

static bool cmdline_open(const struct rpi_backend *backend, bool writable, struct in_place *file,
                         struct cmdline *ret_cmdline, struct error *error)
{
    return in_place_open(file, backend->path, IN_PLACE_SECTOR, "shorten it to one line of at most 512 bytes",
                         writable, error) &&
           cmdline_parse(file, ret_cmdline, error);
}

/* Which slot the line names: by the same text, or because both names lead to the same device. */
static enum slot cmdline_slot(const struct boot *boot, const struct cmdline *cmdline)
{
    const struct rpi_backend *backend = boot->private;
    CLEANUP_FREE char *value = alloc_printf("%.*s", (int)cmdline->length, cmdline->text + cmdline->value);
    struct storage named = {0}, slot = {0};
    enum slot found = SLOT_NONE;

    for (int i = SLOT_A; i <= SLOT_B; i++)
        if (strcmp(value, backend->names[i]) == 0)
            return (enum slot)i;
    if (!storage_find(boot->root, value, &named, NULL))
        return SLOT_NONE;
    for (int i = SLOT_A; i <= SLOT_B && found == SLOT_NONE && named.present; i++) {
        if (!storage_find(boot->root, backend->names[i], &slot, NULL))
            continue;
        if (storage_equal(&named, &slot))
            found = (enum slot)i;
        storage_finish(&slot);
    }
    storage_finish(&named);
    return found;
}

/* Whether the kernel itself understands `name` after root=; other names need an initramfs that does. */
static bool kernel_understands(const char *name)
{
    if (text_has_prefix(name, "PARTUUID=") || text_has_prefix(name, "PARTLABEL="))
        return true;
    return text_has_prefix(name, "/dev/") && !strchr(name + strlen("/dev/"), '/');
}

static bool check_name(const char *name, const struct cmdline *cmdline, struct error *error)
{
    CLEANUP_FREE char *value = alloc_printf("%.*s", (int)cmdline->length, cmdline->text + cmdline->value);

    if (strpbrk(name, " \t\"'"))
        return error_set(error, ERROR_REFUSED,
                         "%s cannot stand on a kernel command line; name the slot another way", name);
    if (*name == '/' && !text_has_prefix(name, "/dev/"))
        return error_set(error, ERROR_REFUSED, "%s is a file; a Raspberry Pi starts from partitions only",
                         name);
    if (!kernel_understands(name) && kernel_understands(value))
        return error_set(error, ERROR_REFUSED,
                         "the kernel may not find root=%s without help from an initramfs; name the slot as "
                         "/dev/mmcblk... or PARTUUID=...",
                         name);
    return true;
}

static bool rpi_open(struct boot *boot, const struct config *config, struct error *error)
{
    struct rpi_backend *backend = alloc_zeroed(sizeof(*backend));
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct cmdline cmdline;

    boot->private = backend;
    backend->path = alloc_printf("%s%s", boot->root, config->cmdline_file);
    for (int i = SLOT_A; i <= SLOT_B; i++)
        backend->names[i] = alloc_string(config->slot_names[i]);
    return cmdline_open(backend, false, &file, &cmdline, error) &&
           check_name(backend->names[SLOT_A], &cmdline, error) &&
           check_name(backend->names[SLOT_B], &cmdline, error);
}

static void rpi_close(struct boot *boot)
{
    struct rpi_backend *backend = boot->private;

    free(backend->path);
    free(backend->names[SLOT_A]);
    free(backend->names[SLOT_B]);
    free(backend);
}

static bool rpi_read(struct boot *boot, struct boot_state *ret_state, struct error *error)
{
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    struct cmdline cmdline;

    if (!cmdline_open(boot->private, false, &file, &cmdline, error))
        return false;
    *ret_state = (struct boot_state){
        .running = SLOT_NONE,
        .started = SLOT_NONE,
        .next = cmdline_slot(boot, &cmdline),
        .trial = SLOT_NONE,
    };
    return true;
}

/* Writes `line` and pads it to `size` with blanks before the line feed. */
static void pad(const char *line, bool line_feed, char *ret_sector, size_t size)
{
    size_t length = strlen(line);

    memcpy(ret_sector, line, length);
    memset(ret_sector + length, ' ', size - length);
    if (line_feed)
        ret_sector[size - 1] = '\n';
}

/* Room for either name, so that the file's length changes at most once. */
static size_t longest_name(const struct rpi_backend *backend)
{
    size_t a = strlen(backend->names[SLOT_A]), b = strlen(backend->names[SLOT_B]);

    return a > b ? a : b;
}

/* The line with root= naming `slot` into *ret_line, the caller's to free, and how long the file has to be. */
static bool make_line(struct boot *boot, const struct in_place *file, const struct cmdline *cmdline,
                      enum slot slot, char **ret_line, size_t *ret_size, struct error *error)
{
    const struct rpi_backend *backend = boot->private;
    const char *name = backend->names[slot];

    if (cmdline_slot(boot, cmdline) == SLOT_NONE)
        return error_set(error, ERROR_REFUSED,
                         "%s has root=%.*s, which is neither slot a (%s) nor slot b (%s)", backend->path,
                         (int)cmdline->length, cmdline->text + cmdline->value, backend->names[SLOT_A],
                         backend->names[SLOT_B]);
    if (!check_name(name, cmdline, error))
        return false;
    CLEANUP_FREE char *line = alloc_printf("%.*s%s%s", (int)cmdline->value, cmdline->text, name,
                                           cmdline->text + cmdline->value + cmdline->length);
    size_t size = file->size;
    if (strlen(line) + cmdline->line_feed > size)
        size = strlen(line) - strlen(name) + longest_name(backend) + cmdline->line_feed;
    if (size > IN_PLACE_SECTOR)
        return error_set(error, ERROR_REFUSED, "%s would have %zu bytes, over 512; shorten it", backend->path,
                         size);
    *ret_size = size;
    *ret_line = line;
    line = NULL;
    return true;
}

static bool rpi_can_arm(struct boot *boot, enum slot slot, struct error *error)
{
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    CLEANUP_FREE char *line = NULL;
    struct cmdline cmdline;
    size_t size;

    return cmdline_open(boot->private, true, &file, &cmdline, error) &&
           make_line(boot, &file, &cmdline, slot, &line, &size, error);
}

/* Makes root= name `slot`, if it does not yet. */
static bool rpi_select(struct boot *boot, enum slot slot, struct error *error)
{
    CLEANUP_IN_PLACE struct in_place file = IN_PLACE_CLOSED;
    CLEANUP_FREE char *line = NULL;
    struct cmdline cmdline;
    char sector[IN_PLACE_SECTOR];
    size_t size;

    if (!cmdline_open(boot->private, true, &file, &cmdline, error))
        return false;
    if (cmdline_slot(boot, &cmdline) ==
        slot) /* named already, but after a failed write perhaps only in the page cache */
        return in_place_write(&file, file.data, error);
    if (!make_line(boot, &file, &cmdline, slot, &line, &size, error))
        return false;
    if (size > file.size) {
        /* Making the file longer takes a write of its own, so first the old line gets more blanks: whatever a
         * power cut leaves of that still names the old slot. */
        pad(cmdline.text, cmdline.line_feed, sector, size);
        if (!in_place_grow(&file, sector, size, error))
            return false;
    }
    pad(line, cmdline.line_feed, sector, size);
    return in_place_write(&file, sector, error);
}

static bool rpi_select_other(struct boot *boot, enum slot slot, struct error *error)
{
    return rpi_select(boot, slot_other(slot), error);
}

const struct boot_backend boot_backend_rpi_cmdline = {
    .abilities = {.kernel = BOOT_KERNEL_SHARED},
    .open = rpi_open,
    .close = rpi_close,
    .read = rpi_read,
    .can_arm = rpi_can_arm,
    .invalidate = rpi_select_other,
    .arm = rpi_select,
    .good = rpi_select,
    .reject = rpi_select_other,
};
