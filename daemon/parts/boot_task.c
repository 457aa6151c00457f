/* SPDX-License-Identifier: MIT */
#include "daemon/parts/boot_task.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "daemon/boot/kernel_modules.h"
#include "daemon/host/machine_id.h"
#include "daemon/host/state_folder.h"

void boot_view_finish(struct boot_view *view)
{
    slots_free(view->slots);
    free(view->loader_why);
    free(view->storage_why);
    memset(view, 0, sizeof(*view));
}

/* Only a partition limits the image, as a file grows. Asking for the size does not read the partition. */
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

bool boot_view_look(struct boot_view *ret_view, struct boot *boot, const struct config *config,
                    struct error *error)
{
    struct boot_view seen = {0};

    if (!boot_read(boot, &seen.boot, error))
        return false;
    struct slots_request request = {
        .names = {config->slot_names[SLOT_A], config->slot_names[SLOT_B]},
        .parts = config->parts,
        .part_count = config->part_count,
        .selected = seen.boot.running,
        .judge_names = true,
        .names_by_content = config->backend == CONFIG_BACKEND_FILE,
    };
    if (!slots_find(&request, &seen.slots, error))
        return false;
    slots_note_started(seen.slots, seen.boot.started);
    seen.running = seen.slots->running;
    seen.slot_bytes = find_slot_bytes(seen.slots);
    machine_id_read(seen.machine_id, seen.machine_id_why, sizeof(seen.machine_id_why));
    enum slot target = slots_target(seen.slots);
    struct error why;
    if (target != SLOT_NONE && !boot_can_arm(boot, target, &why))
        seen.loader_why = alloc_string(why.message);
    /* With the `file` backend the machine does not boot from its slots. */
    if (config->backend != CONFIG_BACKEND_FILE)
        seen.storage_why = state_folder_find_objection(config->state_directory, seen.slots);
    *ret_view = seen;
    return true;
}

/* A slot's name may lead elsewhere by now. What is armed has to be the very device or file that was written
 * and read back, which is still open. */
static bool check_held_target(struct boot_task *task, const struct slots *slots, const struct target *target)
{
    const struct storage *place = slots_find_place(slots, target->name, task->slot);
    struct storage held;

    if (place && storage_find_fd(device_descriptor(target->device), &held) == 0 &&
        storage_equal(place, &held))
        return true;
    return error_set(
        &task->error, ERROR_SYSTEM,
        "slot %s is not armed: %s (%s) is another device or file than the one that was written and "
        "verified",
        slot_name(task->slot), target->name, place ? place->path : "no place");
}

static bool check_held(struct boot_task *task)
{
    struct boot_view view;

    if (!boot_view_look(&view, task->boot, task->config, &task->error))
        return false;
    bool fits = slots_target_check(view.slots, task->slot, &task->error);
    for (unsigned i = 0; fits && i < task->held->count; i++)
        fits = check_held_target(task, view.slots, &task->held->list[i]);
    boot_view_finish(&view);
    return fits;
}

/* What runs with the parts of the other slot is not the release that was armed, so it is no good one either.
 */
static bool check_parts(struct boot_task *task)
{
    struct boot_view view;

    if (task->config->part_count == 0)
        return true;
    if (!boot_view_look(&view, task->boot, task->config, &task->error))
        return false;
    bool fits =
        !view.slots->parts_why || error_set(&task->error, ERROR_REFUSED, "slot %s is not marked good: %s",
                                            slot_name(task->slot), view.slots->parts_why);
    boot_view_finish(&view);
    return fits;
}

/* A kernel that does not come with the update has to find its modules in the new image. */
static bool check_kernel(struct boot_task *task)
{
    const struct target *main_image = targets_find(task->held, MANIFEST_MAIN_NAME);

    return boot_get_abilities(task->boot)->kernel != BOOT_KERNEL_SHARED ||
           kernel_modules_check(task->boot->root, device_descriptor(main_image->device), &task->error);
}

