/* SPDX-License-Identifier: MIT */
/* moonsinter plan: what a clone would fetch, to the byte, without writing anything. */
#include "cli/session.h"
#include "cli/verb.h"

static const char help[] =
    "Usage: moonsinter plan URL OUTPUT [SEED]... [OPTION]...\n"
    "\n"
    "Says what `moonsinter clone` with the same arguments would keep, copy and fetch, in bytes. Writes nothing; OUTPUT\n"
    "need not exist.\n"
    "\n" SESSION_OPTIONS_HELP;

static int run_plan(int argc, char **argv)
{
    return session_run(argc, argv, true, help);
}

const struct verb verb_plan = {
    .name = "plan",
    .summary = "say what a clone would fetch, to the byte",
    .run = run_plan,
};
