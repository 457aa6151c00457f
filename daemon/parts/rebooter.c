/* SPDX-License-Identifier: MIT */
#include "daemon/parts/rebooter.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/log.h"
#include "common/base/wall_clock.h"
#include "common/io/retry.h"
#include "common/io/timer.h"
#include "daemon/host/logind.h"

/* After this long the reboot has failed. logind itself delays it by some seconds for programs that ask for
 * that. */
enum { DOWN_MS = 10 * 60 * 1000 };

/* A reboot that was ordered. */
struct order {
    const char *argument; /* NULL = none */
    bool heed_inhibitors;
};

struct rebooter {
    const struct rebooter_events *events;
    void *owner;
    struct pool *pool;
    struct processes *processes;
    struct policy_verdict verdict;
    struct timer *judge_timer;
    struct timer *down_timer; /* the machine was told to reboot */
    struct order order;
    bool waits; /* the order came while logind was being asked who objects */
    bool busy;  /* the job belongs to the pool */
    struct pool_job job;
    /* used by the job: */
    bool only_ask; /* ask who objects; else reboot */
    struct order told;
    enum logind_answer answer;
    struct error error;
};

/* --- logind's word, on a thread --- */

static void ask_run(struct pool_job *job)
{
    struct rebooter *rebooter = container_of(job, struct rebooter, job);
    const struct order *told = &rebooter->told;

    rebooter->answer = rebooter->only_ask
                           ? logind_find_inhibitor(&rebooter->error)
                           : logind_reboot(told->argument, told->heed_inhibitors, &rebooter->error);
}

static void ask(struct rebooter *rebooter, bool only_ask, pool_done_fn done)
{
    assert(!rebooter->busy);
    rebooter->busy = true;
    rebooter->waits = false;
    rebooter->only_ask = only_ask;
    rebooter->told = rebooter->order;
    rebooter->job = (struct pool_job){.run = ask_run, .done = done};
    pool_submit(rebooter->pool, &rebooter->job);
}

static struct rebooter *end_job(struct pool_job *job)
{
    struct rebooter *rebooter = container_of(job, struct rebooter, job);

    rebooter->busy = false;
    rebooter->events->idle(rebooter->owner);
    return rebooter;
}

bool rebooter_is_busy(const struct rebooter *rebooter)
{
    return rebooter->busy;
}

/* --- what holds it off --- */

static void reboot_done(struct pool_job *job);

static void inhibitors_done(struct pool_job *job)
{
    struct rebooter *rebooter = end_job(job);
    bool objects = rebooter->answer == LOGIND_ANSWER_INHIBITED || rebooter->answer == LOGIND_ANSWER_FAILED;

    if (rebooter->waits) {
        ask(rebooter, false, reboot_done);
        return;
    }
    rebooter->events->answered(rebooter->owner, objects ? rebooter->error.message : NULL);
}

void rebooter_ask(struct rebooter *rebooter)
{
    if (!rebooter->busy)
        ask(rebooter, true, inhibitors_done);
}

bool rebooter_hold(struct rebooter *rebooter, const struct policy_verdict *verdict)
{
    bool is_same = policy_verdict_is_same(&rebooter->verdict, verdict);

    rebooter->verdict = *verdict;
    return !is_same;
}

const struct policy_verdict *rebooter_verdict(const struct rebooter *rebooter)
{
    return &rebooter->verdict;
}

void rebooter_judge_later(struct rebooter *rebooter)
{
    uint64_t wait_ms = policy_verdict_wait_ms(&rebooter->verdict, wall_clock_now_s());

    timer_start(rebooter->judge_timer, wait_ms < RETRY_REBOOT_MS ? wait_ms : RETRY_REBOOT_MS);
}

void rebooter_retry_later(struct rebooter *rebooter)
{
    timer_start(rebooter->judge_timer, RETRY_REBOOT_MS);
}

/* --- the reboot --- */

static void fail(struct rebooter *rebooter, const struct error *error)
{
    timer_stop(rebooter->down_timer);
    rebooter->events->failed(rebooter->owner, error);
}

