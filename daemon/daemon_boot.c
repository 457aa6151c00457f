/* SPDX-License-Identifier: MIT */
/* Looking at the slots, and the job that does every write of boot state: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <stdio.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "daemon/boot/kernel_modules.h"
#include "daemon/host/machine_id.h"
#include "daemon/host/state_folder.h"

enum {
    /* What comes late, a name of udev's say, comes within seconds, or by somebody's hand. */
    LATE_WAIT_MIN_MS = 1000,
    LATE_WAIT_MAX_MS = 64 * 1000,
    PENDING_WAIT_MS = 60 * 1000,
    ASKED_WAIT_MS = 5 * 1000, /* between two looks because of others' questions */
};

void daemon_view_finish(struct daemon_view *view)
{
    slots_free(view->slots);
    free(view->loader_why);
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
        .judge_names = true,
        .names_by_content = config->backend == CONFIG_BACKEND_FILE,
    };
    if (!slots_find(&request, &seen.slots, error))
        return false;
    seen.running = seen.slots->running;
    seen.slot_bytes = find_slot_bytes(seen.slots);
    machine_id_read(seen.machine_id, seen.machine_id_why, sizeof(seen.machine_id_why));
    enum slot target = slots_target(seen.slots);
    struct error why;
    if (target != SLOT_NONE && !boot_can_arm(boot, target, &why))
        seen.loader_why = alloc_string(why.message);
    /* The `file` backend's slots are no file systems that this machine boots. */
    if (config->backend != CONFIG_BACKEND_FILE)
        seen.storage_why = state_folder_find_objection(config->state_directory, seen.slots);
    *view = seen;
    return true;
}

/* Names can lead elsewhere by now: what boots next has to be the very device or file that was written and
 * read back, and that is still open. */
static bool check_held(struct daemon_boot *work)
{
    struct daemon_view view;
    struct storage held;

    if (!daemon_view_look(&view, work->boot, work->config, &work->error))
        return false;
    const struct storage *device = &view.slots->devices[work->slot];
    bool fits = slots_target_check(view.slots, work->slot, &work->error);
    if (fits && (storage_find_fd(device_descriptor(work->held), &held) < 0 || !storage_equal(device, &held)))
        fits =
            error_set(&work->error, ERROR_SYSTEM,
                      "slot %s (%s) is not armed: it is another device or file than the one that was written "
                      "and verified",
                      slot_name(work->slot), device->path);
    daemon_view_finish(&view);
    return fits;
}

/* A kernel that an update does not bring has to find its modules in the release. */
static bool check_kernel(struct daemon_boot *work)
{
    return boot_get_abilities(work->boot)->kernel != BOOT_KERNEL_SHARED ||
           kernel_modules_check(work->boot->root, device_descriptor(work->held), &work->error);
}

