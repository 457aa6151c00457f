/* SPDX-License-Identifier: MIT */
/*
 * systemd-boot's entries of the slots: one file each on the EFI system partition or on XBOOTLDR, of the name
 * in the settings, perhaps with the counters of boot counting in it (NAME+LEFT-DONE.conf). They are looked
 * for and never written. May block on the medium.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/config/config.h"
#include "daemon/host/slots.h"

struct loader_entries {
    char *names[SLOT_COUNT]; /* without counters: NAME.conf or NAME.efi */
    char *root;              /* put before every path */
    char *esp;               /* Esp=; NULL = the usual places */
};

/* How an entry is called there. */
struct loader_entry_file {
    bool counted;
    bool exhausted; /* counted down to zero, which is bad to the loader */
    bool twice;     /* with counters and without: the one without is what counts, here and to the loader */
};

/* Takes what is asked for from the settings. The partitions' mount points are looked for at each call below,
 * for they may be mounted late. `root` is put in front. */
void loader_entries_init(struct loader_entries *entries, const char *root, const struct config *config);

void loader_entries_finish(struct loader_entries *entries);

/* Whether the partitions are mounted where they are looked for. */
bool loader_entries_are_there(const struct loader_entries *entries);

/* Whose entry a variable of the loader's names, with or without counters or by the pattern for both;
 * SLOT_NONE = another one. */
enum slot loader_entries_slot(const struct loader_entries *entries, const char *name);

/* False where there is none, or the partitions are not to be found. */
bool loader_entries_find(const struct loader_entries *entries, enum slot slot,
                         struct loader_entry_file *ret_file);

/* False (refused) where `slot` certainly has no entry: the other one's is there, or Esp= is not. The loader
 * passes by what is not, so the slot would look like one that does not start. */
bool loader_entries_check(const struct loader_entries *entries, enum slot slot, struct error *error);

/* Sets the error that says that `slot` has none, and where it was looked for. False. */
bool loader_entries_refuse(const struct loader_entries *entries, enum slot slot, struct error *error);

/* What to write into a variable for a slot, the caller's to free: its entry's name, or the pattern that fits
 * whatever its counters are. */
char *loader_entries_value(const struct loader_entries *entries, enum slot slot);