static void on_down_timer(void *owner)
{
    struct error error;

    error_set(&error, ERROR_SYSTEM, "the machine was told to reboot ten minutes ago and still runs");
    fail(owner, &error);
}

static void on_command(void *owner, const struct process_end *end)
{
    struct error error;

    if (end->status == 0)
        return;
    error_set(&error, ERROR_SYSTEM,
              "the machine has to be rebooted by hand, as the command for it failed: %.*s",
              (int)strcspn(end->output, "\n"), end->output);
    fail(owner, &error);
}

/* Reboots without logind. "systemctl reboot" asks the service manager if there is no logind, but would wait a
 * minute for a logind that does not answer; "systemctl start reboot.target" does not ask logind at all. Any
 * other init has its own reboot command. */
static void run_command(struct rebooter *rebooter)
{
    bool has_systemd = access("/run/systemd/system", F_OK) == 0;
    const char *argument = rebooter->told.argument;
    char option[64] = "";
    const char *const systemd_command[] = {"systemctl", "--no-block", "reboot", argument ? option : NULL,
                                           NULL};
    const char *const target_command[] = {"systemctl", "--no-block",    "--job-mode=replace-irreversibly",
                                          "start",     "reboot.target", NULL};
    const char *const other_command[] = {"reboot", NULL};
    const char *const *command = !has_systemd                               ? other_command
                                 : rebooter->answer == LOGIND_ANSWER_FAILED ? target_command
                                                                            : systemd_command;
    struct process *process;
    struct error error;

    if (argument)
        snprintf(option, sizeof(option), "--reboot-argument=%s", argument);
    if (argument && !has_systemd) {
        error_set(&error, ERROR_REFUSED,
                  "without systemd moonsinterd cannot reboot with the firmware's argument: run reboot '%s'",
                  argument);
        fail(rebooter, &error);
        return;
    }
    if (!process_start(rebooter->processes, command, on_command, rebooter, &process, &error))
        fail(rebooter, &error);
}

static void reboot_done(struct pool_job *job)
{
    struct rebooter *rebooter = end_job(job);
    /* logind may be the very thing that is broken in a slot that failed, and the slot has to be left all the
     * same. */
    bool without = rebooter->answer == LOGIND_ANSWER_FAILED && !rebooter->told.heed_inhibitors;

    if (without) {
        log_warning("%s; the service manager is asked", rebooter->error.message);
    } else if (rebooter->answer == LOGIND_ANSWER_INHIBITED || rebooter->answer == LOGIND_ANSWER_FAILED) {
        fail(rebooter, &rebooter->error);
        return;
    }
    log_notice("rebooting");
    timer_start(rebooter->down_timer, DOWN_MS);
    if (without || rebooter->answer == LOGIND_ANSWER_ABSENT)
        run_command(rebooter);
}

void rebooter_reboot(struct rebooter *rebooter, const char *argument, bool heed_inhibitors)
{
    rebooter->order = (struct order){.argument = argument, .heed_inhibitors = heed_inhibitors};
    if (rebooter->busy)
        rebooter->waits = true;
    else
        ask(rebooter, false, reboot_done);
}

/* --- life --- */

struct rebooter *rebooter_new(const struct rebooter_deps *deps, const struct rebooter_events *events,
                              void *owner)
{
    struct rebooter *rebooter = alloc_zeroed(sizeof(*rebooter));

    rebooter->events = events;
    rebooter->owner = owner;
    rebooter->pool = deps->pool;
    rebooter->processes = deps->processes;
    rebooter->judge_timer = timer_new(deps->base, events->judge, owner);
    rebooter->down_timer = timer_new(deps->base, on_down_timer, rebooter);
    return rebooter;
}

struct rebooter *rebooter_free(struct rebooter *rebooter)
{
    if (!rebooter)
        return NULL;
    timer_free(rebooter->judge_timer);
    timer_free(rebooter->down_timer);
    free(rebooter);
    return NULL;
}
