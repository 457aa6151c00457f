/* SPDX-License-Identifier: MIT */
/*
 * Which slot is on trial, for loaders that cannot say so themselves: a small file in the state folder, which
 * both slots share, replaced atomically. A backend writes it before it arms the slot and clears it after the
 * trial's end was told to the loader, and believes it only where the loader's own data fit. May block on the
 * medium.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/config/config.h"
#include "daemon/host/slots.h"

/* Where it is; the caller's to free. `root` is put in front. */
char *trial_file_path(const char *root, const struct config *config);

/* SLOT_NONE where none is, or there is no such file. */
bool trial_file_read(const char *path, enum slot *ret_slot, struct error *error);

/* Writes it, if it does not say so yet, and reads it back. */
bool trial_file_write(const char *path, enum slot slot, struct error *error);
