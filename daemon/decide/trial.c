/* SPDX-License-Identifier: MIT */
#include "daemon/decide/trial.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    /* Starts of moonsinterd within one boot without a verdict. One crash may be chance, and so may a
     * second. */
    STARTS_MAX = 3,
};

struct trial_step {
    struct record *record;
    struct record_trial *trial; /* points into the record */
    const struct trial_machine *machine;
    const struct trial_event *event;
    struct trial_outcome *outcome;
};

typedef void (*trial_cell_fn)(struct trial_step *step);

/* --- what cells share --- */

static bool is_of_this_boot(const struct trial_step *step)
{
    const char *boot_id = step->machine->boot_id;

    return *boot_id && strcmp(step->trial->boot_id, boot_id) == 0;
}

static void note_boot(struct trial_step *step)
{
    snprintf(step->trial->boot_id, sizeof(step->trial->boot_id), "%s", step->machine->boot_id);
}

static bool is_of_running(const struct trial_step *step)
{
    return step->trial->slot == step->machine->running;
}

/* The running slot was rejected but not left: undoes what the rejection put into the record. */
static void take_rejection_back(struct trial_step *step, enum boot_health state)
{
    struct record_slot *kept = &step->record->slots[step->machine->running];

    kept->state = state;
    record_forget_failed(step->record, &kept->release);
    record_drop_history(step->record);
    step->trial->stage = state == BOOT_HEALTH_TRIAL ? RECORD_STAGE_BOOTED : RECORD_STAGE_NONE;
}

/* The machine was never started into the armed slot, and this is not the release's fault: it loses no try,
 * and is verified and armed again. */
static void note_no_try(struct trial_step *step)
{
    step->record->slots[step->trial->slot].state = BOOT_HEALTH_UNKNOWN;
    step->trial->arms -= step->trial->arms > 0;
    step->trial->stage = RECORD_STAGE_NONE;
}

/* The loader went back to the other slot without a verdict from here. That may have been a power cut, so a
 * release has two chances: a loader that counts tries has given them by itself; with any other loader the
 * release is armed once more. */
static void note_fall_back(struct trial_step *step, const char *what)
{
    struct record *record = step->record;
    struct record_trial *trial = step->trial;
    bool failed = trial->arms >= (step->machine->loader_tries_again ? 1 : 2);
    char *reason = step->outcome->finding;

    snprintf(reason, sizeof(step->outcome->finding), "slot %s %s; the boot loader went back to slot %s%s",
             slot_name(trial->slot), what, slot_name(step->machine->running),
             failed ? "" : ", and it is tried once more");
    step->outcome->finding_is_failure = true;
    record_note(record, RECORD_RESULT_FELL_BACK, trial->slot, trial->release.version,
                record->slots[step->machine->running].release.version, reason, step->machine->now_s);
    record->slots[trial->slot].state = BOOT_HEALTH_BAD;
    if (failed) {
        record_add_failed(record, &trial->release, reason, step->machine->now_s);
        /* If an operator asks for it again, it starts with a full set of tries. */
        trial->arms = 0;
    }
    step->outcome->second_try = !failed;
    trial->stage = RECORD_STAGE_NONE;
}

/* Counts the starts within one boot: if a crash or a watchdog ended moonsinterd again and again, the trial
 * would never end. */
static void count_start(struct trial_step *step)
{
    /* With the `file` backend each start is a boot, so a try of its own. */
    bool again =
        !step->machine->in_place_reboot && step->trial->stage == RECORD_STAGE_BOOTED && is_of_this_boot(step);

    step->trial->starts = again ? step->trial->starts + 1 : 1;
    note_boot(step);
}

/* Counts each boot once, however often a reboot is asked for in it. */
static void count_switch(struct trial_step *step)
{
    struct record_trial *trial = step->trial;

    if (strcmp(trial->reboot_boot_id, step->machine->boot_id) == 0)
        return;
    trial->reboots++;
    snprintf(trial->reboot_boot_id, sizeof(trial->reboot_boot_id), "%s", step->machine->boot_id);
}

/* --- cells: nothing to do --- */

static void pass(struct trial_step *step)
{
}

/* --- cells: a start --- */

/* The record may know nothing of the trial: an operator began it, or the record was lost. It is judged like
 * any other, as one armed for the first time. */
