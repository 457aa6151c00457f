/* Looking at the slots, and every write of boot state: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <assert.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/log.h"
#include "daemon/state_folder.h"

extern char **environ;

void daemon_view_finish(struct daemon_view *view)
{
    slots_free(view->slots);
    free(view->storage_why);
    memset(view, 0, sizeof(*view));
}

/* A partition's size limits the image; a file grows. Asking does not read the partition. */
static uint64_t find_slot_bytes(const struct slots *slots)
{
    enum slot target = slots_target(slots);
    struct device *device;
    struct error error;
    uint64_t bytes = 0;

    if (target == SLOT_NONE || !slots->devices[target].present || !slots->devices[target].is_block)
        return 0;
    if (!device_open_source(slots->devices[target].path, &device, &error))
        return 0;
    if (!device_size(device, &bytes, &error))
        bytes = 0;
    device_close(device);
    return bytes;
}

bool daemon_view_look(struct daemon_view *view, struct boot *boot, const struct config *config,
                      struct error *error)
{
    struct daemon_view seen = {0};

    if (!boot_read(boot, &seen.boot, error))
        return false;
    struct slots_request request = {
        .names = {config->slot_names[SLOT_A], config->slot_names[SLOT_B]},
        .selected = seen.boot.running,
    };
    if (!slots_find(&request, &seen.slots, error))
        return false;
    seen.running = seen.slots->running;
    seen.slot_bytes = find_slot_bytes(seen.slots);
    /* The `file` backend's slots are no file systems that this machine boots. */
    if (config->backend != CONFIG_BACKEND_FILE)
        seen.storage_why = state_folder_find_objection(config->state_directory, seen.slots);
    *view = seen;
    return true;
}

static bool run_task(struct daemon_boot *work)
{
    struct error *error = &work->error;

    switch (work->task) {
    case DAEMON_BOOT_LOOK:
    case DAEMON_BOOT_CHECK_SLOT:
        return true;
    case DAEMON_BOOT_INVALIDATE:
        return boot_invalidate(work->boot, work->slot, error);
    case DAEMON_BOOT_ARM:
        return boot_arm(work->boot, work->slot, error);
    case DAEMON_BOOT_GOOD:
        return boot_good(work->boot, work->slot, error);
    case DAEMON_BOOT_REJECT:
        return boot_reject(work->boot, work->slot, error);
    case DAEMON_BOOT_START:
        return boot_start(work->boot, error);
    }
    return false;
}

/* What was done has to be seen in what the loader would read. */
static bool check_task(struct daemon_boot *work)
{
    const struct boot_state *boot = &work->view.boot;
    bool fits = true;

    switch (work->task) {
    case DAEMON_BOOT_LOOK:
    case DAEMON_BOOT_START:
        break;
    case DAEMON_BOOT_CHECK_SLOT:
        if (slots_target(work->view.slots) == SLOT_NONE)
            return error_set(&work->error, ERROR_REFUSED, "which slot runs cannot be determined: %s",
                             work->view.slots->why);
        return slots_target_check(work->view.slots, slots_target(work->view.slots), &work->error);
    case DAEMON_BOOT_ARM:
        fits = boot->next == work->slot;
        break;
    case DAEMON_BOOT_GOOD:
        fits = boot->next == work->slot && boot->trial != work->slot;
        break;
    case DAEMON_BOOT_INVALIDATE:
    case DAEMON_BOOT_REJECT:
        fits = boot->next != work->slot;
        break;
    }
    return fits ||
           error_set(&work->error, ERROR_SYSTEM,
                     "the boot selection was written, but reading it back says that slot %s boots next",
                     slot_name(boot->next));
}

/* On a thread. Looks also where the task failed: what is true now is worth knowing most then. */
static void boot_run(struct pool_job *job)
{
    struct daemon_boot *work = container_of(job, struct daemon_boot, job);
    bool done = run_task(work);
    struct error error;
    bool seen = daemon_view_look(&work->view, work->boot, work->config, &error);

    if (done && !seen)
        work->error = error;
    work->failed = !done || !seen || !check_task(work);
    work->held = device_close(work->held);
}

