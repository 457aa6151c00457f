/* SPDX-License-Identifier: MIT */
/*
 * One run of `moonsinter clone` or `moonsinter plan`: reads the arguments that both share, fetches the
 * manifest, runs the engine for each image of the release, and starts over if the image on the server was
 * replaced meanwhile. The main thread only.
 */
#pragma once

#include <stdbool.h>

#include "cli/trust_options.h"

/* The options both verbs take, for their help texts. */
#define SESSION_OPTIONS_HELP                                                                                 \
    "  --connections N         ranges to fetch at the same time, 1 to 32 (default 4)\n"                      \
    "  --rate-limit SIZE       bytes a second for all of them, with K, M or G (default: no limit)\n"         \
    "  --stall-timeout TIME    when a silent connection is given up and tried again (default 30s)\n"         \
    "  --retry-for TIME        how long to try without getting anywhere (default 2min)\n"                    \
    "  --proxy URL             fetch through this proxy\n"                                                   \
    "  --ca-file FILE          certificates to trust, PEM (default: the system's)\n"                         \
    "  --client-certificate FILE, --client-key FILE\n"                                                       \
    "                          show these to the server, PEM\n"                                              \
    "  --pinned-public-key sha256//BASE64[;...]\n"                                                           \
    "                          trust no server but one that shows one of these public keys\n"                \
    "  --header \"NAME: VALUE\", --header @FILE\n"                                                           \
    "                          send this, or the lines of this file, to URL's server with each request;\n"   \
    "                          may be given several times\n" TRUST_OPTIONS_HELP                              \
    "  --part NAME=OUTPUT[,SEED]...\n"                                                                       \
    "                          where the release is a set: the output of this part; each part needs one.\n"  \
    "                          NAME@a= or NAME@b= for a part with an image for each slot\n"                  \
    "  --json                  write events to stdout even if it is a terminal\n"                            \
    "  -q, --quiet             no progress on the terminal\n"                                                \
    "  -h, --help              this text\n"

/* Runs the verb argv[0]; returns its exit status. */
int session_run(int argc, char **argv, bool plan_only, const char *help);
