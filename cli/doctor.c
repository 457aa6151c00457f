/* SPDX-License-Identifier: MIT */
/* moonsinter doctor: runs the daemon's own program, which knows the settings, the boot loader and the
 * slots. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/event_line.h"
#include "cli/verb.h"
#include "common/base/alloc.h"
#include "common/base/error.h"

static const char help[] =
    "Usage: moonsinter doctor [--config FILE]\n"
    "\n"
    "Looks whether this device can be updated and can fall back, before it has to: settings, boot loader, slots\n"
    "and who holds them, the server, clock, memory, the state folder, health checks. Changes nothing, and needs no\n"
    "running moonsinterd. Run it as root.\n"
    "\n"
    "Prints a line for each finding, \"ok\", \"warning\" or \"failure\", the last two with what to do: sentences on a\n"
    "terminal, else JSON, one object a line. Exit status: 0 where nothing failed, 1 where something did.\n"
    "\n"
    "  --config FILE  read FILE and the drop-ins in FILE.d instead of the system's settings\n"
    "  --help         print this help, then exit\n";

static int run_doctor(int argc, char **argv)
{
    /* $MOONSINTERD is for a daemon that is installed elsewhere. */
    const char *program = getenv("MOONSINTERD") ? getenv("MOONSINTERD") : MOONSINTERD_PATH;
    CLEANUP_FREE char **arguments = alloc_zeroed(((size_t)argc + 2) * sizeof(*arguments));
    char name[] = "moonsinterd", option[] = "--doctor";
    struct error error;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return fputs(help, stdout) < 0;
    arguments[0] = name;
    arguments[1] = option;
    memcpy(arguments + 2, argv + 1, ((size_t)argc - 1) * sizeof(*arguments));
    execv(program, arguments);
    error_set_errno(&error, errno, "%s cannot be run; install moonsinterd, or name it in $MOONSINTERD",
                    program);
    return event_line_write_failure("doctor", &error);
}

const struct verb verb_doctor = {
    .name = "doctor",
    .summary = "look whether this device can be updated and can fall back",
    .run = run_doctor,
};
