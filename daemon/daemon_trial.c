/* What the boot state says after a start, and what it is to become: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"

/* Of one boot, without a verdict. A crash may be chance, and so may a second one. */
enum { STARTS_MAX = 3 };

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

/* --- after a start --- */

/* The slot that was armed is not what the machine was started into, and was not to be: nothing is known
 * against its release, which is verified and armed anew. */
static void note_no_try(struct record *record)
{
    struct record_trial *trial = &record->trial;

    record->slots[trial->slot].state = BOOT_HEALTH_UNKNOWN;
    trial->arms -= trial->arms > 0;
    trial->stage = RECORD_STAGE_NONE;
}

/* A trial ended without anybody here to give a verdict: the loader went back to the other slot. */
static void note_fall_back(struct daemon *daemon)
{
    struct record *record = daemon->record;
    struct record_trial *trial = &record->trial;
    const struct boot_abilities *abilities = boot_get_abilities(daemon->boot);
    /* A loader with several tries has tried it again by itself; with one, a trial that a power cut ended is
     * armed once more. */
    unsigned arms_max = abilities->tries && daemon->fixed->tries > 1 ? 1 : 2;
    struct record_entry entry = {
        .result = RECORD_RESULT_FELL_BACK, .time_s = daemon_now_s(), .slot = trial->slot};

    if (trial->stage == RECORD_STAGE_REJECTED) {
        /* We left it ourselves, and said so then. */
        trial->stage = RECORD_STAGE_NONE;
        return;
    }
    if (trial->stage == RECORD_STAGE_ARMING) {
        /* The boot selection was never written. */
        note_no_try(record);
        return;
    }
    if (trial->stage == RECORD_STAGE_ARMED && abilities->reboot_argument && !trial->reboot_asked) {
        log_notice("slot %s was not tried: the machine was started anew without \"%s\"",
                   slot_name(trial->slot), abilities->reboot_argument);
        note_no_try(record);
        return;
    }
    snprintf(entry.reason, sizeof(entry.reason), "slot %s %s; the boot loader went back to slot %s%s",
             slot_name(trial->slot),
             trial->stage == RECORD_STAGE_BOOTED ? "was started and ended without a verdict"
                                                 : "never came up",
             slot_name(daemon->view.running), trial->arms < arms_max ? ", and it is tried once more" : "");
    log_error("%s", entry.reason);
    memcpy(entry.from, trial->release.version, sizeof(entry.from));
    memcpy(entry.to, record->slots[daemon->view.running].release.version, sizeof(entry.to));
    record_add_history(record, &entry);
    record->slots[trial->slot].state = BOOT_HEALTH_BAD;
    if (trial->arms >= arms_max) {
        record_add_failed(record, &trial->release, entry.reason, entry.time_s);
        /* Where an operator has it tried again, all its tries are before it. */
        trial->arms = 0;
    } else {
        daemon->has_result = true;
        daemon->schedule_result = SCHEDULE_RESULT_SECOND_TRY;
    }
    trial->stage = RECORD_STAGE_NONE;
}

/* The slot runs still: it was not left, whatever the record says already. */
static void take_rejection_back(struct record *record, enum slot slot, enum boot_health state)
{
    record->slots[slot].state = state;
    record_forget_failed(record, &record->slots[slot].release);
    record_drop_history(record);
    record->trial.stage = state == BOOT_HEALTH_TRIAL ? RECORD_STAGE_BOOTED : RECORD_STAGE_NONE;
}

static bool is_rejected(const struct record *record, enum slot slot)
{
    return record->trial.stage == RECORD_STAGE_REJECTED && record->trial.slot == slot;
}

static void note_good(struct daemon *daemon, enum slot slot)
{
    struct record *record = daemon->record;

    if (is_rejected(record, slot))
        take_rejection_back(record, slot, BOOT_HEALTH_TRIAL);
    if (record->trial.stage != RECORD_STAGE_NONE && record->trial.slot == slot) {
        struct record_entry entry = {.result = RECORD_RESULT_GOOD, .time_s = daemon_now_s(), .slot = slot};
        memcpy(entry.from, record->slots[slot_other(slot)].release.version, sizeof(entry.from));
        memcpy(entry.to, record->slots[slot].release.version, sizeof(entry.to));
        record_add_history(record, &entry);
    }
    record->trial.reboots = 0;
    record_set_good(record, slot, daemon_now_s());
}

/* The boot selection was written, and the end came before the record said so. How much was moved is not
 * known. */
