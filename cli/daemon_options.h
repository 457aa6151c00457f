/* SPDX-License-Identifier: MIT */
/*
 * The options of all verbs that talk to the daemon. The main thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/json.h"

struct daemon_options {
    const char *verb;   /* argv[0] */
    const char *socket; /* --socket, $MOONSINTER_SOCKET, or the default */
    const char *until;  /* --until; NULL if not given. Of `watch` only */
    bool until_done;    /* --until-done. Of `watch` only */
    bool until_verdict; /* --until-verdict. Of `watch` only */
    uint64_t within_ms; /* --daemon-within; 0 = without a bound. Of `watch` only */
    bool json;          /* --json: JSON on stdout, on a terminal too */
    bool quiet;
};

/* The text of the shared options, for the verbs' own help. */
#define DAEMON_OPTIONS_HELP                                                                                  \
    "      --socket PATH  the daemon's socket (default $MOONSINTER_SOCKET, then\n"                           \
    "                     /run/moonsinter/moonsinterd.sock)\n"                                               \
    "      --json         print the daemon's JSON, on a terminal too\n"                                      \
    "  -q, --quiet        say nothing to people\n"                                                           \
    "  -h, --help         this text\n"

/* Reads the command line, which may have options only. False if the verb has ended already, by --help or with
 * a usage error that was shown; the exit status is in *ret_exit_status. */
bool daemon_options_parse(struct daemon_options *ret_options, int argc, char **argv, const char *help,
                          int *ret_exit_status);

/* Whether stdout is for people: a terminal, and no --json. */
bool daemon_options_for_people(const struct daemon_options *options);

/* Prints the object as one line on stdout; on a terminal without characters that could steer it. */
void daemon_options_print_json(struct json_object *object);
