/* SPDX-License-Identifier: MIT */
/*
 * The daemon: owns the event loop and everything that lives on it, sends events to the state machine
 * (daemon/decide/update.h) and carries out its orders. Everything that may block runs on the pool, but for
 * what daemon_new() does before the loop turns. The loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "daemon/config/config.h"

struct daemon;

/* Looks at the record, the boot selection and the slots, and opens the API. `config` is the daemon's
 * from now on, also where this fails. `request` is how it was read, for SIGHUP, and outlives the daemon. May
 * block. */
bool daemon_new(const struct config_request *request, struct config *config, struct daemon **ret_daemon,
                struct error *error);

/* Turns the loop until SIGTERM, SIGINT or an error that cannot be survived; returns the exit status. */
int daemon_run(struct daemon *daemon);

/* NULL and half-built are fine. Returns NULL. */
struct daemon *daemon_free(struct daemon *daemon);
