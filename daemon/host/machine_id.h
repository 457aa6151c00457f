/* SPDX-License-Identifier: MIT */
/*
 * This machine's ID, from /etc/machine-id: decides its place in a rollout, and is never sent or shown.
 * Reads a small file, which may block on the medium.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/image/rollout.h"

/* Reads the ID; false, with half a sentence in ret_why, if there is none. During a first boot it may still
 * come. */
bool machine_id_read(char ret_id[ROLLOUT_MACHINE_ID_SIZE + 1], char *ret_why, size_t why_size);
