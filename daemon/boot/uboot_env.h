/* SPDX-License-Identifier: MIT */
/*
 * U-Boot's environment by way of libubootenv, the only file that meets it: read some variables, and change
 * several of them in one store. With two copies on the medium (two lines in fw_env.config) a store writes
 * the other one and a power cut leaves one of them whole; a single copy can be torn, and then reads as
 * unreadable here and to U-Boot. A store takes fw_printenv's lock, for which it waits some seconds;
 * reading goes on without the lock if somebody holds it too long. It may block on the medium: pool
 * threads, or before the loop runs. Reading without the lock uses SIGALRM, whose action is left to be
 * none.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum {
    UBOOT_ENV_VALUE_SIZE = 128, /* bytes with the zero, enough for two names of slots */
    UBOOT_ENV_VARIABLES_MAX = 8,
};

struct uboot_env_variable {
    const char *name;
    char value[UBOOT_ENV_VALUE_SIZE]; /* "" = not set */
};

/* Fills in the values of `variables` by their names. `config` is the path of fw_env.config. */
bool uboot_env_read(const char *config, struct uboot_env_variable *variables, size_t count,
                    struct error *error);

/* Sets all of `variables` ("" removes one) in one store, and reads them back from the medium. `always`:
 * stores even where nothing changes, because an earlier store failed. */
bool uboot_env_write(const char *config, const struct uboot_env_variable *variables, size_t count,
                     bool always, struct error *error);

/* Whether the lock can be taken at all. If not, the environment is read but never written. */
bool uboot_env_can_lock(struct error *error);

/* Waits some seconds for the lock and releases it again; false if somebody holds it all the time. */
bool uboot_env_await_lock(struct error *error);

/* Whether what holds the environment may be written, as far as that can be told without doing so. */
bool uboot_env_can_write(const char *config, struct error *error);

/* How many copies of the environment `config` names, 1 or 2. */
bool uboot_env_copies(const char *config, unsigned *ret_copies, struct error *error);