static void note_armed(struct daemon *daemon)
{
    struct record *record = daemon->record;
    struct record_trial *trial = &record->trial;
    struct record_entry entry = {
        .result = RECORD_RESULT_INSTALLED, .time_s = record->slots[trial->slot].time_s, .slot = trial->slot};

    memcpy(entry.from, record->slots[slot_other(trial->slot)].release.version, sizeof(entry.from));
    memcpy(entry.to, trial->release.version, sizeof(entry.to));
    record_add_history(record, &entry);
    trial->stage = RECORD_STAGE_ARMED;
}

/* Where we are ended by a signal or a watchdog again and again, there is no verdict ever, and no end. */
static void count_start(struct daemon *daemon)
{
    struct record_trial *trial = &daemon->record->trial;
    /* Each start is a boot there, and a try. */
    bool in_place = boot_get_abilities(daemon->boot)->in_place_reboot;
    bool again = !in_place && trial->stage == RECORD_STAGE_BOOTED && *daemon->boot_id &&
                 strcmp(trial->boot_id, daemon->boot_id) == 0;

    trial->starts = again ? trial->starts + 1 : 1;
    memcpy(trial->boot_id, daemon->boot_id, sizeof(trial->boot_id));
}

void daemon_trial_note_end(struct daemon *daemon)
{
    struct record_trial *trial = &daemon->record->trial;

    if (daemon->update.state != UPDATE_STATE_TRIAL || trial->starts == 0)
        return;
    trial->starts--;
    daemon_save_start(daemon);
}

bool daemon_trial_is_worn(const struct daemon *daemon)
{
    return daemon->record->trial.starts > STARTS_MAX;
}

static void classify_trial(struct daemon *daemon, char *reason, size_t size)
{
    struct record_trial *trial = &daemon->record->trial;
    enum slot running = daemon->view.running;

    /* The loader was not told, or starts it again all the same: it is judged anew. */
    if (is_rejected(daemon->record, running))
        take_rejection_back(daemon->record, running, BOOT_HEALTH_TRIAL);
    if (trial->stage == RECORD_STAGE_NONE || trial->slot != running) {
        trial->slot = running;
        trial->release = daemon->record->slots[running].release;
        trial->arms = 1;
        trial->stage = RECORD_STAGE_ARMED;
    }
    count_start(daemon);
    trial->reboots = 0;
    trial->stage = RECORD_STAGE_BOOTED;
    daemon->record->slots[running].state = BOOT_HEALTH_TRIAL;
    snprintf(reason, size, "slot %s runs on trial, %u further starts left", slot_name(running),
             daemon->view.boot.tries_left);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_BOOTED_TRIAL}, reason);
}

static void classify(struct daemon *daemon)
{
    struct record_trial *trial = &daemon->record->trial;
    const struct boot_state *boot = &daemon->view.boot;
    enum slot running = daemon->view.running;
    char reason[RECORD_TEXT_SIZE];

    daemon->unclassified = running == SLOT_NONE;
    if (running == SLOT_NONE) {
        log_warning("which slot runs cannot be determined: %s", daemon->view.slots->why);
        policy_judge_install(&(struct policy_input){.mode = POLICY_MODE_INSTALL,
                                                    .running_why = daemon->view.slots->why,
                                                    .name_why = daemon->view.slots->name_why},
                             &daemon->install_verdict);
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_BOOTED_UNKNOWN},
                    "which slot runs cannot be determined");
        return;
    }
    if (trial->stage == RECORD_STAGE_ARMING && (trial->slot == running || trial->slot == boot->next))
        note_armed(daemon);
    if (trial->stage != RECORD_STAGE_NONE && trial->slot != running && boot->next != trial->slot)
        note_fall_back(daemon);
    if (boot->trial == running) {
        classify_trial(daemon, reason, sizeof(reason));
    } else if (boot->next == slot_other(running)) {
        /* Whatever reboot was asked for did not come to pass yet. */
        trial->reboot_asked = false;
        bool falling_back = daemon_slot_health(daemon, running) == BOOT_HEALTH_BAD;
        bool at_once = falling_back && trial->stage == RECORD_STAGE_REJECTED && trial->slot == running;
        /* Until the machine goes down, however often we are started anew meanwhile. But where the loader
         * then starts the slot again, once: there would be no end to it. */
        if (at_once && (!*daemon->boot_id || strcmp(trial->boot_id, daemon->boot_id) != 0))
            trial->stage = RECORD_STAGE_NONE;
        snprintf(reason, sizeof(reason), "slot %s runs, slot %s boots next", slot_name(running),
                 slot_name(boot->next));
        daemon_post(daemon,
                    &(struct update_event){.kind = UPDATE_EVENT_BOOTED_PENDING,
                                           .falling_back = falling_back,
                                           .at_once = at_once},
                    reason);
    } else {
        note_good(daemon, running);
        snprintf(reason, sizeof(reason), "slot %s runs and is good", slot_name(running));
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_BOOTED_GOOD}, reason);
    }
}