static void boot_done(struct pool_job *job)
{
    struct daemon_boot *work = container_of(job, struct daemon_boot, job);
    struct daemon *daemon = container_of(work, struct daemon, boot_work);
    struct error error = work->error;
    bool failed = work->failed;

    work->busy = false;
    daemon_watch_jobs(daemon);
    if (work->view.slots) {
        daemon_view_finish(&daemon->view);
        daemon->view = work->view;
        memset(&work->view, 0, sizeof(work->view));
    }
    work->then(daemon, failed ? &error : NULL);
    daemon_settle(daemon);
}

void daemon_boot_submit(struct daemon *daemon, enum daemon_boot_task task, enum slot slot,
                        struct device *held, void (*then)(struct daemon *daemon, const struct error *error))
{
    struct daemon_boot *work = &daemon->boot_work;

    assert(!work->busy);
    *work = (struct daemon_boot){
        .job = {.run = boot_run, .done = boot_done},
        .busy = true,
        .then = then,
        .task = task,
        .slot = slot,
        .boot = daemon->boot,
        .config = daemon->fixed,
        .held = held,
    };
    pool_submit(daemon->pool, &work->job);
    daemon_watch_jobs(daemon);
}

enum boot_health daemon_slot_health(const struct daemon *daemon, enum slot slot)
{
    enum boot_health recorded = daemon->record->slots[slot].state;
    enum boot_health loaders = daemon->view.boot.health[slot];
    bool runs = slot == daemon->view.running;

    /* Recorded before the loader is told, and before the first write. */
    if (recorded == BOOT_HEALTH_INVALID && !runs)
        return BOOT_HEALTH_INVALID;
    if (runs && daemon->view.boot.trial == slot)
        return BOOT_HEALTH_TRIAL;
    if (loaders != BOOT_HEALTH_UNKNOWN)
        return loaders;
    if (recorded == BOOT_HEALTH_UNKNOWN && runs)
        return BOOT_HEALTH_GOOD;
    return recorded;
}

/* --- after a start --- */

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

    if (trial->stage == RECORD_STAGE_ARMING) {
        /* The boot selection was never written, so this was no try. */
        record->slots[trial->slot].state = BOOT_HEALTH_UNKNOWN;
        trial->arms -= trial->arms > 0;
        trial->stage = RECORD_STAGE_NONE;
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
    if (trial->arms >= arms_max)
        record_add_failed(record, &trial->release, entry.reason, entry.time_s);
    trial->stage = RECORD_STAGE_NONE;
}

static void note_good(struct daemon *daemon, enum slot slot)
{
    struct record *record = daemon->record;

    if (record->trial.stage != RECORD_STAGE_NONE && record->trial.slot == slot) {
        struct record_entry entry = {.result = RECORD_RESULT_GOOD, .time_s = daemon_now_s(), .slot = slot};
        memcpy(entry.from, record->slots[slot_other(slot)].release.version, sizeof(entry.from));
        memcpy(entry.to, record->slots[slot].release.version, sizeof(entry.to));
        record_add_history(record, &entry);
    }
    record_set_good(record, slot, daemon_now_s());
}

static void classify_trial(struct daemon *daemon, char *reason, size_t size)
{
    struct record_trial *trial = &daemon->record->trial;
    enum slot running = daemon->view.running;

    if (trial->stage == RECORD_STAGE_NONE || trial->slot != running) {
        trial->slot = running;
        trial->release = daemon->record->slots[running].release;
        trial->arms = 1;
    }
    trial->stage = RECORD_STAGE_BOOTED;
    daemon->record->slots[running].state = BOOT_HEALTH_TRIAL;
    snprintf(reason, size, "slot %s runs on trial, %u further starts left", slot_name(running),
             daemon->view.boot.tries_left);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_BOOTED_TRIAL}, reason);
}

