/* SPDX-License-Identifier: MIT */
/* Whether the machine is to reboot now, and how: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum {
    /* How late a held reboot may come where the clock was set meanwhile, or an inhibitor ended. */
    JUDGE_MS = 60 * 1000,
    /* A machine that does not go down is told of; logind gives whoever asked for a delay some seconds. */
    DOWN_MS = 10 * 60 * 1000,
};

/* --- logind's word, on a thread --- */

static void ask_run(struct pool_job *job)
{
    struct daemon_reboot *work = container_of(job, struct daemon_reboot, job);

    work->answer = work->only_ask ? logind_find_inhibitor(&work->error)
                                  : logind_reboot(work->argument, work->heed_inhibitors, &work->error);
}

static void ask(struct daemon *daemon, bool only_ask, void (*done)(struct pool_job *job))
{
    struct daemon_reboot *work = &daemon->reboot_work;

    assert(!work->busy);
    *work = (struct daemon_reboot){
        .job = {.run = ask_run, .done = done},
        .busy = true,
        .only_ask = only_ask,
        .argument = daemon_boot_argument(daemon),
        /* A slot that failed its trial is not fit to hold anything off. */
        .heed_inhibitors = !daemon->update.falling_back,
    };
    pool_submit(daemon->pool, &work->job);
}

static struct daemon *end_work(struct pool_job *job)
{
    struct daemon_reboot *work = container_of(job, struct daemon_reboot, job);
    struct daemon *daemon = container_of(work, struct daemon, reboot_work);

    work->busy = false;
    daemon_settle(daemon);
    return daemon;
}

/* --- may it reboot? --- */

/* Judges again when the first of what holds the reboot may have passed. */
static void arm_judge(struct daemon *daemon)
{
    const struct policy_verdict *verdict = &daemon->reboot_verdict;
    uint64_t now_s = daemon_now_s(), delay_ms = JUDGE_MS;

    for (size_t i = 0; i < verdict->count; i++)
        if (verdict->blocks[i].until_s > now_s && (verdict->blocks[i].until_s - now_s) * 1000 < delay_ms)
            delay_ms = (verdict->blocks[i].until_s - now_s) * 1000;
    daemon_arm_timer(daemon->judge_timer, delay_ms);
}

static void take_verdict(struct daemon *daemon, const struct policy_verdict *verdict)
{
    bool same = policy_verdict_is_same(&daemon->reboot_verdict, verdict);

    daemon->reboot_verdict = *verdict;
    if (!same)
        daemon_report_publish(daemon, true);
}

static void reboot_done(struct pool_job *job);

static bool may_wait_for_reboot(const struct daemon *daemon)
{
    return daemon->update.state == UPDATE_STATE_REBOOT_PENDING && daemon->update.errand == UPDATE_ERRAND_NONE;
}

static void inhibitors_done(struct pool_job *job)
{
    struct daemon *daemon = end_work(job);
    const struct daemon_reboot *work = &daemon->reboot_work;
    struct policy_verdict verdict = {.count = 0};

    if (work->reboot_waits) {
        ask(daemon, false, reboot_done);
        return;
    }
    if (!may_wait_for_reboot(daemon))
        return;
    if (work->answer == LOGIND_ANSWER_INHIBITED || work->answer == LOGIND_ANSWER_FAILED) {
        policy_add_block(&verdict, "inhibitor", work->error.message);
        take_verdict(daemon, &verdict);
        arm_judge(daemon);
        return;
    }
    take_verdict(daemon, &verdict);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_REBOOT_DUE}, NULL);
}

void daemon_judge_reboot(struct daemon *daemon)
{
    struct policy_input input;
    struct policy_verdict verdict;

    daemon_policy_input(daemon, &input);
    /* Who asked for the installation did not ask for the reboot. */
    input.operator_asked = false;
    policy_judge_reboot(&input, &verdict);
    bool wanted = policy_wants_reboot(&input), in_place = boot_get_abilities(daemon->boot)->in_place_reboot;
    /* Only logind knows whether an inhibitor that was there still is. */
    if (wanted && verdict.count == 0 && !in_place && !input.falling_back) {
        if (!daemon->reboot_work.busy)
            ask(daemon, true, inhibitors_done);
        return;
    }
    take_verdict(daemon, &verdict);
    if (wanted && verdict.count == 0)
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_REBOOT_DUE}, NULL);
    else if (wanted)
        arm_judge(daemon);
}

void daemon_reboot_retry_later(struct daemon *daemon)
{
    daemon_arm_timer(daemon->judge_timer, JUDGE_MS);
}

void daemon_reboot_on_judge_timer(evutil_socket_t fd, short events, void *owner)
{
    struct daemon *daemon = owner;

    if (!may_wait_for_reboot(daemon))
        return;
    if (daemon->update.at_once)
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_REBOOT_DUE}, NULL);
    else
        daemon_judge_reboot(daemon);
}

/* --- the reboot --- */

static void post_reboot_failed(struct daemon *daemon, const struct error *error)
{
    event_del(daemon->reboot_timer);
    daemon_trial_note(daemon, TRIAL_EVENT_REBOOT_FAILED);
    daemon_post_failure(daemon, UPDATE_EVENT_REBOOT_FAILED, error);
}

