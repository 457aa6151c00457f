/* SPDX-License-Identifier: MIT */
/* moonsinter clone: make a file or a partition equal to a published image. */
#include "cli/session.h"
#include "cli/verb.h"

static const char help[] =
    "Usage: moonsinter clone URL OUTPUT [SEED]... [OPTION]...\n"
    "\n"
    "Makes OUTPUT, a file or a block device, equal to the image published at URL, fetching only what neither OUTPUT nor\n"
    "any SEED has. What is right already is not written again; a clone that was interrupted keeps what\n"
    "it has written.\n"
    "\n" SESSION_OPTIONS_HELP;

static int run_clone(int argc, char **argv)
{
    return session_run(argc, argv, false, help);
}

const struct verb verb_clone = {
    .name = "clone",
    .summary = "make OUTPUT equal to a published image",
    .run = run_clone,
};