static void take_armed_prints(struct boot_task *task)
{
    for (unsigned i = 0; i < task->held->count; i++) {
        const struct target *target = &task->held->list[i];
        struct boot_print *print = &task->armed.list[task->armed.count++];
        memcpy(print->name, target->name, sizeof(print->name));
        print->bytes = target->image_bytes;
        print->is_taken = slot_print_take(target->device, print->bytes, &print->seen);
    }
}

static bool run(struct boot_task *task)
{
    struct error *error = &task->error;

    switch (task->kind) {
    case BOOT_TASK_LOOK:
    case BOOT_TASK_CHECK_RUNNING:
    case BOOT_TASK_CHECK_SLOT:
        return true;
    case BOOT_TASK_INVALIDATE:
        return boot_invalidate(task->boot, task->slot, error);
    case BOOT_TASK_ARM:
        if (!check_held(task) || !check_kernel(task))
            return false;
        take_armed_prints(task);
        return boot_arm(task->boot, task->slot, error);
    case BOOT_TASK_GOOD:
        return check_parts(task) && boot_good(task->boot, task->slot, error);
    case BOOT_TASK_REJECT:
        return boot_reject(task->boot, task->slot, error);
    case BOOT_TASK_START:
        return boot_start(task->boot, error);
    }
    return false;
}

/* Checks that what was done shows in what the loader would read. */
static bool check(struct boot_task *task)
{
    const struct boot_state *boot = &task->view.boot;
    bool fits = true;

    switch (task->kind) {
    case BOOT_TASK_LOOK:
    case BOOT_TASK_START:
        break;
    case BOOT_TASK_CHECK_RUNNING:
    case BOOT_TASK_CHECK_SLOT:
        if (slots_target(task->view.slots) == SLOT_NONE)
            return error_set(&task->error, ERROR_REFUSED, "which slot runs cannot be determined: %s",
                             task->view.slots->why);
        return task->kind == BOOT_TASK_CHECK_RUNNING ||
               slots_target_check(task->view.slots, slots_target(task->view.slots), &task->error);
    case BOOT_TASK_ARM:
        fits = boot->next == task->slot;
        break;
    case BOOT_TASK_GOOD:
        fits = boot->next == task->slot && boot->trial != task->slot;
        break;
    case BOOT_TASK_INVALIDATE:
        /* The image will be written to the slot that does not run now; that has to be the one that was given
         * up. */
        if (slots_target(task->view.slots) != task->slot)
            return error_set(&task->error, ERROR_SYSTEM,
                             "slot %s was given up, and now another slot runs than before: %s",
                             slot_name(task->slot), task->view.slots->why);
        fits = boot->next != task->slot;
        break;
    case BOOT_TASK_REJECT:
        fits = boot->next != task->slot;
        break;
    }
    return fits ||
           error_set(&task->error, ERROR_SYSTEM,
                     "the boot selection was written, but reading it back says that slot %s boots next",
                     slot_name(boot->next));
}

void boot_prints_take(const struct slots *slots, struct boot_prints *prints)
{
    for (int i = 0; i < SLOT_COUNT; i++)
        for (unsigned k = 0; k < prints->count[i]; k++) {
            struct boot_print *print = &prints->list[i][k];
            const struct storage *place = slots_find_place(slots, print->name, (enum slot)i);
            if (print->bytes && place && place->present)
                print->is_taken = slot_print_take_path(place->path, print->bytes, &print->seen);
        }
}

void boot_task_run(struct boot_task *task)
{
    bool done = run(task);
    if (task->start && task->kind == BOOT_TASK_LOOK)
        task->start = !boot_start(task->boot, NULL);
    bool seen = boot_view_look(&task->view, task->boot, task->config, &task->look_error);

    if (seen)
        boot_prints_take(task->view.slots, &task->prints);
    if (done && !seen)
        task->error = task->look_error;
    task->failed = !done || !seen || !check(task);
    task->held = targets_close(task->held);
}
