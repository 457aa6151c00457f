/* SPDX-License-Identifier: MIT */
/*
 * The health checks of a slot on trial, one after another within one deadline: the systemd units that must
 * be active, the image server where it must answer, the programs of a folder in order of their names, and
 * the units once more. All must pass. Units and server may become good until the deadline; a program has
 * one try. If moonsinterd is a systemd unit, the programs run as units too, see health.c. Nothing blocks;
 * the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/io/http.h"
#include "common/io/pool.h"
#include "common/sinter/trust.h"
#include "daemon/config/config.h"
#include "daemon/host/process.h"
#include "daemon/parts/health_list.h"

struct event_base;
struct health;

enum {
    HEALTH_UNITS_MAX = CONFIG_UNITS_MAX,
    HEALTH_REASON_SIZE = 384, /* as much as the record keeps */
};

/* Copied, except what the first four point at, which outlives the checks. */
struct health_options {
    struct event_base *base;
    struct pool *pool;
    struct processes *processes;
    struct http *http;
    const char *folder;           /* of the programs */
    bool folder_optional;         /* a missing folder is fine */
    const char *const *units;     /* each one unit, or several with blanks between; ends with NULL */
    const struct url *server_url; /* of the image whose manifest must come; NULL = do not ask */
    struct trust trust;           /* what that manifest must have */
    bool as_units;                /* the programs are started by systemd */
    uint64_t timeout_ms;
};

struct health_verdict {
    bool good;
    char reason[HEALTH_REASON_SIZE];  /* why not, as a clause */
    char output[PROCESS_OUTPUT_SIZE]; /* the last lines of the program that failed; "" = none */
};

/* Called once when the checks are over; health_free() may be called from here. */
typedef void (*health_done_fn)(void *owner, const struct health_verdict *verdict);

/* Begins the checks; `done` is never called from within. */
struct health *health_start(const struct health_options *options, health_done_fn done, void *owner);

/* Ends the checks without a callback. NULL is fine. Returns NULL. */
struct health *health_free(struct health *health);

/* What is waited for now, as a clause: "app.service is not active yet". */
const char *health_describe(const struct health *health);
