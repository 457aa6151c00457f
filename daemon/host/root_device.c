/* SPDX-License-Identifier: MIT */
#include "daemon/host/root_device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "daemon/host/mounts.h"

enum {
    CMDLINE_MAX = 64 * 1024,
    MOUNTINFO_MAX = 4 * 1024 * 1024,
    OVERLAY_DEPTH_MAX = 4, /* overlays on overlays; the kernel allows a depth of two */
};

/* Cuts the next parameter off *text, in place; NULL at the end, or at "--", after which init's begin. */
static char *take_parameter(char **text)
{
    *text += strspn(*text, " \t\n");
    char *begin = *text, *out = *text;
    bool quoted = false;

    if (!**text)
        return NULL;
    for (; **text && (quoted || !strchr(" \t\n", **text)); ++*text) {
        if (**text == '"')
            quoted = !quoted;
        else
            *out++ = **text;
    }
    if (**text)
        ++*text;
    *out = 0;
    return strcmp(begin, "--") == 0 ? NULL : begin;
}

static char *read_cmdline(const char *root)
{
    return file_read_text(CMDLINE_MAX, "%s/proc/cmdline", root);
}

static void device_missing(struct root_device *device, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void device_missing(struct root_device *device, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(device->what, sizeof(device->what), format, arguments);
    va_end(arguments);
    device->found = false;
}

void root_device_by_cmdline(const char *root, struct root_device *ret_device)
{
    /* Values that name no storage, or that only the kernel or an initramfs understands. */
    static const char *const elsewhere[] = {"/dev/root", "/dev/nfs", "/dev/ram"};
    CLEANUP_FREE char *text = read_cmdline(root);
    struct root_device device = {0};
    struct storage storage;
    const char *value = NULL, *parameter;
    char *at = text;

    while (at && (parameter = take_parameter(&at)))
        if (text_has_prefix(parameter, "root="))
            value = parameter + strlen("root=");
    if (!value || !*value) {
        device_missing(&device, "the kernel's command line has no root=");
    } else {
        bool known = true;
        for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
            known &= !text_has_prefix(value, elsewhere[i]);
        if (!known || !storage_find(root, value, &storage, NULL)) {
            device_missing(&device, "root=%.80s names no partition", value);
        } else {
            if (storage.present && storage.is_block) {
                device.found = true;
                snprintf(device.what, sizeof(device.what), "root=%.80s, %.80s", value, storage.path);
                storage_set_add(&device.below, root, &storage);
                storage_set_add_only(&device.on, &storage);
            } else {
                device_missing(&device, "root=%.80s leads to no device here", value);
            }
            storage_finish(&storage);
        }
    }
    *ret_device = device;
}

enum slot root_device_slot_hint(const char *root)
{
    static const char *const keys[] = {"moonsinter.slot=", "rauc.slot="};
    CLEANUP_FREE char *text = read_cmdline(root);
    enum slot hint = SLOT_NONE, slot;
    const char *parameter;
    char *at = text;

    while (at && (parameter = take_parameter(&at)))
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
            if (!text_has_prefix(parameter, keys[i]) || slot_parse(parameter + strlen(keys[i]), &slot) < 0)
                continue;
            if (hint != SLOT_NONE && hint != slot)
                return SLOT_NONE;
            hint = slot;
        }
    return hint;
}

static void add_mount(struct root_device *device, const char *root, const struct mounts *mounts,
                      const struct mount *mount, int depth);

/* Looks for the device under each lower layer. Layers are separated by ":", options by ","; both may be
 * escaped. */
static void add_lower_layers(struct root_device *device, const char *root, const struct mounts *mounts,
                             const struct mount *overlay, int depth)
{
    char *path = alloc_zeroed(strlen(overlay->options) + 1);
    const char *at = overlay->options;

    while (*at) {
        size_t key = text_has_prefix(at, "lowerdir=") ? 9 : text_has_prefix(at, "lowerdir+=") ? 10 : 0;
        at += key;
        while (*at && *at != ',') {
            size_t length = 0;
            while (*at && *at != ',' && !(key && *at == ':')) {
                if (*at == '\\' && at[1])
                    at++;
                path[length++] = *at++;
            }
            path[length] = 0;
            at += *at == ':';
            const struct mount *lower = key && *path == '/' ? mounts_find(mounts, path) : NULL;
            /* Where the overlay itself hides the layer (an initramfs' path), it cannot be found this way. */
            if (lower && lower != overlay)
                add_mount(device, root, mounts, lower, depth + 1);
        }
        at += *at == ',';
    }
    free(path);
}

static void add_storage(struct root_device *device, const char *root, const struct storage *storage)
{
    if (!device->found)
        snprintf(device->what, sizeof(device->what), "%.150s", storage->path);
    device->found = true;
    storage_set_add(&device->below, root, storage);
    storage_set_add_only(&device->on, storage);
}

static void add_mount(struct root_device *device, const char *root, const struct mounts *mounts,
                      const struct mount *mount, int depth)
{
    struct storage storage;
    bool found = false;

    if (strcmp(mount->type, "overlay") == 0) {
        if (depth < OVERLAY_DEPTH_MAX)
            add_lower_layers(device, root, mounts, mount, depth);
        return;
    }
    if (major(mount->number) != 0)
        found = storage_find_number(root, mount->number, &storage);
    else if (text_has_prefix(mount->source, "/dev/") && strcmp(mount->source, "/dev/root") != 0)
        /* btrfs and the like have device numbers that name no device; the mount's source names it. */
        found = storage_find(root, mount->source, &storage, NULL);
    if (!found)
        return;
    if (storage.present && storage.is_block)
        add_storage(device, root, &storage);
    storage_finish(&storage);
}

void root_device_by_mounts(const char *root, struct root_device *ret_device)
{
    CLEANUP_FREE char *path = alloc_printf("%s/proc/self/mountinfo", root);
    CLEANUP_FREE char *text = NULL;
    struct root_device device = {0};
    struct error error = {0};
    size_t size;

    if (!file_read(path, MOUNTINFO_MAX, &text, &size, &error)) {
        device_missing(&device, "%.150s", error.message);
        *ret_device = device;
        return;
    }
    struct mounts mounts = mounts_parse(text);
    const struct mount *mount = mounts_find(&mounts, "/");
    if (mount)
        add_mount(&device, root, &mounts, mount, 0);
    if (!device.found)
        device_missing(&device, "/ is mounted from %.60s (%.30s), which leads to no partition",
                       mount ? mount->source : "nothing", mount ? mount->type : "no file system");
    mounts_finish(&mounts);
    *ret_device = device;
}

void root_device_finish(struct root_device *device)
{
    storage_set_finish(&device->below);
    storage_set_finish(&device->on);
}
