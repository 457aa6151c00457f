/* SPDX-License-Identifier: MIT */
#include "daemon/host/slots_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "daemon/host/slot_name.h"

/* What one way of finding the root file system says of the slots. */
enum verdict {
    VERDICT_UNKNOWN, /* this way leads nowhere */
    VERDICT_A,
    VERDICT_B,
    VERDICT_BOTH,
    VERDICT_NEITHER,
};

const char *slot_name(enum slot slot)
{
    switch (slot) {
    case SLOT_NONE:
        return "none";
    case SLOT_A:
        return "a";
    case SLOT_B:
        return "b";
    }
    return "none";
}

enum slot slot_other(enum slot slot)
{
    return slot == SLOT_A ? SLOT_B : slot == SLOT_B ? SLOT_A : SLOT_NONE;
}

int slot_parse(const char *text, enum slot *ret_slot)
{
    if (strcasecmp(text, "a") == 0)
        *ret_slot = SLOT_A;
    else if (strcasecmp(text, "b") == 0)
        *ret_slot = SLOT_B;
    else
        return -EINVAL;
    return 0;
}

static enum verdict judge(const struct slots *slots, const struct root_device *device)
{
    bool a = storage_set_has(&device->below, &slots->devices[SLOT_A]);
    bool b = storage_set_has(&device->below, &slots->devices[SLOT_B]);

    if (!device->found)
        return VERDICT_UNKNOWN;
    return a && b ? VERDICT_BOTH : a ? VERDICT_A : b ? VERDICT_B : VERDICT_NEITHER;
}

static const char *verdict_text(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_UNKNOWN:
        return "unknown";
    case VERDICT_A:
        return "slot a";
    case VERDICT_B:
        return "slot b";
    case VERDICT_BOTH:
        return "both slots";
    case VERDICT_NEITHER:
        return "neither slot";
    }
    return "unknown";
}

/* Decides by the two ways and the hint on the command line; if they disagree, nothing is guessed. */
static enum slot decide(const struct root_device *cmdline, enum verdict by_cmdline,
                        const struct root_device *mounts, enum verdict by_mounts, enum slot hint,
                        char *ret_why, size_t size)
{
    enum verdict verdict = by_cmdline != VERDICT_UNKNOWN ? by_cmdline : by_mounts;

    if (by_cmdline != VERDICT_UNKNOWN && by_mounts != VERDICT_UNKNOWN && by_cmdline != by_mounts) {
        snprintf(ret_why, size,
                 "the kernel's command line (%s) means %s, but / is mounted from %s, which means %s",
                 cmdline->what, verdict_text(by_cmdline), mounts->what, verdict_text(by_mounts));
        return SLOT_NONE;
    }
    const char *what = by_mounts != VERDICT_UNKNOWN ? mounts->what : cmdline->what;
    enum slot slot = verdict == VERDICT_A ? SLOT_A : verdict == VERDICT_B ? SLOT_B : SLOT_NONE;
    if (verdict == VERDICT_UNKNOWN && hint == SLOT_NONE)
        snprintf(ret_why, size, "the running slot cannot be determined: %s; %s", cmdline->what, mounts->what);
    else if (verdict == VERDICT_UNKNOWN)
        snprintf(ret_why, size, "the kernel's command line names slot %s", slot_name(hint));
    else if (verdict == VERDICT_BOTH)
        snprintf(ret_why, size, "this system runs from %s, which stands on both slots", what);
    else if (verdict == VERDICT_NEITHER)
        snprintf(ret_why, size,
                 "this system runs from %s, which is neither slot (recovery, or wrong A= and B=)", what);
    else if (hint != SLOT_NONE && hint != slot)
        snprintf(ret_why, size,
                 "the kernel's command line names slot %s, but this system runs from %s, which is slot %s",
                 slot_name(hint), what, slot_name(slot));
    else
        snprintf(ret_why, size, "this system runs from %s%s", what,
                 by_cmdline == by_mounts ? ", as the kernel's command line says" : "");
    if (verdict == VERDICT_UNKNOWN)
        return hint;
    return hint != SLOT_NONE && hint != slot ? SLOT_NONE : slot;
}

