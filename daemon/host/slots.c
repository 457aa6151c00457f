/* SPDX-License-Identifier: MIT */
#include "daemon/host/slots.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "daemon/host/root_device.h"
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

/* Neither slot may be, or lie on, the other, nor may both lie on the same. */
static bool check_distinct(const struct slots *slots, const struct slots_request *request, const char *root,
                           struct error *error)
{
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        struct storage_set below = {0};
        const struct storage *other = &slots->devices[slot_other((enum slot)i)];
        storage_set_add(&below, root, &slots->devices[i]);
        bool shared = storage_set_has(&below, other) || storage_overlaps(root, &slots->devices[i], other);
        storage_set_finish(&below);
        if (shared)
            return error_set(error, ERROR_REFUSED, "A=%s and B=%s in [Slots] are the same storage (%s)",
                             request->names[SLOT_A], request->names[SLOT_B], other->path);
    }
    return true;
}

static bool shares_storage(const struct root_device *device, const char *root, const struct storage *slot)
{
    for (size_t i = 0; i < device->on.count; i++)
        if (storage_overlaps(root, &device->on.items[i], slot))
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
                            by_mounts == VERDICT_BOTH || shares_storage(&cmdline, root, &slots->devices[i]) ||
                            shares_storage(&mounts, root, &slots->devices[i]);
    }
    for (size_t i = 0; i < mounts.below.count; i++)
        storage_set_add(&slots->in_use, root, &mounts.below.items[i]);
    for (size_t i = 0; i < cmdline.below.count; i++)
        storage_set_add(&slots->in_use, root, &cmdline.below.items[i]);
    if (slots->running != SLOT_NONE)
        storage_set_add(&slots->in_use, root, &slots->devices[slots->running]);
    root_device_finish(&cmdline);
    root_device_finish(&mounts);
}

static void judge_names(struct slots *slots, const struct slots_request *request, const char *root)
{
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        CLEANUP_FREE char *objection =
            slot_name_find_objection(root, request->names[i], request->names_by_content);
        if (!objection)
            continue;
        char *before = slots->name_why;
        slots->name_why = alloc_printf("%s%sslot %s: %s", before ? before : "", before ? "; " : "",
                                       slot_name((enum slot)i), objection);
        free(before);
    }
}

bool slots_find(const struct slots_request *request, struct slots **ret_slots, struct error *error)
{
    const char *root = request->root ? request->root : "";
    struct slots *slots = alloc_zeroed(sizeof(*slots));

    for (int i = SLOT_A; i <= SLOT_B; i++)
        if (!storage_find(root, request->names[i], &slots->devices[i], error)) {
            slots_free(slots);
            return error_prefix(error, "slot %s", slot_name((enum slot)i));
        }
    if (!check_distinct(slots, request, root, error)) {
        slots_free(slots);
        return false;
    }
    find_running(slots, root, request->selected);
    if (request->judge_names)
        judge_names(slots, request, root);
    *ret_slots = slots;
    return true;
}

struct slots *slots_free(struct slots *slots)
{
    if (!slots)
        return NULL;
    storage_finish(&slots->devices[SLOT_A]);
    storage_finish(&slots->devices[SLOT_B]);
    storage_set_finish(&slots->in_use);
    free(slots->name_why);
    free(slots);
    return NULL;
}

const struct storage *slots_find_place(const struct slots *slots, const char *name, enum slot slot)
{
    if (strcmp(name, MANIFEST_MAIN_NAME) == 0)
        return &slots->devices[slot];
    for (unsigned i = 0; i < slots->part_count; i++)
        if (strcmp(slots->parts[i].name, name) == 0)
            return &slots->parts[i].devices[slot];
    return NULL;
}

enum slot slots_target(const struct slots *slots)
{
    return slot_other(slots->running);
}

bool slots_target_check(const struct slots *slots, enum slot target, struct error *error)
{
    const struct storage *device = &slots->devices[target];

    if (slots->name_why)
        return error_set(error, ERROR_REFUSED, "%s", slots->name_why);
    if (slots->running == SLOT_NONE)
        return error_set(error, ERROR_REFUSED, "nothing is written while the running slot is not known: %s",
                         slots->why);
    if (target == slots->running)
        return error_set(error, ERROR_REFUSED, "slot %s (%s) is running and is never written",
                         slot_name(target), device->path);
    if (slots->is_root[target] || storage_set_has(&slots->in_use, device))
        return error_set(error, ERROR_REFUSED,
                         "slot %s (%s) holds this machine's root file system and is never written",
                         slot_name(target), device->path);
    if (!device->present && text_has_prefix(device->path, "/dev/"))
        return error_set(error, ERROR_REFUSED,
                         "slot %s (%s) is not there; make the partition, or correct [Slots]",
                         slot_name(target), device->path);
    return true;
}

bool slots_target_check_opened(const struct slots *slots, enum slot target, int fd, struct error *error)
{
    const struct storage *device = &slots->devices[target];
    struct storage opened;

    if (!slots_target_check(slots, target, error))
        return false;
    int result = storage_find_fd(fd, &opened);
    if (result < 0)
        return error_set_errno(error, result, "cannot look at the opened slot %s (%s)", slot_name(target),
                               device->path);
    if (storage_set_has(&slots->in_use, &opened))
        return error_set(error, ERROR_REFUSED,
                         "slot %s (%s) turned out to be the running system when it was opened",
                         slot_name(target), device->path);
    if (device->present && !storage_equal(device, &opened))
        return error_set(error, ERROR_REFUSED,
                         "slot %s (%s) became another device or file while it was opened", slot_name(target),
                         device->path);
    return true;
}

bool slots_target_check_part(const struct slots *slots, enum slot target, const char *name, int fd,
                             struct error *error)
{
    const struct storage *place = slots_find_place(slots, name, target);
    struct storage opened;

    if (strcmp(name, MANIFEST_MAIN_NAME) == 0)
        return slots_target_check_opened(slots, target, fd, error);
    if (!slots_target_check(slots, target, error))
        return false;
    int result = storage_find_fd(fd, &opened);
    if (result < 0)
        return error_set_errno(error, result, "cannot look at the opened part %s (%s)", name, place->path);
    if (place->present && !storage_equal(place, &opened))
        return error_set(error, ERROR_REFUSED,
                         "the part %s (%s) became another device or file while it was opened", name,
                         place->path);
    return true;
}