void daemon_boot_classify(struct daemon *daemon)
{
    struct record_trial *trial = &daemon->record->trial;
    const struct boot_state *boot = &daemon->view.boot;
    enum slot running = daemon->view.running;
    char reason[RECORD_TEXT_SIZE];

    if (running == SLOT_NONE) {
        log_warning("which slot runs cannot be determined: %s", daemon->view.slots->why);
        policy_judge_install(
            &(struct policy_input){.mode = POLICY_MODE_INSTALL, .running_why = daemon->view.slots->why},
            &daemon->install_verdict);
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_BOOTED_UNKNOWN},
                    "which slot runs cannot be determined");
        return;
    }
    if (trial->stage != RECORD_STAGE_NONE && trial->slot != running && boot->next != trial->slot)
        note_fall_back(daemon);
    if (boot->trial == running) {
        classify_trial(daemon, reason, sizeof(reason));
    } else if (boot->next == slot_other(running)) {
        bool falling_back = daemon_slot_health(daemon, running) == BOOT_HEALTH_BAD;
        if (trial->stage == RECORD_STAGE_ARMING)
            trial->stage = RECORD_STAGE_ARMED;
        snprintf(reason, sizeof(reason), "slot %s runs, slot %s boots next", slot_name(running),
                 slot_name(boot->next));
        daemon_post(daemon,
                    &(struct update_event){.kind = UPDATE_EVENT_BOOTED_PENDING, .falling_back = falling_back},
                    reason);
    } else {
        note_good(daemon, running);
        snprintf(reason, sizeof(reason), "slot %s runs and is good", slot_name(running));
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_BOOTED_GOOD}, reason);
    }
}

/* --- giving up the target --- */

static void on_invalidated(struct daemon *daemon, const struct error *error)
{
    if (error)
        daemon_post_failure(daemon, UPDATE_EVENT_INVALIDATE_FAILED, error);
    else
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_INVALIDATED}, NULL);
}

static void on_invalid_saved(struct daemon *daemon, const struct error *error)
{
    if (error)
        on_invalidated(daemon, error);
    else
        daemon_boot_submit(daemon, DAEMON_BOOT_INVALIDATE, daemon->target, NULL, on_invalidated);
}

static void note_disarmed(struct daemon *daemon)
{
    struct record *record = daemon->record;
    struct record_entry entry = {
        .result = RECORD_RESULT_CANCELLED,
        .time_s = daemon_now_s(),
        .slot = daemon->target,
        .reason = "taken back by an operator before it was booted",
    };

    record->cancelled = record->slots[daemon->target].release;
    memcpy(entry.from, record->slots[slot_other(daemon->target)].release.version, sizeof(entry.from));
    memcpy(entry.to, record->cancelled.version, sizeof(entry.to));
    record_add_history(record, &entry);
    daemon->install_verdict.count = 0;
    policy_add_block(&daemon->install_verdict, "cancelled",
                     "this release was cancelled; a newer one or moonsinter install goes on");
}

static void on_slot_checked(struct daemon *daemon, const struct error *error)
{
    if (error) {
        on_invalidated(daemon, error);
        return;
    }
    daemon->target = slots_target(daemon->view.slots);
    /* Nobody gives up the pending release but an operator, who does not want it again by itself. */
    if (daemon->update.errand == UPDATE_ERRAND_DISARM)
        note_disarmed(daemon);
    record_set_invalid(daemon->record, daemon->target, daemon_now_s());
    daemon_save_then(daemon, on_invalid_saved);
}

void daemon_boot_invalidate(struct daemon *daemon)
{
    daemon_boot_submit(daemon, DAEMON_BOOT_CHECK_SLOT, SLOT_NONE, NULL, on_slot_checked);
}

/* --- arming it --- */

static void on_activated(struct daemon *daemon, const struct error *error)
{
    struct record *record = daemon->record;

    if (error) {
        record->slots[daemon->target].state = BOOT_HEALTH_UNKNOWN;
        record->trial.stage = RECORD_STAGE_NONE;
        record->trial.arms -= record->trial.arms > 0;
        daemon_install_remember(daemon, RECORD_RESULT_FAILED, error->message);
        daemon_post_failure(daemon, UPDATE_EVENT_ACTIVATE_FAILED, error);
        return;
    }
    record->trial.stage = RECORD_STAGE_ARMED;
    daemon_install_remember(daemon, RECORD_RESULT_INSTALLED, NULL);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_ACTIVATED}, NULL);
}

/* The record could not be saved: lets go of the target, which only a thread may do, and says so. */
static void on_let_go(struct daemon *daemon, const struct error *error)
{
    struct error problem;

    error_set(&problem, ERROR_SYSTEM, "the release is not armed, because the record cannot be saved");
    on_activated(daemon, &problem);
}

