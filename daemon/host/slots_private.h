/* SPDX-License-Identifier: MIT */
/* What slots_find() is made of; for the files of daemon/host/slots.h only. */
#pragma once

#include "daemon/host/root_device.h"
#include "daemon/host/slots.h"

/* Finds what the names of the parts lead to. False where a name cannot be right. */
bool slots_find_parts(struct slots *slots, const struct slots_request *request, const char *root,
                      struct error *error);

/* Whether no two places, of the slots and of their parts, are the same storage, and none lies on another. */
bool slots_check_distinct(const struct slots *slots, const struct slots_request *request, const char *root,
                          struct error *error);

/* Notes which places the machine's root is on, and adds those of the running slot to what is in use. */
void slots_note_parts_in_use(struct slots *slots, const char *root, const struct root_device *cmdline,
                             const struct root_device *mounts);

/* Looks at the places that are files, and at the size of those that are partitions. */
void slots_look_at_places(struct slots *slots, const struct slots_request *request, const char *root);

/* Adds the objections to the parts' names to name_why. */
void slots_judge_part_names(struct slots *slots, const struct slots_request *request, const char *root);

/* Whether the device shares bytes with what the machine's root is on. */
bool slots_shares_storage(const struct root_device *device, const char *root, const struct storage *place);

/* Adds to name_why what is wrong with the name of one place, `what`. */
void slots_judge_name(struct slots *slots, const struct slots_request *request, const char *root,
                      const char *what, const char *name);
