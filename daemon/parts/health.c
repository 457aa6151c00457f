/* SPDX-License-Identifier: MIT */
#include "daemon/parts/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/wall_clock.h"
#include "common/io/retry.h"
#include "common/io/timer.h"
#include "common/sinter/release.h"

/*
 * A check started directly would run in moonsinterd's sandbox: without capabilities, without a home, with
 * a filter of system calls made for an updater. So systemd-run has the service manager start it as a
 * service of its own, passes on the pipe for its output, waits, and returns its exit status. The
 * alternative, D-Bus calls to StartTransientUnit() and its signals, would be more code; here systemd-run
 * is a child like any other check, and without systemd the same code runs the program itself.
 */

enum {
    POLL_MS = 1000, /* pause between two looks at the units */
};

/* The steps in order; after the programs the units are checked again. */
enum health_step {
    HEALTH_STEP_LIST,
    HEALTH_STEP_UNITS,
    HEALTH_STEP_SERVER,
    HEALTH_STEP_PROGRAMS,
    HEALTH_STEP_UNITS_AGAIN,
};

/* The job that reads the folder; outlives struct health if that is freed first. */
struct health_listing {
    struct pool_job job;
    struct health *health; /* NULL = nobody waits for the list any more */
    char *folder;
    bool optional;
    struct health_list list;
    bool failed;
    struct error error;
};

struct health {
    struct health_options options; /* folder, units and server_url are NULL here: their copies are below */
    char *folder;
    struct url *server_url; /* or NULL */
    char *units[HEALTH_UNITS_MAX + 1];
    size_t unit_count;
    health_done_fn done;
    void *owner;
    enum health_step step;
    struct health_listing *listing;
    struct health_list list;
    size_t program; /* index of the program that runs or comes next */
    struct process *process;
    struct release_fetch *fetch;
    struct timer *deadline;
    uint64_t deadline_ms; /* by wall_clock_steady_ms() */
    struct timer *again;  /* the pause before the same step is tried again */
    char waiting[HEALTH_REASON_SIZE];
};

static void go_on(struct health *health);

/* --- the end --- */

static void finish(struct health *health, const char *reason, const char *output)
{
    struct health_verdict verdict = {.good = reason == NULL};

    if (reason)
        snprintf(verdict.reason, sizeof(verdict.reason), "%.383s", reason);
    if (output)
        snprintf(verdict.output, sizeof(verdict.output), "%s", output);
    health->done(health->owner, &verdict);
}

static void on_deadline(void *owner)
{
    struct health *health = owner;
    char reason[HEALTH_REASON_SIZE + 64], time[32];

    text_format_duration(time, sizeof(time), health->options.timeout_ms);
    snprintf(reason, sizeof(reason), "after %s %s", time, health->waiting);
    finish(health, reason, health->process ? process_get_output(health->process) : NULL);
}

static void on_again(void *owner)
{
    go_on(owner);
}

static void next_step(struct health *health)
{
    health->step++;
    go_on(health);
}

/* --- the folder --- */

static void listing_free(struct health_listing *listing)
{
    health_list_finish(&listing->list);
    free(listing->folder);
    free(listing);
}

static void listing_run(struct pool_job *job)
{
    struct health_listing *listing = container_of(job, struct health_listing, job);

    listing->failed = !health_list_read(listing->folder, listing->optional, &listing->list, &listing->error);
}

static void listing_done(struct pool_job *job)
{
    struct health_listing *listing = container_of(job, struct health_listing, job);
    struct health *health = listing->health;
    struct error error = listing->error;
    bool failed = listing->failed;

    if (health) {
        health->list = listing->list;
        listing->list = (struct health_list){.count = 0};
        health->listing = NULL;
        if (health->list.not_executable)
            log_warning("%s may not be executed, so it judges nothing", health->list.not_executable);
    }
    listing_free(listing);
    if (!health)
        return;
    if (failed)
        finish(health, error.message, NULL);
    else
        next_step(health);
}

static void listing_drop(struct pool_job *job)
{
    listing_free(container_of(job, struct health_listing, job));
}