static bool run_task(struct daemon_boot *work)
{
    struct error *error = &work->error;

    switch (work->task) {
    case DAEMON_BOOT_LOOK:
    case DAEMON_BOOT_CHECK_RUNNING:
    case DAEMON_BOOT_CHECK_SLOT:
        return true;
    case DAEMON_BOOT_INVALIDATE:
        return boot_invalidate(work->boot, work->slot, error);
    case DAEMON_BOOT_ARM:
        if (!check_held(work) || !check_kernel(work))
            return false;
        slot_print_take(work->held, work->print_bytes, &work->print);
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
    case DAEMON_BOOT_CHECK_RUNNING:
    case DAEMON_BOOT_CHECK_SLOT:
        if (slots_target(work->view.slots) == SLOT_NONE)
            return error_set(&work->error, ERROR_REFUSED, "which slot runs cannot be determined: %s",
                             work->view.slots->why);
        return work->task == DAEMON_BOOT_CHECK_RUNNING ||
               slots_target_check(work->view.slots, slots_target(work->view.slots), &work->error);
    case DAEMON_BOOT_ARM:
        fits = boot->next == work->slot;
        break;
    case DAEMON_BOOT_GOOD:
        fits = boot->next == work->slot && boot->trial != work->slot;
        break;
    case DAEMON_BOOT_INVALIDATE:
        /* What is written is the slot that does not run now, which has to be the one that was given up. */
        if (slots_target(work->view.slots) != work->slot)
            return error_set(&work->error, ERROR_SYSTEM,
                             "slot %s was given up, and now another slot runs than before: %s",
                             slot_name(work->slot), work->view.slots->why);
        fits = boot->next != work->slot;
        break;
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
    if (work->start && work->task == DAEMON_BOOT_LOOK)
        work->start = !boot_start(work->boot, NULL);
    bool seen = daemon_view_look(&work->view, work->boot, work->config, &work->look_error);

    if (seen)
        daemon_fit_take(work->view.slots, &work->prints);
    if (done && !seen)
        work->error = work->look_error;
    work->failed = !done || !seen || !check_task(work);
    work->held = device_close(work->held);
}

static void submit(struct daemon *daemon, enum daemon_boot_task task, enum slot slot, struct device *held,
                   void (*then)(struct daemon *daemon, const struct error *error));

/* What was seen is what is shown from now on. Where nothing could be seen, that is. */
static void take_view(struct daemon *daemon, struct daemon_boot *work)
{
    const struct boot_state *before = &daemon->view.boot, *now = &work->view.boot;
    char why[sizeof(daemon->look_why)] = "";

    daemon->look_ms = daemon_now_ms();
    daemon->start_due = work->start;
    if (!work->view.slots)
        record_copy_text(why, sizeof(why), work->look_error.message);
    if (*why && strcmp(why, daemon->look_why) != 0)
        log_warning("%s", why);
    daemon->look_changed = strcmp(why, daemon->look_why) != 0;
    memcpy(daemon->look_why, why, sizeof(why));
    if (!work->view.slots)
        return;
    const char *name_why = work->view.slots->name_why, *old_why = daemon->view.slots->name_why;
    if (name_why && (!old_why || strcmp(name_why, old_why) != 0))
        log_warning("nothing is installed: %s", name_why);
    if (work->task == DAEMON_BOOT_LOOK && before->next != now->next)
        log_warning("another program changed the boot selection: slot %s boots next, and it was slot %s",
                    slot_name(now->next), slot_name(before->next));
    daemon_view_finish(&daemon->view);
    daemon->view = work->view;
    memset(&work->view, 0, sizeof(work->view));
}

static void boot_done(struct pool_job *job)
{
    struct daemon_boot *work = container_of(job, struct daemon_boot, job);
    struct daemon *daemon = container_of(work, struct daemon, boot_work);
    struct error error = work->error;
    bool failed = work->failed;

    work->busy = false;
    daemon_watch_jobs(daemon);
    take_view(daemon, work);
    /* A task that waited looks again when it is done, so nothing is lost. */
    if (work->next.waits)
        submit(daemon, work->next.task, work->next.slot, work->next.held, work->next.then);
    else
        work->then(daemon, failed ? &error : NULL);
    daemon_settle(daemon);
}

static void submit(struct daemon *daemon, enum daemon_boot_task task, enum slot slot, struct device *held,
                   void (*then)(struct daemon *daemon, const struct error *error))
{
    struct daemon_boot *work = &daemon->boot_work;

    *work = (struct daemon_boot){
        .job = {.run = boot_run, .done = boot_done},
        .busy = true,
        .then = then,
        .task = task,
        .slot = slot,
        .boot = daemon->boot,
        .config = daemon->fixed,
        .print_bytes = installer_view(daemon->installer)->progress.image_bytes,
        .held = held,
        .start = daemon->start_due,
    };
    if (daemon->unclassified)
        daemon_fit_ask(daemon, &work->prints);
    pool_submit(daemon->pool, &work->job);
    daemon_watch_jobs(daemon);
}

void daemon_boot_submit(struct daemon *daemon, enum daemon_boot_task task, enum slot slot,
                        struct device *held, void (*then)(struct daemon *daemon, const struct error *error))
{
    struct daemon_boot *work = &daemon->boot_work;

    if (!work->busy) {
        submit(daemon, task, slot, held, then);
        return;
    }
    assert(work->by_itself && !work->next.waits);
    work->next =
        (struct daemon_boot_next){.waits = true, .task = task, .slot = slot, .held = held, .then = then};
}

/* --- looking again, by itself --- */

void daemon_boot_note_view(struct daemon *daemon)
{
    const struct update *update = &daemon->update;
    enum slot running = daemon->view.running;
    bool pending = update->state == UPDATE_STATE_REBOOT_PENDING ||
                   (update->state == UPDATE_STATE_CHECKING && update->rest == UPDATE_STATE_REBOOT_PENDING);

    if (*daemon->look_why)
        return;
    if (daemon->unclassified && running != SLOT_NONE) {
        log_notice("which slot runs is known now: slot %s (%s)", slot_name(running), daemon->view.slots->why);
        if (update->state != UPDATE_STATE_CHECKING)
            poller_note(daemon->poller, SCHEDULE_RESULT_STARTED, 0, ERROR_NONE);
        /* As at a start in time: what is to boot next may be given up by that. */
        daemon_fit_judge(daemon, &daemon->boot_work.prints);
        daemon_trial_classify(daemon);
    } else if (pending && !update->falling_back && update->errand == UPDATE_ERRAND_NONE &&
               running != SLOT_NONE && daemon->view.boot.next != slot_other(running)) {
        /* While the running slot is not found, nothing is known of the other one. */
        daemon_trial_note_disarmed(daemon);
    }
}

static void on_looked_again(struct daemon *daemon, const struct error *error)
{
    daemon_boot_note_view(daemon);
    if (daemon->update.state == UPDATE_STATE_REBOOT_PENDING && daemon->look_changed)
        daemon_judge_reboot(daemon);
    daemon_report_publish(daemon, false);
    daemon_boot_plan_look(daemon);
}

void daemon_boot_look_again(struct daemon *daemon)
{
    enum update_state state = daemon->update.state;
    bool resting =
        state == UPDATE_STATE_IDLE || state == UPDATE_STATE_HELD || state == UPDATE_STATE_REBOOT_PENDING;

    /* A clone stands on the view as it is. */
    if (daemon->boot_work.busy || installer_is_running(daemon->installer) || !resting ||
        daemon->update.errand != UPDATE_ERRAND_NONE)
        return;
    submit(daemon, DAEMON_BOOT_LOOK, SLOT_NONE, NULL, on_looked_again);
    daemon->boot_work.by_itself = true;
}

void daemon_boot_look_if_asked(struct daemon *daemon)
{
    if (daemon->update.state == UPDATE_STATE_REBOOT_PENDING &&
        daemon_now_ms() - daemon->look_ms >= ASKED_WAIT_MS)
        daemon_boot_look_again(daemon);
}

void daemon_boot_plan_look(struct daemon *daemon)
{
    bool pending = daemon->update.state == UPDATE_STATE_REBOOT_PENDING;

    if ((!daemon->unclassified && !pending) || evtimer_pending(daemon->look_timer, NULL))
        return;
    uint64_t wait_ms = daemon->look_wait_ms * 2;
    wait_ms = wait_ms < LATE_WAIT_MIN_MS   ? LATE_WAIT_MIN_MS
              : wait_ms > LATE_WAIT_MAX_MS ? LATE_WAIT_MAX_MS
                                           : wait_ms;
    if (daemon->unclassified)
        daemon->look_wait_ms = wait_ms;
    daemon_arm_timer(daemon->look_timer, daemon->unclassified ? wait_ms : PENDING_WAIT_MS);
}

void daemon_boot_on_look_timer(evutil_socket_t fd, short events, void *owner)
{
    struct daemon *daemon = owner;

    daemon_boot_look_again(daemon);
    if (!daemon->boot_work.busy)
        daemon_boot_plan_look(daemon);
}

const char *daemon_boot_argument(const struct daemon *daemon)
{
    const struct boot_state *boot = &daemon->view.boot;

    /* Not for a slot whose trial is over. */
    return boot->trial != SLOT_NONE && boot->trial == boot->next
               ? boot_get_abilities(daemon->boot)->reboot_argument
               : NULL;
}

bool daemon_boot_other_is_next(const struct daemon *daemon)
{
    enum slot running = daemon->view.running;

    return running != SLOT_NONE && daemon->view.boot.next == slot_other(running);
}

enum boot_health daemon_slot_health(const struct daemon *daemon, enum slot slot)
{
    return record_slot_health(daemon->record, &daemon->view.boot, daemon->view.running, slot);
}
