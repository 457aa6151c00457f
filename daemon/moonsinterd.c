/* SPDX-License-Identifier: MIT */
/* moonsinterd: argv, settings, the daemon, its exit status. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/version.h"
#include "common/io/http_settings.h"
#include "daemon/config/config.h"
#include "daemon/daemon.h"
#include "daemon/doctor/doctor.h"
#include "daemon/face/notify.h"
#include "daemon/host/slots.h"

enum { EXIT_USAGE = 2 };

static const char help[] =
    "Usage: moonsinterd [--config FILE] [--check-config | --doctor]\n"
    "       moonsinterd URL PARTITION_A PARTITION_B [MINUTES]\n"
    "\n"
    "Keeps the slot that does not run equal to the image at Url=, and changes over to it.\n"
    "\n"
    "  --config FILE    read FILE and the drop-ins in FILE.d instead of the system's settings\n"
    "  --check-config   print the settings in effect and where each came from, then exit\n"
    "  --doctor         look whether this device can be updated and can fall back, then exit\n"
    "  --debug          log more\n"
    "  --help           print this help, then exit\n"
    "  --version        print the version, then exit\n"
    "\n"
    "The second form sets Backend=rpi-cmdline and Mode=install, and looks every MINUTES (default 5).\n"
    "See moonsinterd(8) and moonsinterd.conf(5).\n";

struct options {
    struct config_request request;
    char *url;                       /* what request.url points at, to be freed */
    int check_config, doctor, debug; /* 1 where asked for */
};

static int usage(const char *what)
{
    fprintf(stderr, "moonsinterd: %s; see moonsinterd --help\n", what);
    return EXIT_USAGE;
}

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
    const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, &options->check_config, 1},
        {"doctor", no_argument, &options->doctor, 1},
        {"debug", no_argument, &options->debug, 1},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->request.file = optarg;
            break;
        case 0: /* one of the flags above */
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        case 'V':
            printf("moonsinterd %s\n", version_text());
            return EXIT_SUCCESS;
        default:
            /* getopt_long() has said what is wrong. */
            return EXIT_USAGE;
        }
    }
    int left = argc - optind;
    if (left != 0 && left != 3 && left != 4)
        return usage("URL PARTITION_A PARTITION_B [MINUTES] belong together");
    if (left) {
        options->request.url = options->url = http_settings_take_url_argument(argv[optind]);
        options->request.slot_a = argv[optind + 1];
        options->request.slot_b = argv[optind + 2];
        options->request.minutes = left == 4 ? argv[optind + 3] : NULL;
    }
    return -1;
}

static bool load_config(const struct options *options, struct config **ret_config)
{
    struct config_problems problems = {0};
    bool loaded = config_load(&options->request, ret_config, &problems);

    for (size_t i = 0; i < problems.count; i++)
        log_write(problems.items[i].is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%s",
                  problems.items[i].message);
    if (options->check_config && problems.count)
        loaded = false;
    config_problems_finish(&problems);
    return loaded;
}

/* Whether the slots are such that the daemon would start and would not hold every update; logs why not. */
static bool check_slots(const struct options *options, const struct config *config)
{
    struct slots_request request = {
        .root = options->request.root,
        .names = {config->slot_names[SLOT_A], config->slot_names[SLOT_B]},
        .parts = config->parts,
        .part_count = config->part_count,
        .selected = SLOT_NONE,
        .judge_names = true,
        .names_by_content = config->backend == CONFIG_BACKEND_FILE,
    };
    struct slots *slots;
    struct error error;

    if (!slots_find(&request, &slots, &error)) {
        log_error("%s", error.message);
        return false;
    }
    bool well = !slots->name_why;
    if (!well)
        log_error("every update would be held (slot-name): %s", slots->name_why);
    slots_free(slots);
    return well;
}

static bool check_keys(const struct config *config)
{
    if (config->keys_why)
        log_error("every update would be held (unsafe-keys): %s", config->keys_why);
    return !config->keys_why;
}

static int run(const struct options *options)
{
    struct config *config = NULL;
    struct daemon *daemon;
    struct error error;

    log_init(options->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, getenv("JOURNAL_STREAM") != NULL);
    if (options->doctor)
        return doctor_run(&options->request, isatty(STDOUT_FILENO), stdout);
    bool loaded = load_config(options, &config);
    if (options->check_config && config) {
        config_print(config, stdout);
        loaded &= check_keys(config);
        loaded &= !config->slot_names[SLOT_A] || !config->slot_names[SLOT_B] || check_slots(options, config);
    }
    if (!loaded || options->check_config) {
        config_free(config);
        return loaded ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (!daemon_new(&options->request, config, &daemon, &error)) {
        log_error("%s", error.message);
        notify_stopping(error.message);
        return EXIT_FAILURE;
    }
    daemon_run(daemon);
    daemon_free(daemon);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int status = parse_options(argc, argv, &options);

    if (status < 0)
        status = run(&options);
    free(options.url);
    return status;
}
