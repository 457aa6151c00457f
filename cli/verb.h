/* SPDX-License-Identifier: MIT */
/*
 * A verb of the command. Each file in cli/ that implements verbs defines constants of this type at its end,
 * and cli/moonsinter.c lists them in one table.
 */
#pragma once

struct verb {
    const char *name;    /* as typed: "clone" */
    const char *summary; /* one line of --help */
    /* argv[0] is the verb's name. Returns the exit status: 0 done, 1 failed, 2 usage. */
    int (*run)(int argc, char **argv);
};
