/* SPDX-License-Identifier: MIT */
/*
 * `moonsinterd --doctor`: whether this machine can be updated and can get back, before it has to. Looks at
 * the settings, the boot loader, the slots and who holds them, the server, the clock, memory, the state
 * folder and the health checks, also where the daemon never ran; changes nothing. Blocks while it asks, the
 * server for as long as StallTimeout= says; a program of its own, not part of the daemon's loop.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "daemon/config/config.h"

/* Prints a line for each finding, as sentences for people or as JSON, and a last one that counts them.
 * Returns the exit status: 0 where nothing failed (warnings may be there), else 1. */
int doctor_run(const struct config_request *request, bool for_people, FILE *stream);
