/* SPDX-License-Identifier: MIT */
/*
 * `moonsinterd --doctor`: tells in advance whether this machine can be updated and can fall back. Looks at
 * the settings, the boot loader, the slots and who holds them, the server, the clock, memory, the state
 * folder and the health checks, even if the daemon never ran; changes nothing. Blocks, on the server for
 * as long as StallTimeout= says; runs instead of the daemon, not on its loop.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "daemon/config/config.h"

/* Prints a line for each finding, as sentences for people or as JSON, and a last one that counts them.
 * Returns the exit status: 0 if nothing failed (there may be warnings), else 1. */
int doctor_run(const struct config_request *request, bool for_people, FILE *stream);
