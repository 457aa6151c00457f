/* SPDX-License-Identifier: MIT */
#include "daemon/host/slot_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "daemon/host/partition_name.h"
#include "daemon/host/storage.h"

enum { BEARERS_TEXT_SIZE = 160 };

enum name_kind { NAME_LABEL, NAME_PARTUUID, NAME_CONTENT };

/* The names in the settings, and the folders of udev's links for them. */
static const struct {
    const char *tag, *folder;
    enum name_kind kind;
} kinds[] = {
    {"PARTLABEL=", "/dev/disk/by-partlabel/", NAME_LABEL},
    {"PARTUUID=", "/dev/disk/by-partuuid/", NAME_PARTUUID},
    {"LABEL=", "/dev/disk/by-label/", NAME_CONTENT},
    {"UUID=", "/dev/disk/by-uuid/", NAME_CONTENT},
};

/* Objects if several partitions carry the name, or if the name leads to one that does not. */
static char *find_bearers_objection(const char *root, const char *name, enum partition_name_kind kind,
                                    const char *value)
{
    struct storage_set bearers = {0};
    struct storage now;
    char text[BEARERS_TEXT_SIZE] = "";
    size_t length = 0;

    partition_name_find(root, kind, value, &bearers);
    if (storage_find(root, name, &now, NULL)) {
        if (now.present && now.is_block)
            storage_set_add_only(&bearers, &now);
        storage_finish(&now);
    }
    for (size_t i = 0; i < bearers.count && length < sizeof(text); i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s",
                                   i == 0                   ? ""
                                   : i + 1 == bearers.count ? " and "
                                                            : ", ",
                                   bearers.items[i].path);
    bool several = bearers.count > 1;
    storage_set_finish(&bearers);
    if (!several)
        return NULL;
    return alloc_printf("%.80s is the name of %s; unplug or rename the others, or name the slot by what is "
                        "its own",
                        name, text);
}

/* Judges one name as it is, without following a link. */
static char *find_objection(const char *root, const char *name, bool by_content)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        bool by_tag = text_has_prefix(name, kinds[i].tag);
        if (!by_tag && !text_has_prefix(name, kinds[i].folder))
            continue;
        CLEANUP_FREE char *value = alloc_string(name + strlen(by_tag ? kinds[i].tag : kinds[i].folder));
        if (!by_tag)
            storage_decode_name(value);
        if (kinds[i].kind == NAME_CONTENT)
            return by_content ? NULL
                              : alloc_printf(
                                    "%.80s is part of what an update overwrites, which takes the name away; "
                                    "use PARTLABEL= or PARTUUID=",
                                    name);
        if (kinds[i].kind == NAME_LABEL)
            return find_bearers_objection(root, name, PARTITION_NAME_LABEL, value);
        /* With PARTNROFF= the partition that is counted from has to be certain as well. */
        CLEANUP_FREE char *from = alloc_string(name);
        char *offset = strstr(from, "/PARTNROFF=");
        if (by_tag && offset) {
            value[strlen(value) - strlen(offset)] = 0;
            *offset = 0;
        }
        return find_bearers_objection(root, from, PARTITION_NAME_UUID, value);
    }
    return NULL;
}

char *slot_name_find_objection(const char *root, const char *name, bool by_content)
{
    char *at = alloc_string(name), *objection = find_objection(root, at, by_content), *next;

    for (int i = 0; i < STORAGE_LINKS_MAX && !objection && (next = storage_follow_link(root, at)); i++) {
        free(at);
        at = next;
        objection = find_objection(root, at, by_content);
    }
    free(at);
    return objection;
}