static void start_trial(struct trial_step *step)
{
    struct record_trial *trial = step->trial;
    enum slot running = step->machine->running;

    if (trial->stage == RECORD_STAGE_NONE || !is_of_running(step)) {
        trial->slot = running;
        trial->release = step->record->slots[running].release;
        trial->arms = 1;
        trial->stage = RECORD_STAGE_ARMED;
    }
    count_start(step);
    trial->reboots = 0;
    trial->reboot_asked = false;
    trial->stage = RECORD_STAGE_BOOTED;
    step->record->slots[running].state = BOOT_HEALTH_TRIAL;
    step->outcome->start = TRIAL_START_TRIAL;
    snprintf(step->outcome->reason, sizeof(step->outcome->reason),
             "slot %s runs on trial, %u further starts left", slot_name(running), step->machine->tries_left);
}

/* The loader was not told of the rejection, or ignored it, and runs the slot on trial: the trial begins
 * again. */
static void start_rejected_trial(struct trial_step *step)
{
    if (is_of_running(step))
        take_rejection_back(step, BOOT_HEALTH_TRIAL);
    start_trial(step);
}

static void start_to_leave(struct trial_step *step)
{
    /* The reboot that was asked for has not happened yet. */
    step->trial->reboot_asked = false;
    step->outcome->start = TRIAL_START_PENDING;
    step->outcome->falling_back = step->machine->running_bad;
    snprintf(step->outcome->reason, sizeof(step->outcome->reason), "slot %s runs, slot %s boots next",
             slot_name(step->machine->running), slot_name(step->machine->next));
}

/* Until the machine goes down, each start of moonsinterd in this boot continues the reboot out of the
 * rejected slot at once. If the loader starts that slot yet again, it is left at once one more time only, not
 * for ever. */
static void start_to_leave_rejected(struct trial_step *step)
{
    start_to_leave(step);
    step->outcome->at_once = step->outcome->falling_back && is_of_running(step);
    if (step->outcome->at_once && !is_of_this_boot(step))
        step->trial->stage = RECORD_STAGE_NONE;
}

/* Only the good end of a trial goes into the history, not that a good slot is still good. */
static void mark_good(struct trial_step *step)
{
    struct record *record = step->record;
    enum slot running = step->machine->running;

    if (step->trial->stage != RECORD_STAGE_NONE && is_of_running(step))
        record_note(record, RECORD_RESULT_GOOD, running, record->slots[slot_other(running)].release.version,
                    record->slots[running].release.version, NULL, step->machine->now_s);
    step->trial->reboots = 0;
    record_set_good(record, running, step->machine->now_s);
}

static void mark_rejected_good(struct trial_step *step)
{
    if (is_of_running(step))
        take_rejection_back(step, BOOT_HEALTH_TRIAL);
    mark_good(step);
}

static void told_good(struct trial_step *step)
{
    step->outcome->start = TRIAL_START_GOOD;
    snprintf(step->outcome->reason, sizeof(step->outcome->reason), "slot %s runs and is good",
             slot_name(step->machine->running));
}

static void start_selected(struct trial_step *step)
{
    mark_good(step);
    told_good(step);
}

static void start_rejected_selected(struct trial_step *step)
{
    mark_rejected_good(step);
    told_good(step);
}

/* --- cells: what a start shows of what came before it --- */

/* Power was cut after the boot selection was written and before the record said so. The entry lacks how many
 * bytes were moved, which is not known any more. */
static void found_armed(struct trial_step *step)
{
    struct record *record = step->record;
    struct record_trial *trial = step->trial;

    record_note(record, RECORD_RESULT_INSTALLED, trial->slot,
                record->slots[slot_other(trial->slot)].release.version, trial->release.version, NULL,
                record->slots[trial->slot].time_s);
    trial->stage = RECORD_STAGE_ARMED;
}

/* Power was cut before the boot selection was written. */
static void lost_arming(struct trial_step *step)
{
    note_no_try(step);
}

/* Another program took the armed slot out of the boot selection. Whoever did so does not want the release, so
 * it is not installed again by itself. */
static void take_back(struct trial_step *step, const char *reason)
{
    struct record *record = step->record;
    struct record_trial *trial = step->trial;

    record->cancelled = trial->release;
    record_note(record, RECORD_RESULT_CANCELLED, trial->slot,
                record->slots[step->machine->running].release.version, trial->release.version, reason,
                step->machine->now_s);
    note_no_try(step);
}

/* The armed slot neither runs nor boots next. If the machine has not booted since the arming, another program
 * deselected it. If the firmware needs a reboot argument and nobody gave it, the reboot was no try. Else the
 * slot failed to come up. */
