/* SPDX-License-Identifier: MIT */
/*
 * What a verb of the command is: each file in cli/ that implements verbs ends in constants of this type, and
 * cli/moonsinter.c lists them in one table.
 */
#pragma once

struct verb {
    const char *name;      /* as typed: "clone" */
    const char *arguments; /* as --help shows them: "URL OUTPUT [SEED]..." */
    const char *summary;   /* one line of --help */
    /* argv[0] is the verb's name. Returns the exit status: 0 done, 1 failed, 2 usage. */
    int (*run)(int argc, char **argv);
};
