/* SPDX-License-Identifier: MIT */
/* When the slots and the boot selection are looked at, and what follows from it. See
 * daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include "common/base/log.h"

enum { ASKED_WAIT_MS = 5 * 1000 }; /* between two looks made because clients ask */

/* A slot holds something else than the record said. A check under way judges by that anyway when it ends. */
static void judge_other(struct daemon *daemon)
{
    record_store_save(daemon->record_store);
    if (daemon->update.state == UPDATE_STATE_CHECKING)
        return;
    daemon_judge_anew(daemon, false);
    if (daemon->update.state == UPDATE_STATE_REBOOT_PENDING)
        daemon_judge_reboot(daemon);
}

void daemon_boot_note_view(struct daemon *daemon)
{
    const struct update *update = &daemon->update;
    enum slot running = daemon->view->running;
    bool pending = update->state == UPDATE_STATE_REBOOT_PENDING ||
                   (update->state == UPDATE_STATE_CHECKING && update->rest == UPDATE_STATE_REBOOT_PENDING);

    if (*daemon->view->look_why)
        return;
    /* A slot that was missing at the start is compared with the record when it appears, but not during an
     * errand: a reboot into it may be under way, and could not be called back. */
    bool is_other = !daemon->unclassified && update->errand == UPDATE_ERRAND_NONE &&
                    daemon_fit_judge(daemon, boot_selection_prints(daemon->boot));
    if (daemon->unclassified && running != SLOT_NONE) {
        log_notice("which slot runs is known now: slot %s (%s)", slot_name(running),
                   daemon->view->slots->why);
        if (update->state != UPDATE_STATE_CHECKING)
            poller_note(daemon->poller, SCHEDULE_RESULT_STARTED, 0, ERROR_NONE);
        /* As at a normal start: the slots are compared before the boot is classified. */
        daemon_fit_judge(daemon, boot_selection_prints(daemon->boot));
        daemon_trial_classify(daemon);
    } else if (pending && !update->falling_back && update->errand == UPDATE_ERRAND_NONE &&
               running != SLOT_NONE && daemon->view->boot.next != slot_other(running)) {
        /* Only if the running slot is known, else it is not known which slot is the other one. */
        daemon_trial_note_deselected(daemon);
    }
    if (is_other)
        judge_other(daemon);
}

/* Whether to look now and then: a device may appear late, or another program may change what boots next. */
static bool needs_looks(const struct daemon *daemon)
{
    return daemon->unclassified || daemon->update.state == UPDATE_STATE_REBOOT_PENDING;
}

void daemon_boot_plan_look(struct daemon *daemon)
{
    if (needs_looks(daemon))
        boot_selection_plan_look(daemon->boot, daemon->unclassified);
}

/* Looks again, on a thread, although the state machine did not ask. Does nothing while work is under way that
 * looks anyway or relies on the last look. Tasks submitted meanwhile wait for it. */
static void look_again(struct daemon *daemon)
{
    enum update_state state = daemon->update.state;
    bool resting =
        state == UPDATE_STATE_IDLE || state == UPDATE_STATE_HELD || state == UPDATE_STATE_REBOOT_PENDING;

    /* An installation under way uses the view and must not have it replaced. */
    if (!boot_selection_is_busy(daemon->boot) && !installer_is_running(daemon->installer) && resting &&
        daemon->update.errand == UPDATE_ERRAND_NONE)
        boot_selection_look(daemon->boot);
}

void daemon_boot_look_if_asked(struct daemon *daemon)
{
    if (daemon->update.state == UPDATE_STATE_REBOOT_PENDING &&
        boot_selection_look_age_ms(daemon->boot) >= ASKED_WAIT_MS)
        look_again(daemon);
}

/* --- what the boot selection tells --- */

static void on_began(void *owner)
{
    daemon_watch_jobs(owner);
}

static void on_ended(void *owner)
{
    daemon_watch_jobs(owner);
    daemon_settle(owner);
}

static void on_ask_prints(void *owner, struct boot_prints *prints)
{
    daemon_fit_ask(owner, prints);
}

static void on_look_due(void *owner)
{
    struct daemon *daemon = owner;

    look_again(daemon);
    if (!boot_selection_is_busy(daemon->boot))
        daemon_boot_plan_look(daemon);
}

static void on_looked(void *owner, bool changed)
{
    struct daemon *daemon = owner;

    daemon_boot_note_view(daemon);
    if (daemon->update.state == UPDATE_STATE_REBOOT_PENDING && changed)
        daemon_judge_reboot(daemon);
    daemon_report_publish(daemon, false);
    daemon_boot_plan_look(daemon);
}

bool daemon_boot_init(struct daemon *daemon, struct error *error)
{
    static const struct boot_selection_events events = {
        .began = on_began,
        .ended = on_ended,
        .ask_prints = on_ask_prints,
        .look_due = on_look_due,
        .looked = on_looked,
    };
    struct boot_selection_deps deps = {.base = daemon->base, .pool = daemon->pool, .config = daemon->fixed};

    if (!boot_selection_new(&deps, &events, daemon, &daemon->boot, error))
        return false;
    daemon->view = boot_selection_view(daemon->boot);
    return true;
}

/* --- what follows from what was seen --- */

const char *daemon_boot_argument(const struct daemon *daemon)
{
    const struct boot_state *boot = &daemon->view->boot;

    /* A slot that boots next without a trial needs no argument. */
    return boot->trial != SLOT_NONE && boot->trial == boot->next
               ? boot_selection_abilities(daemon->boot)->reboot_argument
               : NULL;
}

bool daemon_boot_other_is_next(const struct daemon *daemon)
{
    enum slot running = daemon->view->running;

    return running != SLOT_NONE && daemon->view->boot.next == slot_other(running);
}

enum boot_health daemon_slot_health(const struct daemon *daemon, enum slot slot)
{
    return record_slot_health(daemon->record, &daemon->view->boot, daemon->view->running, slot);
}
