/* SPDX-License-Identifier: MIT */
/*
 * Which slot is on trial, for loaders that cannot say so themselves: a small file in the state folder,
 * which both slots share, replaced atomically. A backend writes it before it arms the slot, clears it
 * after it told the loader of the trial's end, and believes it only if the loader's own data agree. May
 * block on the medium.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/config/config.h"
#include "daemon/host/slots.h"

/* The path of the file, freed by the caller. `root` is put in front. */
char *trial_file_path(const char *root, const struct config *config);

/* Reads which slot is on trial; SLOT_NONE if none is, or if there is no such file. */
bool trial_file_read(const char *path, enum slot *ret_slot, struct error *error);

/* Writes the file, unless it says so already, and reads it back. */
bool trial_file_write(const char *path, enum slot slot, struct error *error);
