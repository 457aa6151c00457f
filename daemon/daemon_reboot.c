/* SPDX-License-Identifier: MIT */
/* Whether the machine is to reboot now, and how. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

/* --- may it reboot? --- */

static void take_verdict(struct daemon *daemon, const struct policy_verdict *verdict)
{
    if (rebooter_hold(daemon->rebooter, verdict))
        daemon_report_publish(daemon, true);
}

static bool may_wait_for_reboot(const struct daemon *daemon)
{
    return daemon->update.state == UPDATE_STATE_REBOOT_PENDING && daemon->update.errand == UPDATE_ERRAND_NONE;
}

static void on_answered(void *owner, const char *why)
{
    struct daemon *daemon = owner;
    struct policy_verdict verdict = {.count = 0};

    if (!may_wait_for_reboot(daemon))
        return;
    if (why)
        policy_add_block(&verdict, "inhibitor", why);
    take_verdict(daemon, &verdict);
    if (why)
        rebooter_judge_later(daemon->rebooter);
    else
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_REBOOT_DUE}, NULL);
}

void daemon_judge_reboot(struct daemon *daemon)
{
    struct policy_input input;
    struct policy_verdict verdict;

    daemon_policy_input(daemon, &input);
    /* An operator who asked for the installation did not ask for the reboot. */
    input.operator_asked = false;
    policy_judge_reboot(&input, &verdict);
    bool wanted = policy_wants_reboot(&input),
         in_place = boot_selection_abilities(daemon->boot)->in_place_reboot;
    /* Only logind knows about inhibitors, so the verdict is set when it answers. */
    if (wanted && verdict.count == 0 && !in_place && !input.falling_back) {
        rebooter_ask(daemon->rebooter);
        return;
    }
    take_verdict(daemon, &verdict);
    if (wanted && verdict.count == 0)
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_REBOOT_DUE}, NULL);
    else if (wanted)
        rebooter_judge_later(daemon->rebooter);
}

void daemon_judge_reboot_again(struct daemon *daemon)
{
    if (!may_wait_for_reboot(daemon))
        return;
    if (daemon->update.at_once)
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_REBOOT_DUE}, NULL);
    else
        daemon_judge_reboot(daemon);
}

static void on_judge(void *owner)
{
    daemon_judge_reboot_again(owner);
}

/* --- the reboot --- */

static void on_failed(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    daemon_trial_note(daemon, TRIAL_EVENT_REBOOT_FAILED);
    daemon_post_failure(daemon, UPDATE_EVENT_REBOOT_FAILED, error);
}

static void on_idle(void *owner)
{
    daemon_settle(owner);
}

void daemon_reboot_init(struct daemon *daemon)
{
    static const struct rebooter_events events = {
        .answered = on_answered, .judge = on_judge, .failed = on_failed, .idle = on_idle};
    struct rebooter_deps deps = {.base = daemon->base, .pool = daemon->pool, .processes = daemon->processes};

    daemon->rebooter = rebooter_new(&deps, &events, daemon);
}

static void on_started(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    if (error) {
        daemon_post_failure(daemon, UPDATE_EVENT_REBOOT_FAILED, error);
        return;
    }
    daemon_trial_classify(daemon);
}

/* The record has been saved, the last thing before the machine goes down. */
static void on_reboot_saved(void *owner, const struct error *save_error)
{
    struct daemon *daemon = owner;
    struct error error;

    if (save_error && daemon->record->trial.reboot_asked) {
        /* Without the record a slot that does not come up would never count as tried, and would be tried for
         * ever. */
        error_set(&error, ERROR_SYSTEM,
                  "the release is not tried, because the record cannot be saved: %.300s",
                  save_error->message);
        on_failed(daemon, &error);
        return;
    }
    if (boot_selection_abilities(daemon->boot)->in_place_reboot)
        boot_selection_submit(daemon->boot, BOOT_TASK_START, SLOT_NONE, NULL, on_started);
    else
        /* While falling back, inhibitors of the slot that failed its trial do not count. */
        rebooter_reboot(daemon->rebooter, daemon_boot_argument(daemon), !daemon->update.falling_back);
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

/* systemctl and logind write the argument for the firmware to this file. It lies in memory, so reading it
 * does not block. */
static bool is_parameter(const char *argument)
{
    CLEANUP_FREE char *text = file_read_text(256, "/run/systemd/reboot-param");

    return text && strcmp(text, argument) == 0;
}

void daemon_reboot_note_others(struct daemon *daemon)
{
    const char *argument = daemon_boot_argument(daemon);

    if (argument && is_parameter(argument))
        daemon_trial_note(daemon, TRIAL_EVENT_REBOOT_SEEN);
}