static void list_programs(struct health *health)
{
    struct health_listing *listing = alloc_zeroed(sizeof(*listing));

    listing->job = (struct pool_job){.run = listing_run, .done = listing_done, .drop = listing_drop};
    listing->health = health;
    listing->folder = alloc_string(health->folder);
    listing->optional = health->options.folder_optional;
    health->listing = listing;
    snprintf(health->waiting, sizeof(health->waiting), "the folder of health checks %s could not be read",
             listing->folder);
    pool_submit(health->options.pool, &listing->job);
}

/* --- the units --- */

/* Judges what systemctl is-active printed, one word for each unit: true if all are active. *ret_failed: a
 * unit failed, and there is no point in waiting for it. */
static bool judge_units(struct health *health, const char *output, bool *ret_failed)
{
    static const char *const states[] = {"activating", "deactivating", "failed", "inactive", "maintenance"};
    char word[32];
    int length;

    *ret_failed = false;
    for (size_t i = 0; i < health->unit_count; i++, output += length) {
        if (sscanf(output, "%31s%n", word, &length) != 1) {
            snprintf(health->waiting, sizeof(health->waiting),
                     "systemctl did not say whether %.200s is active", health->units[i]);
            return false;
        }
        /* "refreshing" is new in systemd 257. */
        if (strcmp(word, "active") == 0 || strcmp(word, "reloading") == 0 || strcmp(word, "refreshing") == 0)
            continue;
        bool known = false;
        for (size_t j = 0; j < sizeof(states) / sizeof(states[0]); j++)
            known |= strcmp(word, states[j]) == 0;
        if (!known) {
            snprintf(health->waiting, sizeof(health->waiting),
                     "systemctl cannot tell which units are active: %.*s", (int)strcspn(output, "\n"),
                     output);
            return false;
        }
        *ret_failed = strcmp(word, "failed") == 0;
        snprintf(health->waiting, sizeof(health->waiting), "the unit %.200s %s%s", health->units[i],
                 *ret_failed ? "has " : "is not active but ", word);
        return false;
    }
    return true;
}

static void on_units(void *owner, const struct process_end *end)
{
    struct health *health = owner;
    bool failed;

    health->process = NULL;
    if (judge_units(health, end->output, &failed)) {
        if (health->step == HEALTH_STEP_UNITS_AGAIN)
            finish(health, NULL, NULL);
        else
            next_step(health);
    } else if (failed) {
        finish(health, health->waiting, NULL);
    } else {
        timer_start(health->again, POLL_MS);
    }
}

static void ask_units(struct health *health)
{
    const char *argv[HEALTH_UNITS_MAX + 4] = {"systemctl", "is-active", "--"};
    struct error error;

    memcpy(&argv[3], health->units, health->unit_count * sizeof(argv[0]));
    if (process_start(health->options.processes, argv, on_units, health, &health->process, &error))
        return;
    snprintf(health->waiting, sizeof(health->waiting), "%.383s", error.message);
    timer_start(health->again, POLL_MS);
}

/* --- the server --- */

static void on_answer(void *owner, struct release *release, bool unchanged, const struct error *error,
                      uint64_t retry_after_ms)
{
    struct health *health = owner;

    health->fetch = NULL;
    release_free(release);
    if (!error) {
        next_step(health);
        return;
    }
    snprintf(health->waiting, sizeof(health->waiting),
             "the image server does not answer as it should: %.300s", error->message);
    timer_start(health->again, RETRY_HEALTH_SERVER_MS);
}

/* --- the programs --- */

static void on_program(void *owner, const struct process_end *end)
{
    struct health *health = owner;
    const char *name = health_program_name(health->list.paths[health->program]);
    char reason[HEALTH_REASON_SIZE];

    health->process = NULL;
    if (end->status == 0) {
        log_info("health check %s passed", name);
        health->program++;
        go_on(health);
        return;
    }
    if (end->status < 0)
        snprintf(reason, sizeof(reason), "health check %.200s was ended by signal %d", name, end->signal);
    else
        snprintf(reason, sizeof(reason), "health check %.200s failed with exit status %d", name, end->status);
    finish(health, reason, end->output);
}

