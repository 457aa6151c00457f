/* SPDX-License-Identifier: MIT */
/* The command: one table of verbs, and the choice among them. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/event_line.h"
#include "cli/verb.h"
#include "common/base/version.h"

/* Each verb is defined at the end of the file that implements it. */
extern const struct verb verb_cancel, verb_check, verb_clone, verb_diff, verb_doctor, verb_generate,
    verb_history, verb_install, verb_mark_bad, verb_mark_good, verb_plan, verb_reboot, verb_rollback,
    verb_status, verb_verify, verb_watch, verb_why;

struct verb_group {
    const char *title;
    const struct verb *const *verbs; /* NULL-terminated */
};

static const struct verb_group groups[] = {
#ifdef HAVE_PUBLISHING
    {"For publishers", (const struct verb *const[]){&verb_generate, &verb_diff, NULL}},
#endif
    {"Anywhere", (const struct verb *const[]){&verb_clone, &verb_plan, &verb_verify, NULL}},
    {"On a device",
     (const struct verb *const[]){&verb_doctor, &verb_status, &verb_watch, &verb_why, &verb_history,
                                  &verb_check, &verb_install, &verb_cancel, &verb_reboot, &verb_mark_good,
                                  &verb_mark_bad, &verb_rollback, NULL}},
};

enum { GROUP_COUNT = sizeof(groups) / sizeof(groups[0]) };

/* The verbs that -Dpublishing=disabled leaves out: they get an error of their own. */
static const char *const publishing_verbs[] = {"generate", "diff"};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < GROUP_COUNT; i++)
        for (const struct verb *const *verb = groups[i].verbs; *verb; verb++)
            if (strcmp(name, (*verb)->name) == 0)
                return *verb;
    return NULL;
}

static void set_unknown_verb(const char *name, struct error *error)
{
    for (size_t i = 0; i < sizeof(publishing_verbs) / sizeof(publishing_verbs[0]); i++)
        if (strcmp(name, publishing_verbs[i]) == 0) {
            error_set(
                error, ERROR_REFUSED,
                "this command was built without %s, which is for publishers (-Dpublishing=disabled); run it "
                "where the images are made",
                name);
            return;
        }
    error_set(error, ERROR_REFUSED, "there is no verb %.100s", name);
}

static void print_help(FILE *stream)
{
    fputs("Usage: moonsinter VERB [ARGUMENT]...\n", stream);
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        fprintf(stream, "\n%s:\n", groups[i].title);
        for (const struct verb *const *verb = groups[i].verbs; *verb; verb++)
            fprintf(stream, "  %-10s %s\n", (*verb)->name, (*verb)->summary);
    }
    fputs("\n`moonsinter VERB --help` says more, `moonsinter --version` which build this is.\n"
          "Events go to stdout as JSON, one object a line.\n"
          "Exit status: 0 done, 1 failed, 2 usage, 128 + n ended by signal n.\n",
          stream);
}

/* If the parent left a standard descriptor closed, the next file that is opened would get its number, and
 * events would be written into that file. */
static void hold_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("moonsinter %s\n", version_text());
        return 0;
    }
    const struct verb *verb = find_verb(argv[1]);
    if (verb)
        return verb->run(argc - 1, argv + 1);
    struct error error;
    set_unknown_verb(argv[1], &error);
    return event_line_write_usage(NULL, &error);
}

int main(int argc, char **argv)
{
    hold_standard_descriptors();
    /* If the parent stops reading events the work goes on; only the exit status tells of it. */
    signal(SIGPIPE, SIG_IGN);
    /* A file that exceeds the size limit gives an error, not a signal. */
    signal(SIGXFSZ, SIG_IGN);
    return event_line_finish(run(argc, argv));
}
