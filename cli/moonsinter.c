/* The command: one table of verbs, and the choice among them. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"

/* Each stands at the end of the file that implements it. */
extern const struct verb verb_cancel, verb_check, verb_clone, verb_diff, verb_generate, verb_history, verb_install,
    verb_mark_bad, verb_mark_good, verb_plan, verb_reboot, verb_rollback, verb_status, verb_verify, verb_watch, verb_why;

struct verb_group {
    const char *title;
    const struct verb *const *verbs; /* NULL-terminated */
};

static const struct verb_group groups[] = {
    {"For publishers", (const struct verb *const[]){&verb_generate, &verb_diff, NULL}},
    {"Anywhere", (const struct verb *const[]){&verb_clone, &verb_plan, &verb_verify, NULL}},
    {"On a device, of its daemon",
     (const struct verb *const[]){&verb_status, &verb_watch, &verb_why, &verb_history, &verb_check, &verb_install,
                                  &verb_cancel, &verb_reboot, &verb_mark_good, &verb_mark_bad, &verb_rollback, NULL}},
};

enum { GROUP_COUNT = sizeof(groups) / sizeof(groups[0]) };

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < GROUP_COUNT; i++)
        for (const struct verb *const *verb = groups[i].verbs; *verb; verb++)
            if (strcmp(name, (*verb)->name) == 0)
                return *verb;
    return NULL;
}

static void print_help(FILE *stream)
{
    fputs("Usage: moonsinter VERB [ARGUMENT]...\n", stream);
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        fprintf(stream, "\n%s:\n", groups[i].title);
        for (const struct verb *const *verb = groups[i].verbs; *verb; verb++)
            fprintf(stream, "  %-10s %s\n", (*verb)->name, (*verb)->summary);
    }
    fputs("\n`moonsinter VERB --help` says more. Events go to stdout as JSON, one object a line.\n"
          "Exit status: 0 done, 1 failed, 2 usage.\n",
          stream);
}

int main(int argc, char **argv)
{
    /* A parent that stops reading our events ends us by the failed write, not by a signal in mid-air. */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("moonsinter " MOONSINTER_VERSION);
        return 0;
    }
    const struct verb *verb = find_verb(argv[1]);
    if (verb)
        return verb->run(argc - 1, argv + 1);
    fprintf(stderr, "moonsinter: there is no verb %s; `moonsinter --help` lists them\n", argv[1]);
    return 2;
}
