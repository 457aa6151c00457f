/* SPDX-License-Identifier: MIT */
/*
 * The slots' entries for systemd-boot: one file for each slot, on the EFI system partition or on XBOOTLDR,
 * with the name from the settings, perhaps with the counters of boot counting in it (NAME+LEFT-DONE.conf).
 * They are looked for and never written. May block on the medium.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "daemon/config/config.h"
#include "daemon/host/slots.h"

struct loader_entries {
    char *names[SLOT_COUNT]; /* without counters: NAME.conf or NAME.efi */
    char *root;              /* put before every path */
    char *esp;               /* Esp=; NULL = the usual places */
};

enum { LOADER_ENTRY_PATH_SIZE = 512 };

/* The file of an entry, as its name tells. */
struct loader_entry_file {
    char path[LOADER_ENTRY_PATH_SIZE]; /* without `root` */
    size_t place_length;               /* of its mount point, the beginning of the path */
    bool counted;
    bool exhausted; /* counted down to zero, so the loader takes it for bad */
    bool twice;     /* there is one file with counters and one without; the loader, and this code, use the one
                       without */
};

/* Copies what is needed from the settings. The mount points are looked for at each call below, because the
 * partitions may be mounted late. `root` is put before every path. */
void loader_entries_init(struct loader_entries *entries, const char *root, const struct config *config);

void loader_entries_finish(struct loader_entries *entries);

/* Whether the partitions are mounted at Esp= or at one of the usual places. */
bool loader_entries_are_there(const struct loader_entries *entries);

/* The slot whose entry a variable of the loader names: with counters, without, or by a pattern for both.
 * SLOT_NONE = neither's. */
enum slot loader_entries_slot(const struct loader_entries *entries, const char *name);

/* Finds the entry of a slot; false if there is none, or the partitions are not found. */
bool loader_entries_find(const struct loader_entries *entries, enum slot slot,
                         struct loader_entry_file *ret_file);

/* False (refused) if `slot` certainly has no entry: the other slot's is there, or Esp= is missing. The loader
 * skips a missing entry, so it would look as if the slot did not start. */
bool loader_entries_check(const struct loader_entries *entries, enum slot slot, struct error *error);

/* Sets the error that `slot` has no entry, and where it was looked for. Returns false. */
bool loader_entries_refuse(const struct loader_entries *entries, enum slot slot, struct error *error);

/* What to write into a variable for a slot, the caller's to free: its entry's name, or the pattern that fits
 * whatever its counters are. */
char *loader_entries_value(const struct loader_entries *entries, enum slot slot);