static void on_arming_saved(struct daemon *daemon, const struct error *error)
{
    struct device *held = daemon->verified;

    daemon->verified = NULL;
    if (error)
        daemon_boot_submit(daemon, DAEMON_BOOT_LOOK, SLOT_NONE, held, on_let_go);
    else
        daemon_boot_submit(daemon, DAEMON_BOOT_ARM, daemon->target, held, on_activated);
}

void daemon_boot_activate(struct daemon *daemon)
{
    record_set_arming(daemon->record, daemon->target, &daemon->installing, daemon_now_s());
    daemon_save_then(daemon, on_arming_saved);
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
}

void daemon_boot_mark_good(struct daemon *daemon)
{
    daemon_boot_submit(daemon, DAEMON_BOOT_GOOD, daemon->view.running, NULL, on_marked_good);
}

static void on_rejected(struct daemon *daemon, const struct error *error)
{
    struct record *record = daemon->record;
    enum slot slot = daemon->boot_work.slot;

    if (error) {
        /* It still runs and still boots next; a trial's verdict is tried again, an operator may. */
        record->slots[slot].state =
            daemon->update.state == UPDATE_STATE_TRIAL ? BOOT_HEALTH_TRIAL : BOOT_HEALTH_GOOD;
        record_forget_failed(record, &record->slots[slot].release);
        daemon_post_failure(daemon, UPDATE_EVENT_REJECT_FAILED, error);
        return;
    }
    struct record_entry entry = {.result = RECORD_RESULT_FELL_BACK, .time_s = daemon_now_s(), .slot = slot};
    memcpy(entry.reason, daemon->trial_reason, sizeof(entry.reason));
    memcpy(entry.from, record->slots[slot].release.version, sizeof(entry.from));
    memcpy(entry.to, record->slots[slot_other(slot)].release.version, sizeof(entry.to));
    record_add_history(record, &entry);
    if (record->trial.slot == slot)
        record->trial.stage = RECORD_STAGE_NONE;
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_REJECTED}, daemon->trial_reason);
}

static void on_reject_saved(struct daemon *daemon, const struct error *error)
{
    /* That the release failed is remembered as well as can be; falling back does not wait for it. */
    daemon_boot_submit(daemon, DAEMON_BOOT_REJECT, daemon->view.running, NULL, on_rejected);
}

void daemon_boot_reject(struct daemon *daemon)
{
    enum slot slot = daemon->view.running;
    struct record_slot *kept = &daemon->record->slots[slot];

    kept->state = BOOT_HEALTH_BAD;
    kept->time_s = daemon_now_s();
    record_add_failed(daemon->record, &kept->release, daemon->trial_reason, daemon_now_s());
    daemon_save_then(daemon, on_reject_saved);
}

/* --- rebooting --- */

static void on_started(struct daemon *daemon, const struct error *error)
{
    if (error) {
        daemon_post_failure(daemon, UPDATE_EVENT_REBOOT_FAILED, error);
        return;
    }
    daemon_boot_classify(daemon);
}

/* The record on the medium is the last thing before the machine goes down. */
static void on_reboot_saved(struct daemon *daemon, const struct error *save_error)
{
    static const char *const command[] = {"systemctl", "--no-block", "reboot", NULL};
    struct error error;

    if (boot_get_abilities(daemon->boot)->in_place_reboot) {
        daemon_boot_submit(daemon, DAEMON_BOOT_START, SLOT_NONE, NULL, on_started);
        return;
    }
    /* posix_spawn() wants the arguments without const and does not change them. */
    char *arguments[4];
    memcpy(arguments, command, sizeof(command));
    int result = posix_spawnp(&daemon->reboot_pid, command[0], NULL, NULL, arguments, environ);
    if (result == 0) {
        log_notice("rebooting");
        /* A machine that does not go down is told of; the manager may be waiting for an inhibitor. */
        daemon_arm_timer(daemon->reboot_timer, 10 * 60 * 1000);
        return;
    }
    error_set_errno(&error, result, "systemctl reboot cannot be started");
    daemon_post_failure(daemon, UPDATE_EVENT_REBOOT_FAILED, &error);
}

void daemon_boot_reboot(struct daemon *daemon)
{
    daemon_save_then(daemon, on_reboot_saved);
}
