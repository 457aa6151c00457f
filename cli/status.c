/* SPDX-License-Identifier: MIT */
/* moonsinter status, why, history: what the daemon knows. */
#include <stdio.h>

#include "cli/daemon_client.h"
#include "cli/daemon_options.h"
#include "cli/daemon_status.h"
#include "cli/event_line.h"
#include "cli/verb.h"

static const char status_help[] =
    "Usage: moonsinter status [OPTION]...\n"
    "\n"
    "Shows what moonsinterd is doing: in words on a terminal, as the API's JSON\n"
    "object otherwise.\n"
    "\n" DAEMON_OPTIONS_HELP;

static const char why_help[] =
    "Usage: moonsinter why [OPTION]...\n"
    "\n"
    "Says in sentences what keeps an update from being installed, how the last one\n"
    "ended, and what last went wrong.\n"
    "\n" DAEMON_OPTIONS_HELP;

static const char history_help[] =
    "Usage: moonsinter history [OPTION]...\n"
    "\n"
    "Lists the last updates and trials with their outcome and reason, the newest\n"
    "first.\n"
    "\n" DAEMON_OPTIONS_HELP;

typedef void (*print_fn)(FILE *stream, struct json_object *object);

static void print_history(FILE *stream, struct json_object *object)
{
    struct json_object *list;

    if (!json_object_object_get_ex(object, "history", &list) || !json_object_is_type(list, json_type_array) ||
        json_object_array_length(list) == 0) {
        fputs("Nothing has been updated yet.\n", stream);
        return;
    }
    for (size_t i = 0; i < json_object_array_length(list); i++)
        if (json_object_is_type(json_object_array_get_idx(list, i), json_type_object))
            daemon_status_print_entry(stream, json_object_array_get_idx(list, i));
}

/* Asks for `path` and shows the answer: in words on a terminal, else as JSON. `always_words`: as JSON only
 * with --json. */
static int run(int argc, char **argv, const char *help, const char *path, print_fn print, bool always_words)
{
    struct daemon_options options;
    CLEANUP_JSON struct json_object *body = NULL;
    struct error error;
    int exit_status;

    if (!daemon_options_parse(&options, argc, argv, help, &exit_status))
        return exit_status;
    if (!daemon_client_request(options.socket, "GET", path, &body, &error))
        return event_line_write_failure(options.verb, &error);
    if (daemon_options_for_people(&options) || (always_words && !options.json))
        print(stdout, body);
    else
        daemon_options_print_json(body);
    return 0;
}

static int run_status(int argc, char **argv)
{
    return run(argc, argv, status_help, "/v1/status", daemon_status_print, false);
}

static int run_why(int argc, char **argv)
{
    return run(argc, argv, why_help, "/v1/status", daemon_status_print_reasons, true);
}

static int run_history(int argc, char **argv)
{
    return run(argc, argv, history_help, "/v1/history", print_history, false);
}

const struct verb verb_status = {
    .name = "status",
    .summary = "show what the daemon is doing",
    .run = run_status,
};

const struct verb verb_why = {
    .name = "why",
    .summary = "say why nothing is installed, or what went wrong",
    .run = run_why,
};

const struct verb verb_history = {
    .name = "history",
    .summary = "list the last updates and their outcome",
    .run = run_history,
};