void daemon_reboot_on_timer(evutil_socket_t fd, short events, void *owner)
{
    struct error error;

    error_set(&error, ERROR_SYSTEM, "the machine was told to reboot ten minutes ago and still runs");
    post_reboot_failed(owner, &error);
}

static void on_command(void *owner, const struct process_end *end)
{
    struct daemon *daemon = owner;
    struct error error;

    if (end->status == 0)
        return;
    error_set(&error, ERROR_SYSTEM,
              "the machine has to be rebooted by hand, as the command for it failed: %.*s",
              (int)strcspn(end->output, "\n"), end->output);
    post_reboot_failed(daemon, &error);
}

/* Without logind. systemctl turns to the service manager itself, but where there is a logind that does not
 * answer, only after a minute of waiting for it, if it is not told what to start. Any other init has its own
 * reboot command. */
static void run_command(struct daemon *daemon)
{
    bool has_systemd = access("/run/systemd/system", F_OK) == 0;
    const char *argument = daemon->reboot_work.argument;
    char option[64] = "";
    const char *const systemd_command[] = {"systemctl", "--no-block", "reboot", argument ? option : NULL,
                                           NULL};
    const char *const target_command[] = {"systemctl", "--no-block",    "--job-mode=replace-irreversibly",
                                          "start",     "reboot.target", NULL};
    const char *const other_command[] = {"reboot", NULL};
    const char *const *command = !has_systemd                                         ? other_command
                                 : daemon->reboot_work.answer == LOGIND_ANSWER_FAILED ? target_command
                                                                                      : systemd_command;
    struct process *process;
    struct error error;

    if (argument)
        snprintf(option, sizeof(option), "--reboot-argument=%s", argument);
    if (argument && !has_systemd) {
        error_set(&error, ERROR_REFUSED,
                  "without systemd moonsinterd cannot reboot with the firmware's argument: run reboot '%s'",
                  argument);
        post_reboot_failed(daemon, &error);
        return;
    }
    if (!process_start(daemon->processes, command, on_command, daemon, &process, &error))
        post_reboot_failed(daemon, &error);
}

static void reboot_done(struct pool_job *job)
{
    struct daemon *daemon = end_work(job);
    const struct daemon_reboot *work = &daemon->reboot_work;
    /* A slot that is not fit may be so for its logind, and has to be left all the same. */
    bool without = work->answer == LOGIND_ANSWER_FAILED && !work->heed_inhibitors;

    if (without) {
        log_warning("%s; the service manager is asked", work->error.message);
    } else if (work->answer == LOGIND_ANSWER_INHIBITED || work->answer == LOGIND_ANSWER_FAILED) {
        post_reboot_failed(daemon, &work->error);
        return;
    }
    log_notice("rebooting");
    daemon_arm_timer(daemon->reboot_timer, DOWN_MS);
    if (without || work->answer == LOGIND_ANSWER_ABSENT)
        run_command(daemon);
}

static void on_started(struct daemon *daemon, const struct error *error)
{
    if (error) {
        daemon_post_failure(daemon, UPDATE_EVENT_REBOOT_FAILED, error);
        return;
    }
    daemon_trial_classify(daemon);
}

/* The record on the medium is the last thing before the machine goes down. */
static void on_reboot_saved(void *owner, const struct error *save_error)
{
    struct daemon *daemon = owner;
    struct error error;

    if (save_error && daemon->record->trial.reboot_asked) {
        /* A slot that does not come up would never count as tried, and be tried for ever. */
        error_set(&error, ERROR_SYSTEM,
                  "the release is not tried, because the record cannot be saved: %.300s",
                  save_error->message);
        post_reboot_failed(daemon, &error);
        return;
    }
    if (boot_get_abilities(daemon->boot)->in_place_reboot) {
        daemon_boot_submit(daemon, DAEMON_BOOT_START, SLOT_NONE, NULL, on_started);
    } else if (daemon->reboot_work.busy) {
        daemon->reboot_work.reboot_waits = true;
    } else {
        ask(daemon, false, reboot_done);
    }
}

void daemon_reboot(struct daemon *daemon)
{
    struct trial_outcome outcome;

    daemon_trial_step(daemon, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_ASKED}, &outcome);
    if (daemon->update.falling_back)
        record_store_flush_soon(daemon->record_store, on_reboot_saved);
    else
        record_store_flush(daemon->record_store, on_reboot_saved);
}

/* systemctl and logind leave there what the kernel is to tell the firmware. A file in memory: reading it does
 * not block. */
static bool is_parameter(const char *argument)
{
    CLEANUP_FREE char *text = NULL;
    struct error error;
    size_t size;

    if (!file_read("/run/systemd/reboot-param", 256, &text, &size, &error))
        return false;
    text[strcspn(text, "\n")] = 0;
    return strcmp(text, argument) == 0;
}

void daemon_reboot_note_others(struct daemon *daemon)
{
    const char *argument = daemon_boot_argument(daemon);

    if (argument && is_parameter(argument))
        daemon_trial_note(daemon, TRIAL_EVENT_REBOOT_SEEN);
}
