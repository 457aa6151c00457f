/* Looking at the slots, and the job that does every write of boot state: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/container.h"
#include "daemon/boot/kernel_modules.h"
#include "daemon/state_folder.h"

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
    case DAEMON_BOOT_CHECK_SLOT:
        return true;
    case DAEMON_BOOT_INVALIDATE:
        return boot_invalidate(work->boot, work->slot, error);
    case DAEMON_BOOT_ARM:
        return check_held(work) && check_kernel(work) && boot_arm(work->boot, work->slot, error);
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

const char *daemon_boot_argument(const struct daemon *daemon)
{
    const struct boot_state *boot = &daemon->view.boot;

    /* Not for a slot whose trial is over. */
    return boot->trial != SLOT_NONE && boot->trial == boot->next
               ? boot_get_abilities(daemon->boot)->reboot_argument
               : NULL;
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
