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
#include "common/base/text.h"

static const char default_socket[] = "/run/moonsinter/moonsinterd.sock";

enum {
    OPTION_SOCKET = 256,
    OPTION_JSON,
    OPTION_UNTIL,
    OPTION_UNTIL_DONE,
    OPTION_UNTIL_VERDICT,
    OPTION_WITHIN,
};

enum { OPTIONS_OF_WATCH_ALONE = 4 };

/* The first ones are only for `watch`; the others share the rest. */
static const struct option options_of_watch[] = {
    {"until", required_argument, NULL, OPTION_UNTIL},
    {"until-done", no_argument, NULL, OPTION_UNTIL_DONE},
    {"until-verdict", no_argument, NULL, OPTION_UNTIL_VERDICT},
    {"daemon-within", required_argument, NULL, OPTION_WITHIN},
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"json", no_argument, NULL, OPTION_JSON},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
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
    int option;

    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":qh",
                                 is_watch ? options_of_watch : options_of_watch + OPTIONS_OF_WATCH_ALONE,
                                 NULL)) != -1) {
        switch (option) {
        case OPTION_SOCKET:
            options.socket = optarg;
            break;
        case OPTION_JSON:
            options.json = true;
            break;
        case OPTION_UNTIL:
            options.until = optarg;
            break;
        case OPTION_UNTIL_DONE:
            options.until_done = true;
            break;
        case OPTION_UNTIL_VERDICT:
            options.until_verdict = true;
            break;
        case OPTION_WITHIN:
            if (text_parse_duration(optarg, &options.within_ms) == 0 && options.within_ms > 0)
                break;
            error_set(&error, ERROR_REFUSED, "--daemon-within takes a duration such as 2min, not %.100s",
                      optarg);
            *ret_exit_status = event_line_write_usage(argv[0], &error);
            return false;
        case 'q':
            options.quiet = true;
            break;
        case 'h':
            fputs(help, stdout);
            *ret_exit_status = 0;
            return false;
        default:
            argument_set_option_error(option, argv, &error);
            *ret_exit_status = event_line_write_usage(argv[0], &error);
            return false;
        }
    }
    if (optind < argc) {
        error_set(&error, ERROR_REFUSED, "it takes no argument, but %.100s was given", argv[optind]);
        *ret_exit_status = event_line_write_usage(argv[0], &error);
        return false;
    }
    *ret_options = options;
    return true;
}

bool daemon_options_for_people(const struct daemon_options *options)
{
    return !options->json && isatty(STDOUT_FILENO);
}

void daemon_options_print_json(struct json_object *object)
{
    const char *text =
        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

    if (isatty(STDOUT_FILENO))
        plain_text_print(stdout, text);
    else
        fputs(text, stdout);
    fputc('\n', stdout);
}
