/* SPDX-License-Identifier: MIT */
/* What a boot was, and the verdict on it. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wall_clock.h"

void daemon_trial_read_boot_id(struct daemon *daemon)
{
    CLEANUP_FREE char *text = NULL;
    struct error error;
    size_t size;

    if (!file_read("/proc/sys/kernel/random/boot_id", 64, &text, &size, &error)) {
        log_warning("which boot this is cannot be told: %s", error.message);
        return;
    }
    text[strcspn(text, "\n")] = 0;
    record_copy_text(daemon->boot_id, sizeof(daemon->boot_id), text);
}

/* --- the rules, with what is known here --- */

static struct trial_machine describe_machine(const struct daemon *daemon)
{
    const struct boot_state *boot = &daemon->view->boot;
    const struct boot_abilities *abilities = boot_selection_abilities(daemon->boot);
    enum slot running = daemon->view->running;

    return (struct trial_machine){
        .running = running,
        .next = boot->next,
        .trial = boot->trial,
        .tries_left = boot->tries_left,
        .running_bad = running != SLOT_NONE && daemon_slot_health(daemon, running) == BOOT_HEALTH_BAD,
        .loader_tries_again = abilities->tries && daemon->fixed->tries > 1,
        .in_place_reboot = abilities->in_place_reboot,
        .reboot_argument = abilities->reboot_argument,
        .boot_id = daemon->boot_id,
        .now_s = wall_clock_now_s(),
    };
}

void daemon_trial_step(struct daemon *daemon, const struct trial_event *event,
                       struct trial_outcome *ret_outcome)
{
    struct trial_machine machine = describe_machine(daemon);

    trial_step(daemon->record, &machine, event, ret_outcome);
    if (ret_outcome->finding_is_failure)
        log_error("%s", ret_outcome->finding);
    else if (*ret_outcome->finding)
        log_notice("%s", ret_outcome->finding);
    if (ret_outcome->second_try)
        poller_note(daemon->poller, SCHEDULE_RESULT_SECOND_TRY, 0, ERROR_NONE);
}

void daemon_trial_note(struct daemon *daemon, enum trial_event_kind kind)
{
    struct trial_outcome outcome;

    daemon_trial_step(daemon, &(struct trial_event){.kind = kind, .slot = daemon->target.slot}, &outcome);
    if (outcome.has_changed)
        record_store_save(daemon->record_store);
}

/* --- after a start --- */

static void classify(struct daemon *daemon)
{
    struct trial_machine machine = describe_machine(daemon);
    struct trial_outcome outcome;

    daemon->unclassified = machine.running == SLOT_NONE;
    if (machine.running == SLOT_NONE) {
        log_warning("which slot runs cannot be determined: %s", daemon->view->slots->why);
        policy_judge_install(&(struct policy_input){.mode = POLICY_MODE_INSTALL,
                                                    .running_why = daemon->view->slots->why,
                                                    .name_why = daemon->view->slots->name_why},
                             &daemon->install_verdict);
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_BOOTED_UNKNOWN},
                    "which slot runs cannot be determined");
        return;
    }
    daemon_trial_step(daemon, &(struct trial_event){.kind = trial_start_kind(&machine)}, &outcome);
    struct update_event event = {.falling_back = outcome.falling_back, .at_once = outcome.at_once};
    event.kind = outcome.start == TRIAL_START_TRIAL     ? UPDATE_EVENT_BOOTED_TRIAL
                 : outcome.start == TRIAL_START_PENDING ? UPDATE_EVENT_BOOTED_PENDING
                                                        : UPDATE_EVENT_BOOTED_GOOD;
    daemon_post(daemon, &event, outcome.reason);
}

void daemon_trial_classify(struct daemon *daemon)
{
    classify(daemon);
    /* The release offered before may be running by now, or have failed. */
    daemon_judge_anew(daemon, false);
}

void daemon_trial_note_deselected(struct daemon *daemon)
{
    struct trial_outcome outcome;
    char why[RECORD_TEXT_SIZE];

    snprintf(why, sizeof(why), "another program changed the boot selection, which had slot %s boot next",
             slot_name(slot_other(daemon->view->running)));
    daemon_trial_step(daemon, &(struct trial_event){.kind = TRIAL_EVENT_DESELECTED, .reason = why}, &outcome);
    policy_hold(&daemon->install_verdict, "boot-selection", why);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_DESELECTED}, why);
}

