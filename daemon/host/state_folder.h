/* SPDX-License-Identifier: MIT */
/*
 * Whether StateDirectory= outlives a change of slot: what the record remembers (the serial floor, releases
 * that failed) must be there whichever slot boots. Asks the kernel about the folder's file system; may block
 * on it, so pool threads, or before the loop runs.
 */
#pragma once

#include "daemon/host/slots.h"

/* Why the folder `path` does not outlive a change of slot, as a clause, freed by the caller; NULL = it does,
 * as far as is known. */
char *state_folder_find_objection(const char *path, const struct slots *slots);
