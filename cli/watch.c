/* SPDX-License-Identifier: MIT */
/* moonsinter watch: follow the daemon live. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/daemon_client.h"
#include "cli/daemon_options.h"
#include "cli/daemon_status.h"
#include "cli/event_line.h"
#include "cli/plain_text.h"
#include "cli/progress.h"
#include "cli/tell.h"
#include "cli/verb.h"
#include "common/base/wall_clock.h"

static const char help[] =
    "Usage: moonsinter watch [OPTION]...\n"
    "\n"
    "Follows moonsinterd until it is interrupted: a line of progress on a terminal,\n"
    "the API's event stream on stdout where that is none, one JSON object a line, the\n"
    "whole status first.\n"
    "\n"
    "      --until STATE  end with status 0 as soon as the daemon is in STATE: idle,\n"
    "                     checking, held, installing, activating, reboot-pending,\n"
    "                     trial or stopping\n"
    "      --until-done   end as soon as no update is under way: with status 0 where\n"
    "                     the last one was installed or there is nothing newer, with\n"
    "                     1 where it failed, was cancelled, or is held back\n"
    "      --until-verdict  wait for the daemon, and end as soon as the running slot is\n"
    "                     not on trial any more: with status 0 where it is good, with 1\n"
    "                     where it is given up or not known\n"
    "      --daemon-within TIME  with --until-verdict: end with status 1 where the daemon\n"
    "                     has not been there for so long\n" DAEMON_OPTIONS_HELP;

enum { RECONNECT_S = 1 };

static const char *const states[] = {
    "idle", "checking", "held", "installing", "activating", "reboot-pending", "trial", "stopping",
};

struct watch {
    struct daemon_options options;
    struct progress progress;
    bool for_people;
    int exit_status;                       /* -1 while it goes on */
    struct error *error;                   /* why it ends, if with a failure */
    uint64_t seen_ms;                      /* when the daemon was last there, or when this began */
    char state[DAEMON_STATUS_TEXT_SIZE];   /* shown last */
    char waiting[DAEMON_STATUS_TEXT_SIZE]; /* the reason for waiting that was shown last; "" = not waiting */
};

/* Ends at once, even if nobody reads the output; the exit status shows that an expected state or verdict did
 * not come. Only does what is allowed in a signal handler. */
static void on_signal(int caught)
{
    if (isatty(STDERR_FILENO))
        tell_now(STDERR_FILENO, "\n", 1);
    _exit(EVENT_LINE_BY_SIGNAL + caught);
}

/* Shows each reason for waiting on a line of its own, above the progress. */
static void show_waiting(struct watch *watch, struct json_object *status)
{
    char why[DAEMON_STATUS_TEXT_SIZE] = "";

    daemon_status_text(why, json_inner(json_inner(status, "update"), "waiting"), "why");
    if (*why && strcmp(why, watch->waiting) != 0 && watch->progress.shown) {
        progress_clear(&watch->progress);
        daemon_status_print_waiting(stderr, status, "waiting: ");
    }
    memcpy(watch->waiting, why, sizeof(why));
}

static void draw(struct watch *watch, struct json_object *status)
{
    struct json_object *progress = json_inner(json_inner(status, "update"), "progress"), *percent;
    char phase[DAEMON_STATUS_TEXT_SIZE];

    if (!progress)
        return;
    daemon_status_text(phase, status, "phase");
    /* Phases are short words; any other text must not fill the line. */
    phase[16] = '\0';
    struct progress_view view = {
        .phase = *watch->waiting ? "waiting"
                 : *phase        ? phase
                                 : watch->state,
        .bytes_done = json_number(progress, "bytes_downloaded"),
        .bytes_total = json_number(progress, "bytes_to_download"),
        .rate_bytes_s = json_number(progress, "rate_bytes_per_s"),
        .eta_s = json_number(progress, "eta_s"),
    };
    if (json_object_object_get_ex(progress, "percent", &percent) && isfinite(json_object_get_double(percent)))
        view.percent = json_object_get_double(percent);
    progress_draw(&watch->progress, &view);
}

static bool is_busy(const char *state)
{
    return strcmp(state, "checking") == 0 || strcmp(state, "installing") == 0 ||
           strcmp(state, "activating") == 0;
}

static void show(struct watch *watch, struct json_object *status)
{
    char state[DAEMON_STATUS_TEXT_SIZE];

    daemon_status_text(state, status, "state");
    if (strcmp(state, watch->state) != 0) {
        progress_finish(&watch->progress);
        if (watch->progress.shown && watch->for_people && !is_busy(state))
            daemon_status_print_reasons(stderr, status);
        else if (watch->progress.shown)
            fprintf(stderr, "%s\n", state);
        memcpy(watch->state, state, sizeof(state));
        watch->state[sizeof(state) - 1] = '\0';
    }
    show_waiting(watch, status);
    if (strcmp(state, "installing") == 0)
        draw(watch, status);
}

/* Compares times as text, which is right for RFC 3339 in UTC. A missing member gives "", which is before
 * every time. */
static bool is_later(struct json_object *status, const char *one, const char *other)
{
    char one_time[DAEMON_STATUS_TEXT_SIZE], other_time[DAEMON_STATUS_TEXT_SIZE];

    daemon_status_text(one_time, json_inner(status, one), "time");
    daemon_status_text(other_time, json_inner(status, other), "time");
    return strcmp(one_time, other_time) >= 0;
}

