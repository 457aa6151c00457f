/* SPDX-License-Identifier: MIT */
/* moonsinter check, install, cancel, reboot, mark-good, mark-bad, rollback: orders to the daemon. */
#include <stdio.h>

#include "cli/daemon_client.h"
#include "cli/daemon_options.h"
#include "cli/daemon_status.h"
#include "cli/event_line.h"
#include "cli/verb.h"
#include "common/base/alloc.h"

static const char help_end[] =
    "On a terminal it says so in words, otherwise the new status is printed as JSON.\n"
    "The order is carried out after the command has ended; `moonsinter watch` shows\n"
    "it. Orders are for root, the daemon's own user and members of [Api] Group=.\n"
    "\n" DAEMON_OPTIONS_HELP;

static int run(int argc, char **argv, const char *what)
{
    CLEANUP_FREE char *help = alloc_printf("Usage: moonsinter %s [OPTION]...\n\nTells moonsinterd to %s.\n%s",
                                           argv[0], what, help_end);
    CLEANUP_FREE char *path = alloc_printf("/v1/%s", argv[0]);
    CLEANUP_JSON struct json_object *status = NULL;
    char state[DAEMON_STATUS_TEXT_SIZE];
    struct daemon_options options;
    struct error error;
    int exit_status;

    if (!daemon_options_parse(&options, argc, argv, help, &exit_status))
        return exit_status;
    if (!daemon_client_request(options.socket, "POST", path, &status, &error))
        return event_line_write_failure(options.verb, &error);
    if (!daemon_options_for_people(&options))
        daemon_options_print_json(status);
    else if (!options.quiet)
        printf("moonsinterd has taken the order and is now %s\n", daemon_status_text(state, status, "state"));
    return 0;
}

/* One verb: its name as typed, as C spells it, and what it does. */
#define VERB(text, identifier, what)                                                                         \
    static int run_##identifier(int argc, char **argv)                                                       \
    {                                                                                                        \
        return run(argc, argv, what);                                                                        \
    }                                                                                                        \
    const struct verb verb_##identifier = {                                                                  \
        .name = (text),                                                                                      \
        .summary = (what),                                                                                   \
        .run = run_##identifier,                                                                             \
    }

VERB("check", check, "look for an update now and compute its plan");
VERB("install", install, "install the update now");
VERB("cancel", cancel, "stop the update under way");
VERB("reboot", reboot, "reboot into the slot that was installed");
VERB("mark-good", mark_good, "keep the running slot: its trial has passed");
VERB("mark-bad", mark_bad, "give the running slot up and fall back to the other");
VERB("rollback", rollback, "go back to the other slot");
