/* SPDX-License-Identifier: MIT */
/* The target's boot state: given up before an installation and armed after it. See
 * daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/wall_clock.h"

/* --- giving up the target --- */

/* An error by which the daemon itself refused something becomes the reason why the release is held. */
static void note_refusal(struct daemon *daemon, const char *what, const struct error *error)
{
    if (error->kind == ERROR_REFUSED)
        policy_hold(&daemon->install_verdict, what, error->message);
}

/* Whether the target is only taken out of the boot selection; else it is about to be written. */
static bool deselects(const struct daemon *daemon)
{
    return daemon->update.errand == UPDATE_ERRAND_DISARM || daemon->update.errand == UPDATE_ERRAND_TAKE_BACK;
}

/* Called when the target is deselected for sure: the history tells only what was done. */
static void note_taken_back(struct daemon *daemon)
{
    struct record *record = daemon->record;
    const char *version = daemon->target.armed.version;
    char reason[RECORD_TEXT_SIZE] = "taken back by an operator before it was booted";

    if (daemon->update.errand == UPDATE_ERRAND_DISARM)
        policy_hold_cancelled(&daemon->install_verdict);
    else if (daemon->target.given_up)
        snprintf(reason, sizeof(reason),
                 "taken back before it was booted, for its slot had been given up already");
    else
        snprintf(reason, sizeof(reason),
                 "taken back before it was booted, for the server offers release %.100s in its place",
                 daemon_offer_name(daemon));
    if (daemon->update.errand == UPDATE_ERRAND_TAKE_BACK)
        log_notice("release %s is %s", *version ? version : "without a version", reason);
    record_note(record, RECORD_RESULT_CANCELLED, daemon->target.slot,
                record->slots[slot_other(daemon->target.slot)].release.version, version, reason,
                wall_clock_now_s());
}

static void on_invalidated(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    if (error && daemon->update.state == UPDATE_STATE_INSTALLING)
        note_refusal(daemon, daemon->view->slots->name_why ? "slot-name" : "target", error);
    if (error) {
        daemon_post_failure(daemon, UPDATE_EVENT_INVALIDATE_FAILED, error);
        return;
    }
    if (deselects(daemon))
        note_taken_back(daemon);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_INVALIDATED}, NULL);
}

static void on_invalid_saved(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    if (error)
        on_invalidated(daemon, error);
    else
        boot_selection_submit(daemon->boot, BOOT_TASK_INVALIDATE, daemon->target.slot, NULL, on_invalidated);
}

/* Remembers which release is being deselected. If the slot was given up before but is still selected, the
 * record of the slot does not tell any more, but that of the trial does. */
static void remember_waiting(struct daemon *daemon)
{
    const struct record *record = daemon->record;
    const struct record_slot *kept = &record->slots[daemon->target.slot];

    daemon->target.given_up = kept->state == BOOT_HEALTH_INVALID;
    memset(&daemon->target.armed, 0, sizeof(daemon->target.armed));
    if (!daemon->target.given_up)
        daemon->target.armed = kept->release;
    else if (record->trial.slot == daemon->target.slot)
        daemon->target.armed = record->trial.release;
    /* An operator's cancel counts even if deselecting fails now and succeeds only later. */
    bool known = *daemon->target.armed.sha256 || *daemon->target.armed.manifest_sha256;
    if (daemon->update.errand == UPDATE_ERRAND_DISARM && known)
        daemon->record->cancelled = daemon->target.armed;
}

static void on_slot_checked(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    if (error) {
        on_invalidated(daemon, error);
        return;
    }
    daemon->target.slot = slots_target(daemon->view->slots);
    if (deselects(daemon))
        remember_waiting(daemon);
    daemon_trial_note(daemon, TRIAL_EVENT_GIVEN_UP);
    record_store_flush(daemon->record_store, on_invalid_saved);
}

void daemon_arm_invalidate(struct daemon *daemon)
{
    /* Deselecting writes to no slot, so doubts about the slots' names do not matter. */
    boot_selection_submit(daemon->boot, deselects(daemon) ? BOOT_TASK_CHECK_RUNNING : BOOT_TASK_CHECK_SLOT,
                          SLOT_NONE, NULL, on_slot_checked);
}

