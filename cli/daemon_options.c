/* SPDX-License-Identifier: MIT */
#include "cli/daemon_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/argument.h"
#include "cli/event_line.h"
#include "cli/plain_text.h"

static const char default_socket[] = "/run/moonsinter/moonsinterd.sock";

enum { OPTIONS_OF_WATCH_ALONE = 4 };

/* The first ones are only for `watch`; the others share the rest. */
static const struct argument_option options_of_watch[] = {
    {"until", argument_take_text, offsetof(struct daemon_options, until)},
    {"until-done", NULL, offsetof(struct daemon_options, until_done)},
    {"until-verdict", NULL, offsetof(struct daemon_options, until_verdict)},
    {"daemon-within", argument_take_duration, offsetof(struct daemon_options, within_ms)},
    {"socket", argument_take_text, offsetof(struct daemon_options, socket)},
    {"json", NULL, offsetof(struct daemon_options, json)},
    {"quiet", NULL, offsetof(struct daemon_options, quiet)},
    {NULL, NULL, 0},
};

bool daemon_options_parse(struct daemon_options *ret_options, int argc, char **argv, const char *help,
                          int *ret_exit_status)
{
    const char *environment = getenv("MOONSINTER_SOCKET");
    struct daemon_options options = {
        .verb = argv[0],
        .socket = environment && *environment ? environment : default_socket,
    };
    bool is_watch = strcmp(argv[0], "watch") == 0;
    struct error error;

    bool ok = argument_parse_options(is_watch ? options_of_watch : options_of_watch + OPTIONS_OF_WATCH_ALONE,
                                     help, argc, argv, &options, &error);
    if (ok && optind < argc)
        ok = error_set(&error, ERROR_REFUSED, "it takes no argument, but %.100s was given", argv[optind]);
    if (ok)
        *ret_options = options;
    else
        *ret_exit_status = argument_end(argv[0], &error);
    return ok;
}

bool daemon_options_for_people(const struct daemon_options *options)
{
    return !options->json && isatty(STDOUT_FILENO);
}

void daemon_options_print_json(struct json_object *object)
{
    const char *text = json_to_text(object);

    if (isatty(STDOUT_FILENO))
        plain_text_print(stdout, text);
    else
        fputs(text, stdout);
    fputc('\n', stdout);
}
