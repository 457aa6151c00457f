/* SPDX-License-Identifier: MIT */
/*
 * The two sets of variables that boards' boot scripts go by, taken apart and put together; see
 * daemon/boot/uboot.c for what they mean. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "daemon/boot/uboot_env.h"
#include "daemon/host/slots.h"

enum { UBOOT_VARIABLES_MAX = 5 };

/* Which of the two sets is used, and what is needed to read it. */
struct uboot_scheme {
    bool mender;                     /* else RAUC's */
    unsigned partitions[SLOT_COUNT]; /* mender: their numbers on the disk */
    char *names[SLOT_COUNT];         /* rauc: what the script calls them */
    char *left_names[SLOT_COUNT];    /* rauc: BOOT_x_LEFT with those */
};

struct uboot_variables {
    struct uboot_env_variable list[UBOOT_VARIABLES_MAX];
    size_t count;
};

/* The state that either set of variables describes. */
struct uboot_state {
    enum slot order[SLOT_COUNT]; /* rauc: the slots that may be started, then SLOT_NONE; mender: the one */
    unsigned left[SLOT_COUNT];   /* starts; mender: of a trial only */
    enum slot trial;             /* SLOT_NONE = none */
    /* rauc: no slot is known to be good, because there are no variables yet (these are what they are to the
     * scripts), or because the script had to make them anew and counts every start. */
    bool fresh, all_on_trial;
};

/* Whether BOOT_ORDER names `slot`, for RAUC's variables. */
bool uboot_state_has(const struct uboot_state *state, enum slot slot);

/* Whether the boot script would start `slot`, for RAUC's variables. */
bool uboot_state_can_start(const struct uboot_state *state, enum slot slot);

/* The first slot of the order that the boot script would start, for RAUC's variables; SLOT_NONE = none. */
enum slot uboot_state_first(const struct uboot_state *state);

/* The scheme's variables by name, without values. */
void uboot_variables_name(const struct uboot_scheme *scheme, struct uboot_variables *ret_variables);

/* Reads the state from the values; missing ones count as the scripts count them. An error names the
 * variable. */
bool uboot_variables_parse(const struct uboot_scheme *scheme, const struct uboot_variables *variables,
                           struct uboot_state *ret_state, struct error *error);

/* Puts `state` into the values; those it does not touch stay as they were read. */
void uboot_variables_print(const struct uboot_scheme *scheme, const struct uboot_state *state,
                           struct uboot_variables *variables);