static void run_program(struct health *health)
{
    const char *path = health->list.paths[health->program];
    uint64_t now_ms = wall_clock_steady_ms();
    char limit[64];
    struct error error;

    /* moonsinterd may have ended by then, so the service manager gets the time limit. */
    uint64_t left_ms = health->deadline_ms > now_ms ? health->deadline_ms - now_ms : 0;
    snprintf(limit, sizeof(limit), "--property=RuntimeMaxSec=%" PRIu64, left_ms / 1000 + 1);
    const char *const as_unit[] = {"systemd-run",
                                   "--quiet",
                                   "--wait",
                                   "--pipe",
                                   "--collect",
                                   "--service-type=exec",
                                   "--description=moonsinter health check",
                                   limit,
                                   "--property=TimeoutStopSec=5s",
                                   "--property=PartOf=moonsinterd.service",
                                   "--",
                                   path,
                                   NULL};
    const char *const itself[] = {path, NULL};
    const char *const *argv = health->options.as_units ? as_unit : itself;

    snprintf(health->waiting, sizeof(health->waiting), "health check %.200s had not ended",
             health_program_name(path));
    if (process_start(health->options.processes, argv, on_program, health, &health->process, &error))
        return;
    /* Too little memory or too many processes, as may be at a start, is no verdict on the program: try
     * again. */
    snprintf(health->waiting, sizeof(health->waiting), "%.383s", error.message);
    timer_start(health->again, POLL_MS);
}

/* --- all of it --- */

/* Begins the current step, or the next one if the current one has nothing to do. */
static void go_on(struct health *health)
{
    switch (health->step) {
    case HEALTH_STEP_LIST:
        list_programs(health);
        return;
    case HEALTH_STEP_UNITS:
        if (health->unit_count) {
            ask_units(health);
            return;
        }
        break;
    case HEALTH_STEP_SERVER:
        if (health->server_url) {
            snprintf(health->waiting, sizeof(health->waiting), "the image server had not answered");
            health->fetch =
                release_fetch_start(health->options.http, health->options.pool, health->server_url, NULL,
                                    NULL, &health->options.trust, on_answer, health);
            return;
        }
        break;
    case HEALTH_STEP_PROGRAMS:
        if (health->program < health->list.count) {
            run_program(health);
            return;
        }
        break;
    case HEALTH_STEP_UNITS_AGAIN:
        if (health->unit_count)
            ask_units(health);
        else
            finish(health, NULL, NULL);
        return;
    }
    next_step(health);
}

static void take_units(struct health *health, const char *const *lines)
{
    for (size_t i = 0; lines && lines[i]; i++)
        for (const char *word = lines[i]; *word && health->unit_count < HEALTH_UNITS_MAX;) {
            size_t length = strcspn(word, " \t");
            if (length)
                health->units[health->unit_count++] = alloc_printf("%.*s", (int)length, word);
            word += length + strspn(word + length, " \t");
        }
}

struct health *health_start(const struct health_options *options, health_done_fn done, void *owner)
{
    struct health *health = alloc_zeroed(sizeof(*health));

    health->options = *options;
    health->options.folder = NULL;
    health->options.server_url = NULL;
    health->options.units = NULL;
    health->folder = alloc_string(options->folder);
    health->server_url = url_copy(options->server_url);
    take_units(health, options->units);
    health->done = done;
    health->owner = owner;
    health->deadline = timer_new(options->base, on_deadline, health);
    health->again = timer_new(options->base, on_again, health);
    timer_start(health->deadline, options->timeout_ms);
    health->deadline_ms = wall_clock_steady_ms() + options->timeout_ms;
    go_on(health);
    return health;
}

struct health *health_free(struct health *health)
{
    if (!health)
        return NULL;
    if (health->listing)
        health->listing->health = NULL;
    health_list_finish(&health->list);
    process_abandon(health->process);
    release_fetch_cancel(health->fetch);
    timer_free(health->deadline);
    timer_free(health->again);
    for (size_t i = 0; i < health->unit_count; i++)
        free(health->units[i]);
    free(health->folder);
    url_free(health->server_url);
    free(health);
    return NULL;
}

const char *health_describe(const struct health *health)
{
    return health->waiting;
}