/* The exit status that --until-done gives now, or -1 to go on. */
static int judge(struct json_object *status)
{
    char state[DAEMON_STATUS_TEXT_SIZE], check[DAEMON_STATUS_TEXT_SIZE], update[DAEMON_STATUS_TEXT_SIZE];

    daemon_status_text(state, status, "state");
    daemon_status_text(check, json_inner(status, "last_check"), "result");
    daemon_status_text(update, json_inner(status, "last_update"), "result");
    if (is_busy(state))
        return -1;
    if (strcmp(state, "reboot-pending") == 0 || strcmp(state, "trial") == 0)
        return 0;
    if (strcmp(state, "held") == 0)
        return 1;
    /* A daemon that has just started has not checked for updates yet. */
    if (!*check && !*update)
        return strcmp(state, "stopping") == 0 ? 1 : -1;
    if (*update && is_later(status, "last_update", "last_check"))
        return strcmp(update, "installed") == 0 ? 0 : 1;
    return strcmp(check, "failed") == 0;
}

/* The exit status that --until-verdict gives now, or -1 to go on. */
static int judge_slot(struct json_object *status)
{
    static const char *const names[] = {"a", "b"};
    char role[DAEMON_STATUS_TEXT_SIZE], health[DAEMON_STATUS_TEXT_SIZE];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct json_object *slot = json_inner(json_inner(status, "slots"), names[i]);
        daemon_status_text(role, slot, "role");
        daemon_status_text(health, slot, "state");
        if (strcmp(role, "active") == 0)
            return strcmp(health, "trial") == 0 ? -1 : strcmp(health, "good") != 0;
    }
    return 1;
}

/* Shows and judges one line of the stream; returns the exit status, or -1 to go on. */
static int take_line(struct watch *watch, const char *line, struct error *error)
{
    CLEANUP_JSON struct json_object *status = NULL;

    if (!json_parse_object(line, strlen(line), "moonsinterd's event", &status, error))
        return 1;
    if (!watch->for_people) {
        if (isatty(STDOUT_FILENO))
            plain_text_print(stdout, line);
        else
            fputs(line, stdout);
        fputc('\n', stdout);
        if (fflush(stdout) != 0) {
            error_set(error, ERROR_SYSTEM, "nobody reads stdout any more");
            return 1;
        }
    }
    if (!json_object_object_get_ex(status, "state", NULL))
        return -1;
    show(watch, status);
    error->kind = ERROR_NONE;
    if (watch->options.until && strcmp(watch->options.until, watch->state) == 0)
        return 0;
    return watch->options.until_done ? judge(status) : watch->options.until_verdict ? judge_slot(status) : -1;
}

static bool take(void *owner, const char *line)
{
    struct watch *watch = owner;

    watch->exit_status = take_line(watch, line, watch->error);
    return watch->exit_status < 0;
}

/* Returns the exit status; *ret_lost is set if it failed only because the daemon is not there, or no
 * longer. */
static int follow(struct watch *watch, bool *ret_lost, struct error *error)
{
    bool was_there;

    watch->error = error;
    *ret_lost = !daemon_client_follow(watch->options.socket, take, watch, &was_there, error);
    if (was_there)
        watch->seen_ms = wall_clock_boot_ms();
    return *ret_lost ? 1 : watch->exit_status;
}

static bool may_wait(const struct watch *watch)
{
    return watch->options.until_verdict &&
           (!watch->options.within_ms || wall_clock_boot_ms() - watch->seen_ms < watch->options.within_ms);
}

static bool check_until(const struct daemon_options *options, struct error *error)
{
    if (options->within_ms && !options->until_verdict)
        return error_set(error, ERROR_REFUSED,
                         "--daemon-within says how long --until-verdict waits; give both");
    if (!options->until)
        return true;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(options->until, states[i]) == 0)
            return true;
    return error_set(error, ERROR_REFUSED, "--until takes a state such as idle or reboot-pending, not %.100s",
                     options->until);
}

static int run_watch(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct watch watch = {0};
    struct error error = {0};
    bool lost, told = false;
    int exit_status;

    if (!daemon_options_parse(&watch.options, argc, argv, help, &exit_status))
        return exit_status;
    if (!check_until(&watch.options, &error))
        return event_line_write_usage("watch", &error);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    watch.for_people = daemon_options_for_people(&watch.options);
    progress_init(&watch.progress, STDERR_FILENO, watch.options.quiet);
    watch.seen_ms = wall_clock_boot_ms();
    exit_status = follow(&watch, &lost, &error);
    /* --until-verdict waits for the daemon: at boot it may not run yet, and after a restart it goes on with
     * the trial. */
    for (; lost && may_wait(&watch); exit_status = follow(&watch, &lost, &error)) {
        if (!told && !watch.options.quiet)
            event_line_tell_failure("watch", &error);
        told = true;
        sleep(RECONNECT_S);
    }
    progress_finish(&watch.progress);
    /* Status 1 without an error is --until-done's verdict on a failed update, which was already explained. */
    if (exit_status != 0 && error.kind != ERROR_NONE)
        return event_line_write_failure("watch", &error);
    return exit_status;
}

const struct verb verb_watch = {
    .name = "watch",
    .summary = "follow the daemon live",
    .run = run_watch,
};