static void lost_armed(struct trial_step *step)
{
    char *finding = step->outcome->finding;

    if (is_of_this_boot(step) && !step->machine->in_place_reboot) {
        snprintf(finding, sizeof(step->outcome->finding),
                 "slot %s was armed and is not selected any more: another program changed the boot selection",
                 slot_name(step->trial->slot));
        take_back(step, finding);
        return;
    }
    if (!step->machine->reboot_argument || step->trial->reboot_asked) {
        note_fall_back(step, "never came up");
        return;
    }
    snprintf(finding, sizeof(step->outcome->finding),
             "slot %s was not tried: the machine was started anew without \"%s\"",
             slot_name(step->trial->slot), step->machine->reboot_argument);
    note_no_try(step);
}

static void lost_trial(struct trial_step *step)
{
    note_fall_back(step, "was started and ended without a verdict");
}

/* moonsinterd left the slot itself and recorded it then. */
static void lost_rejected(struct trial_step *step)
{
    step->trial->stage = RECORD_STAGE_NONE;
}

/* --- cells: an installation --- */

static void give_up(struct trial_step *step)
{
    record_set_invalid(step->record, step->event->slot, step->machine->now_s);
}

static void begin_arming(struct trial_step *step)
{
    record_set_arming(step->record, step->event->slot, step->event->release, step->machine->now_s);
    note_boot(step);
}

static void end_arming(struct trial_step *step)
{
    step->trial->stage = RECORD_STAGE_ARMED;
}

/* An arming that failed does not count as a try of the release. */
static void fail_arming(struct trial_step *step)
{
    step->trial->arms -= step->trial->arms > 0;
    give_up(step);
}

static void take_back_armed(struct trial_step *step)
{
    if (step->trial->slot == slot_other(step->machine->running))
        take_back(step, step->event->reason);
}

/* --- cells: reboots --- */

/* If the firmware needs a reboot argument, any other reboot leads back to this slot. So only a reboot with
 * the argument counts as a try, whichever slot comes up after it. */
static void ask_for_try(struct trial_step *step)
{
    const struct trial_machine *machine = step->machine;

    if (!machine->reboot_argument || machine->trial == SLOT_NONE || machine->trial != machine->next)
        return;
    step->outcome->has_changed = !step->trial->reboot_asked;
    step->trial->reboot_asked = true;
}

static void reboot_into_armed(struct trial_step *step)
{
    ask_for_try(step);
    count_switch(step);
}

static void take_back_reboot(struct trial_step *step)
{
    step->trial->reboot_asked = false;
}

/* --- cells: the verdict --- */

static void reject(struct trial_step *step)
{
    struct record *record = step->record;
    struct record_trial *trial = step->trial;
    enum slot running = step->machine->running;
    struct record_slot *kept = &record->slots[running];
    struct record_entry *entry = record_note(record, RECORD_RESULT_FELL_BACK, running, kept->release.version,
                                             record->slots[slot_other(running)].release.version,
                                             step->event->reason, step->machine->now_s);

    record_copy_lines(entry->output, sizeof(entry->output), step->event->output);
    kept->state = BOOT_HEALTH_BAD;
    kept->time_s = step->machine->now_s;
    record_add_failed(record, &kept->release, entry->reason, step->machine->now_s);
    trial->slot = running;
    trial->release = kept->release;
    /* If an operator asks for it again, it starts with a full set of tries. */
    trial->arms = 0;
    note_boot(step);
    trial->stage = step->event->leaves ? RECORD_STAGE_REJECTED : RECORD_STAGE_NONE;
}

/* Only the write of the boot selection is tried again; the record has the rejection already. */
static void reject_again(struct trial_step *step)
{
    if (!is_of_running(step))
        reject(step);
}

/* The boot selection could not be written. The verdict on a trial stands nevertheless, as the loader leaves
 * such a slot by itself. A good slot that an operator gave up counts as good again; he may repeat his
 * request. */
static void reject_failed(struct trial_step *step)
{
    if (step->machine->trial != step->machine->running)
        take_rejection_back(step, BOOT_HEALTH_GOOD);
}

/* --- cells: the end --- */

static void uncount_start(struct trial_step *step)
{
    if (step->trial->starts == 0)
        return;
    step->trial->starts--;
    step->outcome->has_changed = true;
}

/* --- the table --- */

