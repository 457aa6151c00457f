/* The command: one table of verbs, and the choice among them. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"

extern const struct verb verb_clone, verb_diff, verb_generate, verb_plan, verb_verify;

static const struct verb *const verbs[] = {
    &verb_generate, &verb_diff, &verb_clone, &verb_plan, &verb_verify,
};

static void print_help(FILE *stream)
{
    fputs("Usage: moonsinter VERB [ARGUMENT]...\n\n", stream);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        fprintf(stream, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
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
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(argv[1], verbs[i]->name) == 0)
            return verbs[i]->run(argc - 1, argv + 1);
    fprintf(stderr, "moonsinter: there is no verb %s; `moonsinter --help` lists them\n", argv[1]);
    return 2;
}