void daemon_trial_classify(struct daemon *daemon)
{
    classify(daemon);
    /* What was offered before may run by now, or have failed. */
    daemon_check_judge_anew(daemon, false);
}

void daemon_trial_note_disarmed(struct daemon *daemon)
{
    struct record *record = daemon->record;
    struct record_trial *trial = &record->trial;
    enum slot running = daemon->view.running, other = slot_other(running);
    struct record_entry entry = {.result = RECORD_RESULT_CANCELLED, .time_s = daemon_now_s(), .slot = other};
    char why[RECORD_TEXT_SIZE];

    snprintf(why, sizeof(why), "another program changed the boot selection, which had slot %s boot next",
             slot_name(other));
    if (trial->stage == RECORD_STAGE_ARMED && trial->slot == other && running != SLOT_NONE) {
        record->cancelled = trial->release;
        memcpy(entry.from, record->slots[running].release.version, sizeof(entry.from));
        memcpy(entry.to, trial->release.version, sizeof(entry.to));
        memcpy(entry.reason, why, sizeof(entry.reason));
        record_add_history(record, &entry);
        note_no_try(record);
    }
    daemon->install_verdict.count = 0;
    policy_add_block(&daemon->install_verdict, "boot-selection", why);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_DISARMED}, why);
}

/* --- good or bad --- */

static void on_marked_good(struct daemon *daemon, const struct error *error)
{
    if (error) {
        daemon_post_failure(daemon, UPDATE_EVENT_MARK_GOOD_FAILED, error);
        return;
    }
    note_good(daemon, daemon->view.running);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_MARKED_GOOD}, NULL);
    daemon_check_judge_anew(daemon, false);
}

void daemon_trial_mark_good(struct daemon *daemon)
{
    daemon_boot_submit(daemon, DAEMON_BOOT_GOOD, daemon->view.running, NULL, on_marked_good);
}

static void on_rejected(struct daemon *daemon, const struct error *error)
{
    enum slot slot = daemon->boot_work.slot;

    if (error) {
        /* The verdict on a trial stands. An operator who gave up a good slot may ask again. */
        if (daemon->view.boot.trial != slot)
            take_rejection_back(daemon->record, slot, BOOT_HEALTH_GOOD);
        daemon_post_failure(daemon, UPDATE_EVENT_REJECT_FAILED, error);
        return;
    }
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_REJECTED}, daemon->trial_reason);
    daemon_check_judge_anew(daemon, false);
}

static void on_reject_saved(struct daemon *daemon, const struct error *error)
{
    /* That the release failed is remembered as well as can be; falling back does not wait for it. */
    daemon_boot_submit(daemon, DAEMON_BOOT_REJECT, daemon->view.running, NULL, on_rejected);
}

static void note_rejected(struct daemon *daemon)
{
    struct record *record = daemon->record;
    enum slot slot = daemon->view.running;
    struct record_slot *kept = &record->slots[slot];
    struct record_entry entry = {.result = RECORD_RESULT_FELL_BACK, .time_s = daemon_now_s(), .slot = slot};

    memcpy(entry.reason, daemon->trial_reason, sizeof(entry.reason));
    memcpy(entry.output, daemon->trial_output, sizeof(entry.output));
    memcpy(entry.from, kept->release.version, sizeof(entry.from));
    memcpy(entry.to, record->slots[slot_other(slot)].release.version, sizeof(entry.to));
    record_add_history(record, &entry);
    kept->state = BOOT_HEALTH_BAD;
    kept->time_s = entry.time_s;
    record_add_failed(record, &kept->release, entry.reason, entry.time_s);
    record->trial.slot = slot;
    record->trial.release = kept->release;
    record->trial.arms = 0;
    memcpy(record->trial.boot_id, daemon->boot_id, sizeof(record->trial.boot_id));
    record->trial.stage =
        daemon->update.errand == UPDATE_ERRAND_REJECT_AND_REBOOT ? RECORD_STAGE_REJECTED : RECORD_STAGE_NONE;
}

/* What failed and why is on the medium before the boot selection is, so that the other slot can tell. */
void daemon_trial_reject(struct daemon *daemon)
{
    /* Tried again, it is told already. */
    if (!is_rejected(daemon->record, daemon->view.running))
        note_rejected(daemon);
    daemon_save_then_soon(daemon, on_reject_saved);
}