bool slots_shares_storage(const struct root_device *device, const char *root, const struct storage *place)
{
    for (size_t i = 0; i < device->on.count; i++)
        if (storage_overlaps(root, &device->on.items[i], place))
            return true;
    return false;
}

static void find_running(struct slots *slots, const char *root, enum slot selected)
{
    struct root_device cmdline = {0}, mounts = {0};

    root_device_by_cmdline(root, &cmdline);
    root_device_by_mounts(root, &mounts);
    enum verdict by_cmdline = judge(slots, &cmdline), by_mounts = judge(slots, &mounts);
    if (selected == SLOT_NONE) {
        slots->running = decide(&cmdline, by_cmdline, &mounts, by_mounts, root_device_slot_hint(root),
                                slots->why, sizeof(slots->why));
    } else {
        slots->running = selected;
        snprintf(slots->why, sizeof(slots->why), "the boot selection runs slot %s", slot_name(selected));
    }
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        enum verdict mine = i == SLOT_A ? VERDICT_A : VERDICT_B;
        slots->is_root[i] = by_cmdline == mine || by_mounts == mine || by_cmdline == VERDICT_BOTH ||
                            by_mounts == VERDICT_BOTH ||
                            slots_shares_storage(&cmdline, root, &slots->devices[i]) ||
                            slots_shares_storage(&mounts, root, &slots->devices[i]);
    }
    for (size_t i = 0; i < mounts.below.count; i++)
        storage_set_add(&slots->in_use, root, &mounts.below.items[i]);
    for (size_t i = 0; i < cmdline.below.count; i++)
        storage_set_add(&slots->in_use, root, &cmdline.below.items[i]);
    if (slots->running != SLOT_NONE)
        storage_set_add(&slots->in_use, root, &slots->devices[slots->running]);
    slots_note_parts_in_use(slots, root, &cmdline, &mounts);
    root_device_finish(&cmdline);
    root_device_finish(&mounts);
}

void slots_judge_name(struct slots *slots, const struct slots_request *request, const char *root,
                      const char *what, const char *name)
{
    CLEANUP_FREE char *objection = slot_name_find_objection(root, name, request->names_by_content);
    char *before = slots->name_why;

    if (!objection)
        return;
    slots->name_why = alloc_printf("%s%s%s: %s", before ? before : "", before ? "; " : "", what, objection);
    free(before);
}

static bool find_devices(struct slots *slots, const struct slots_request *request, const char *root,
                         struct error *error)
{
    for (int i = SLOT_A; i <= SLOT_B; i++)
        if (!storage_find(root, request->names[i], &slots->devices[i], error))
            return error_prefix(error, "slot %s", slot_name((enum slot)i));
    return true;
}

bool slots_find(const struct slots_request *request, struct slots **ret_slots, struct error *error)
{
    const char *root = request->root ? request->root : "";
    struct slots *slots = alloc_zeroed(sizeof(*slots));

    if (!find_devices(slots, request, root, error) || !slots_find_parts(slots, request, root, error) ||
        !slots_check_distinct(slots, request, root, error)) {
        slots_free(slots);
        return false;
    }
    find_running(slots, root, request->selected);
    if (request->judge_names) {
        slots_judge_name(slots, request, root, "slot a", request->names[SLOT_A]);
        slots_judge_name(slots, request, root, "slot b", request->names[SLOT_B]);
        slots_judge_part_names(slots, request, root);
        slots_look_at_places(slots, request, root);
    }
    *ret_slots = slots;
    return true;
}

struct slots *slots_free(struct slots *slots)
{
    if (!slots)
        return NULL;
    storage_finish(&slots->devices[SLOT_A]);
    storage_finish(&slots->devices[SLOT_B]);
    for (unsigned i = 0; i < slots->part_count; i++)
        for (int slot = SLOT_A; slot <= SLOT_B; slot++) {
            storage_finish(&slots->parts[i].devices[slot]);
            file_place_finish(&slots->parts[i].files[slot]);
        }
    storage_set_finish(&slots->in_use);
    free(slots->name_why);
    free(slots->parts_why);
    free(slots);
    return NULL;
}