/* --- arming it --- */

/* The fingerprints of all images, which their slot is compared with later. */
static void note_prints(struct daemon *daemon)
{
    const struct boot_armed *armed = boot_selection_armed(daemon->boot);

    for (unsigned i = 0; i < armed->count; i++) {
        struct slot_print *print =
            record_slot_find_print(&daemon->record->slots[daemon->target.slot], armed->list[i].name);
        if (print)
            *print = armed->list[i].seen;
    }
}

static void on_armed(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;

    if (error) {
        /* The target is not held open any more, so what it holds is no longer certain. */
        daemon_trial_note(daemon, TRIAL_EVENT_ARM_FAILED);
        daemon_install_remember(
            daemon, error->kind == ERROR_CANCELLED ? RECORD_RESULT_CANCELLED : RECORD_RESULT_FAILED,
            error->message);
        note_refusal(daemon, "boot-selection", error);
        daemon_post_failure(daemon, UPDATE_EVENT_ARM_FAILED, error);
        return;
    }
    daemon_trial_note(daemon, TRIAL_EVENT_ARMED);
    note_prints(daemon);
    daemon_install_remember(daemon, RECORD_RESULT_INSTALLED, NULL);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_ARMED}, NULL);
}

/* The record could not be saved. The target was closed by a thread, since that may block; now the arming
 * fails. */
static void on_let_go(void *owner, const struct error *error)
{
    struct error problem;

    error_set(&problem, ERROR_SYSTEM, "the release is not armed, because the record cannot be saved");
    on_armed(owner, &problem);
}

/* The cancel came after the target was verified, when only closing it was left. It was accepted, so it
 * counts. */
static void on_let_go_cancelled(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;
    struct error problem;

    daemon->record->cancelled = installer_view(daemon->installer)->release;
    policy_hold_cancelled(&daemon->install_verdict);
    error_set(&problem, ERROR_CANCELLED, "cancelled by an operator");
    on_armed(daemon, &problem);
}

/* The gate refused the arming; the target has been closed by a thread. */
static void on_let_go_refused(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;
    struct error problem = daemon->target.refusal;

    on_armed(daemon, &problem);
}

/* The record says ARMING on the medium. From here the target is armed, or only closed; the closing may block,
 * so a look, which a thread does, takes it along. */
static void on_arming_saved(void *owner, const struct error *error)
{
    struct daemon *daemon = owner;
    struct targets *held = installer_take_targets(daemon->installer);

    if (daemon->cancelled)
        boot_selection_submit(daemon->boot, BOOT_TASK_LOOK, SLOT_NONE, held, on_let_go_cancelled);
    else if (error)
        boot_selection_submit(daemon->boot, BOOT_TASK_LOOK, SLOT_NONE, held, on_let_go);
    else if (!daemon_trust_arm(daemon, held, on_armed, &daemon->target.refusal))
        boot_selection_submit(daemon->boot, BOOT_TASK_LOOK, SLOT_NONE, held, on_let_go_refused);
}

/* What the target holds of each part: those of the release, and those that were carried over. */
static void record_parts(struct daemon *daemon)
{
    const struct release *release = checker_release(daemon->checker);
    const struct installer_view *installed = installer_view(daemon->installer);

    record_slot_set_parts(daemon->record, daemon->target.slot, release);
    for (unsigned i = 0; i < installed->image_count; i++) {
        const char *name = installed->images[i].name;
        if (strcmp(name, MANIFEST_MAIN_NAME) != 0 && !manifest_parts_find(&release->manifest->parts, name))
            record_slot_carry_part(daemon->record, daemon->target.slot, name);
    }
}

void daemon_arm_target(struct daemon *daemon)
{
    struct trial_outcome outcome;

    daemon_trial_step(daemon,
                      &(struct trial_event){.kind = TRIAL_EVENT_ARMING,
                                            .slot = daemon->target.slot,
                                            .release = &installer_view(daemon->installer)->release},
                      &outcome);
    record_parts(daemon);
    record_store_flush(daemon->record_store, on_arming_saved);
}