/* clang-format off */
static const trial_cell_fn cells[TRIAL_EVENT_COUNT][RECORD_STAGE_COUNT] = {
    /*                                NONE            ARMING          ARMED              BOOTED          REJECTED */
    [TRIAL_EVENT_STARTED_ON_TRIAL] = {start_trial,    start_trial,    start_trial,       start_trial,    start_rejected_trial},
    [TRIAL_EVENT_STARTED_TO_LEAVE] = {start_to_leave, start_to_leave, start_to_leave,    start_to_leave, start_to_leave_rejected},
    [TRIAL_EVENT_STARTED_SELECTED] = {start_selected, start_selected, start_selected,    start_selected, start_rejected_selected},
    [TRIAL_EVENT_FOUND_ARMED]      = {pass,           found_armed,    pass,              pass,           pass},
    [TRIAL_EVENT_FOUND_LOST]       = {pass,           lost_arming,    lost_armed,        lost_trial,     lost_rejected},
    [TRIAL_EVENT_GIVEN_UP]         = {give_up,        give_up,        give_up,           give_up,        give_up},
    [TRIAL_EVENT_ARMING]           = {begin_arming,   begin_arming,   begin_arming,      begin_arming,   begin_arming},
    [TRIAL_EVENT_ARMED]            = {pass,           end_arming,     pass,              pass,           pass},
    [TRIAL_EVENT_ARM_FAILED]       = {give_up,        fail_arming,    give_up,           give_up,        give_up},
    [TRIAL_EVENT_REBOOT_ASKED]     = {count_switch,   count_switch,   reboot_into_armed, count_switch,   count_switch},
    [TRIAL_EVENT_REBOOT_SEEN]      = {pass,           pass,           ask_for_try,       pass,           pass},
    [TRIAL_EVENT_REBOOT_FAILED]    = {pass,           pass,           take_back_reboot,  pass,           pass},
    [TRIAL_EVENT_MARKED_GOOD]      = {mark_good,      mark_good,      mark_good,         mark_good,      mark_rejected_good},
    [TRIAL_EVENT_REJECTING]        = {reject,         reject,         reject,            reject,         reject_again},
    [TRIAL_EVENT_REJECT_FAILED]    = {reject_failed,  pass,           pass,              pass,           reject_failed},
    [TRIAL_EVENT_DESELECTED]       = {pass,           pass,           take_back_armed,   pass,           pass},
    [TRIAL_EVENT_ENDED]            = {pass,           pass,           pass,              uncount_start,  pass},
};
/* clang-format on */

static void run_cell(struct trial_step *step, enum trial_event_kind kind)
{
    cells[kind][step->trial->stage](step);
}

static bool is_start(enum trial_event_kind kind)
{
    return kind <= TRIAL_EVENT_STARTED_SELECTED;
}

/* Before a start is classified: what happened to the recorded trial while moonsinterd did not run. */
static void settle_before_start(struct trial_step *step)
{
    const struct record_trial *trial = step->trial;

    const struct trial_machine *machine = step->machine;

    if (trial->stage == RECORD_STAGE_NONE)
        return;
    /* A loader that counts tries still names a slot on trial when its tries are used up; this too shows that
     * it was armed. */
    if (is_of_running(step) || trial->slot == machine->next || trial->slot == machine->trial)
        run_cell(step, TRIAL_EVENT_FOUND_ARMED);
    if (!is_of_running(step) && trial->slot != machine->next)
        run_cell(step, TRIAL_EVENT_FOUND_LOST);
}

enum trial_event_kind trial_start_kind(const struct trial_machine *machine)
{
    assert(machine->running != SLOT_NONE);
    if (machine->trial == machine->running)
        return TRIAL_EVENT_STARTED_ON_TRIAL;
    return machine->next == slot_other(machine->running) ? TRIAL_EVENT_STARTED_TO_LEAVE
                                                         : TRIAL_EVENT_STARTED_SELECTED;
}

void trial_step(struct record *record, const struct trial_machine *machine, const struct trial_event *event,
                struct trial_outcome *ret_outcome)
{
    struct trial_step step = {.record = record,
                              .trial = &record->trial,
                              .machine = machine,
                              .event = event,
                              .outcome = ret_outcome};

    memset(ret_outcome, 0, sizeof(*ret_outcome));
    if (is_start(event->kind))
        settle_before_start(&step);
    run_cell(&step, event->kind);
}

bool trial_restarted_too_often(const struct record *record)
{
    return record->trial.starts > STARTS_MAX;
}

unsigned trial_failed_switches(const struct record *record, const char *boot_id)
{
    const struct record_trial *trial = &record->trial;
    bool is_under_way = trial->reboots && strcmp(trial->reboot_boot_id, boot_id) == 0;

    return trial->reboots - is_under_way;
}
