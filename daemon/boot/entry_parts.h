/* SPDX-License-Identifier: MIT */
/*
 * Which parts of the set systemd-boot's entries start: the files that the entry of a slot names, compared
 * with the places of that slot's parts. A unified kernel image is an entry and such a file in one. Reads the
 * mounted partitions; may block on the medium.
 */
#pragma once

#include <stdbool.h>

#include "daemon/boot/boot.h"
#include "daemon/boot/loader_entries.h"
#include "daemon/config/config.h"

struct entry_parts {
    struct {
        char *name;
        char *places[SLOT_COUNT]; /* as configured */
    } parts[MANIFEST_PARTS_MAX];
    unsigned count;
    const struct loader_entries *entries; /* not owned */
};

/* Copies what is needed from the settings; `entries` has to live as long. */
void entry_parts_init(struct entry_parts *parts, const struct loader_entries *entries,
                      const struct config *config);

void entry_parts_finish(struct entry_parts *parts);

/* Whether the entry of `slot` is a part's file, a unified kernel image, so that an update makes it where it
 * is missing. */
bool entry_parts_make_entry(const struct entry_parts *parts, enum slot slot);

/* Whether the kernel of each slot's entry is a part of that slot, so that an update brings it. */
bool entry_parts_bring_kernel(const struct entry_parts *parts);

/* Refuses entries of which one names a part of the other slot: an update of that slot would write what runs.
 */
bool entry_parts_check(const struct entry_parts *parts, struct error *error);

/* Tells of an entry that starts a part of the other slot, and of a part that lies beside the entry and that
 * it does not name. */
void entry_parts_probe(const struct entry_parts *parts, boot_finding_fn found, void *owner);