void daemon_trial_note_end(struct daemon *daemon)
{
    if (daemon->update.state == UPDATE_STATE_TRIAL)
        daemon_trial_note(daemon, TRIAL_EVENT_ENDED);
}

/* --- the checks --- */

static void post_verdict(void *owner)
{
    struct daemon *daemon = owner;
    const struct trial_verdict *verdict = trial_runner_verdict(daemon->trial_runner);

    if (verdict->good)
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_VERDICT_GOOD}, NULL);
    else
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_VERDICT_BAD}, verdict->reason);
}

/* Logs each line that the failed check printed. */
static void log_output(const char *output)
{
    for (const char *line = output; *line;) {
        size_t length = strcspn(line, "\n");
        log_error("| %.*s", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static void on_judged(void *owner)
{
    struct daemon *daemon = owner;
    const struct trial_verdict *verdict = trial_runner_verdict(daemon->trial_runner);

    if (!verdict->good) {
        log_error("slot %s is not fit: %s", slot_name(daemon->view->running), verdict->reason);
        log_output(verdict->output);
    }
    post_verdict(daemon);
    daemon_settle(daemon);
}

void daemon_trial_init(struct daemon *daemon)
{
    static const struct trial_runner_events events = {.judged = on_judged, .again = post_verdict};
    struct trial_runner_deps deps = {
        .base = daemon->base, .pool = daemon->pool, .processes = daemon->processes};

    daemon->trial_runner = trial_runner_new(&deps, &events, daemon);
}

void daemon_trial_check(struct daemon *daemon)
{
    const struct config *config = daemon->config;
    struct health_options options = {
        .http = daemon->http,
        .folder = config->health_checks,
        .folder_optional = config->health_checks_optional,
        .units = (const char *const *)config->health_units,
        .server_url = config->health_server ? config->url : NULL,
        .trust = daemon_trust(daemon),
        .timeout_ms = config->health_timeout_ms,
    };

    const char *why = trial_restarted_too_often(daemon->record)
                          ? "moonsinterd ended again and again during the trial"
                          : daemon->view->slots->parts_why;
    if (why) {
        trial_runner_decide(daemon->trial_runner, why);
        on_judged(daemon);
        return;
    }
    trial_runner_check(daemon->trial_runner, &options);
}

/* --- good or bad --- */

static void on_marked_good(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    if (error) {
        daemon_post_failure(daemon, UPDATE_EVENT_MARK_GOOD_FAILED, error);
        return;
    }
    daemon_trial_note(daemon, TRIAL_EVENT_MARKED_GOOD);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_MARKED_GOOD}, NULL);
    daemon_judge_anew(daemon, false);
}

void daemon_trial_mark_good(struct daemon *daemon)
{
    boot_selection_submit(daemon->boot, BOOT_TASK_GOOD, daemon->view->running, NULL, on_marked_good);
}

static void on_rejected(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    if (error) {
        daemon_trial_note(daemon, TRIAL_EVENT_REJECT_FAILED);
        daemon_post_failure(daemon, UPDATE_EVENT_REJECT_FAILED, error);
        return;
    }
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_REJECTED},
                trial_runner_verdict(daemon->trial_runner)->reason);
    daemon_judge_anew(daemon, false);
}

static void on_reject_saved(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    /* Falling back goes on even if the record could not be saved. */
    boot_selection_submit(daemon->boot, BOOT_TASK_REJECT, daemon->view->running, NULL, on_rejected);
}

/* Saves what failed and why before the boot selection is written, so that the other slot can report it. */
void daemon_trial_reject(struct daemon *daemon)
{
    const struct trial_verdict *verdict = trial_runner_verdict(daemon->trial_runner);
    struct trial_outcome outcome;

    daemon_trial_step(
        daemon,
        &(struct trial_event){.kind = TRIAL_EVENT_REJECTING,
                              .leaves = daemon->update.errand == UPDATE_ERRAND_REJECT_AND_REBOOT,
                              .reason = verdict->reason,
                              .output = verdict->output},
        &outcome);
    record_store_flush_soon(daemon->record_store, on_reject_saved);
}
