/* SPDX-License-Identifier: MIT */
/*
 * The `file` backend: plays a boot loader, with its state in one small JSON file, for slots that no real
 * loader boots. boot_start() does what a loader with trials and tries does at a start. The file is
 * replaced atomically and read back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "daemon/boot/boot.h"

enum {
    SELECTION_FORMAT = 1,
    SELECTION_FILE_MAX = 4096, /* bytes; what is written here has some 150 */
    TRIES_MAX = 9,             /* as the settings allow */
};

struct file_backend {
    char *path;
    unsigned tries; /* of a new trial */
    bool doubtful;  /* a write failed, so what is read may be in the page cache only */
};

/* What the file says. */
struct selection {
    enum slot running;
    enum slot selected; /* runs if there is no trial, or no try left */
    enum slot trial;
    unsigned tries_left;
    enum boot_health health[SLOT_COUNT];
};

static bool file_open(struct boot *boot, const struct config *config, struct error *error)
{
    struct file_backend *backend = alloc_zeroed(sizeof(*backend));

    backend->path = alloc_printf("%s%s", boot->root, config->selection_file);
    backend->tries = config->tries;
    boot->private = backend;
    struct boot_state state;
    return boot->backend->read(boot, &state, error);
}

static void file_close(struct boot *boot)
{
    struct file_backend *backend = boot->private;

    free(backend->path);
    free(backend);
}

static bool get_slot(struct json_object *object, const char *name, bool optional, enum slot *ret_slot)
{
    const char *text;

    switch (json_get_string(object, name, &text)) {
    case JSON_MEMBER_ABSENT:
        *ret_slot = SLOT_NONE;
        return optional;
    case JSON_MEMBER_OK:
        return slot_parse(text, ret_slot) == 0;
    case JSON_MEMBER_BAD:
        return false;
    }
    return false;
}

static bool get_health(struct json_object *slots, enum slot slot, enum boot_health *ret_health)
{
    const char *text;

    if (json_get_string(slots, slot_name(slot), &text) != JSON_MEMBER_OK)
        return false;
    for (int health = BOOT_HEALTH_UNKNOWN; health <= BOOT_HEALTH_INVALID; health++)
        if (strcmp(text, boot_health_name((enum boot_health)health)) == 0) {
            *ret_health = (enum boot_health)health;
            return true;
        }
    return false;
}

static bool selection_parse(struct json_object *object, struct selection *ret_selection)
{
    struct selection selection;
    struct json_object *slots;
    uint64_t format, tries_left;

    if (json_get_u64(object, "format", SELECTION_FORMAT, &format) != JSON_MEMBER_OK ||
        format != SELECTION_FORMAT || !get_slot(object, "running", false, &selection.running) ||
        !get_slot(object, "selected", false, &selection.selected) ||
        !get_slot(object, "trial", true, &selection.trial) ||
        json_get_u64(object, "tries_left", TRIES_MAX, &tries_left) != JSON_MEMBER_OK ||
        json_get_object(object, "slots", &slots) != JSON_MEMBER_OK ||
        !get_health(slots, SLOT_A, &selection.health[SLOT_A]) ||
        !get_health(slots, SLOT_B, &selection.health[SLOT_B]) || selection.trial == selection.selected)
        return false;
    selection.tries_left = (unsigned)tries_left;
    *ret_selection = selection;
    return true;
}

static bool selection_read(const struct file_backend *backend, struct selection *ret_selection,
                           struct error *error)
{
    CLEANUP_FREE char *text = NULL;
    CLEANUP_JSON struct json_object *object = NULL;
    struct error cause = {0};
    size_t size;

    if (!file_read(backend->path, SELECTION_FILE_MAX, &text, &size, &cause)) {
        if (cause.code != ENOENT)
            return error_set(error, cause.kind, "%s", cause.message);
        /* Without a file slot A runs and is not known to be bad. */
        *ret_selection = (struct selection){.running = SLOT_A,
                                            .selected = SLOT_A,
                                            .trial = SLOT_NONE,
                                            .health = {[SLOT_A] = BOOT_HEALTH_GOOD}};
        return true;
    }
    if (!json_parse_object(text, size, backend->path, &object, &cause) ||
        !selection_parse(object, ret_selection))
        return error_set(error, ERROR_FORMAT,
                         "%s cannot be understood; if slot a is the right one to run, remove the file%s%s",
                         backend->path, *cause.message ? ": " : "", cause.message);
    return true;
}

static char *selection_format(const struct selection *selection)
{
    CLEANUP_JSON struct json_object *object = json_object_new_object();
    struct json_object *slots = json_object_new_object();

    json_add_u64(object, "format", SELECTION_FORMAT);
    json_add_string(object, "running", slot_name(selection->running));
    json_add_string(object, "selected", slot_name(selection->selected));
    json_add_string(object, "trial", selection->trial == SLOT_NONE ? NULL : slot_name(selection->trial));
    json_add_u64(object, "tries_left", selection->tries_left);
    json_object_object_add(object, "slots", slots);
    json_add_string(slots, "a", boot_health_name(selection->health[SLOT_A]));
    json_add_string(slots, "b", boot_health_name(selection->health[SLOT_B]));
    return alloc_printf("%s\n", json_to_text(object));
}

static bool file_holds(const char *path, const char *text, struct error *error)
{
    CLEANUP_FREE char *found = NULL;
    size_t size;

    return file_read(path, SELECTION_FILE_MAX, &found, &size, error) &&
           ((size == strlen(text) && memcmp(found, text, size) == 0) ||
            error_set(error, ERROR_SYSTEM, "%s does not hold what was just written to it", path));
}

/* Writes only if something changes, so that repeated calls do not wear the medium. */
static bool selection_change(struct file_backend *backend, const struct selection *selection,
                             struct error *error)
{
    CLEANUP_FREE char *text = selection_format(selection);

    if (!backend->doubtful && file_holds(backend->path, text, NULL))
        return true;
    backend->doubtful = !file_make_parent(backend->path, error) ||
                        !file_replace(backend->path, text, strlen(text), 0644, error) ||
                        !file_holds(backend->path, text, error);
    return !backend->doubtful;
}

/* Whether a slot must not be the only one left to run. */
static bool is_unfit(enum boot_health health)
{
    return health == BOOT_HEALTH_BAD || health == BOOT_HEALTH_INVALID;
}

static bool file_start(struct boot *boot, struct error *error)
{
    struct file_backend *backend = boot->private;
    struct selection selection;

    if (!selection_read(backend, &selection, error))
        return false;
    selection.running = selection.selected;
    if (selection.trial != SLOT_NONE && selection.tries_left) {
        selection.tries_left--;
        selection.running = selection.trial;
    } else if (selection.trial != SLOT_NONE) {
        selection.health[selection.trial] = BOOT_HEALTH_BAD;
        selection.trial = SLOT_NONE;
    }
    return selection_change(backend, &selection, error);
}

static bool file_read_state(struct boot *boot, struct boot_state *ret_state, struct error *error)
{
    struct selection selection;

    if (!selection_read(boot->private, &selection, error))
        return false;
    *ret_state = (struct boot_state){
        .running = selection.running,
        .started = SLOT_NONE,
        .next = selection.trial != SLOT_NONE && selection.tries_left ? selection.trial : selection.selected,
        .trial = selection.trial,
        .tries_left = selection.tries_left,
        .health = {selection.health[SLOT_A], selection.health[SLOT_B]},
    };
    return true;
}

static void end_trial_of(struct selection *selection, enum slot slot)
{
    if (selection->trial != slot)
        return;
    selection->trial = SLOT_NONE;
    selection->tries_left = 0;
}

static bool file_invalidate(struct boot *boot, enum slot slot, struct error *error)
{
    struct selection selection;

    if (!selection_read(boot->private, &selection, error))
        return false;
    if (slot == selection.running)
        return error_set(error, ERROR_REFUSED, "slot %s is running and cannot be given up", slot_name(slot));
    if (selection.trial == selection.running)
        return error_set(
            error, ERROR_REFUSED,
            "slot %s runs on trial, so slot %s is needed to fall back to; mark slot %s good or bad first",
            slot_name(selection.running), slot_name(slot), slot_name(selection.running));
    if (is_unfit(selection.health[selection.running]))
        return error_set(error, ERROR_REFUSED, "slot %s is marked bad, so slot %s is needed to run next",
                         slot_name(selection.running), slot_name(slot));
    end_trial_of(&selection, slot);
    selection.selected = slot_other(slot);
    selection.health[slot] = BOOT_HEALTH_INVALID;
    return selection_change(boot->private, &selection, error);
}

static bool file_arm(struct boot *boot, enum slot slot, struct error *error)
{
    struct file_backend *backend = boot->private;
    struct selection selection;

    if (!selection_read(backend, &selection, error))
        return false;
    if (slot == selection.running)
        return error_set(error, ERROR_REFUSED, "slot %s is running already", slot_name(slot));
    if (selection.selected ==
        slot) /* selected already, since the other slot was rejected: known to be good */
        return selection_change(backend, &selection, error);
    selection.selected = slot_other(slot);
    selection.trial = slot;
    selection.tries_left = backend->tries;
    selection.health[slot] = BOOT_HEALTH_TRIAL;
    return selection_change(backend, &selection, error);
}

static bool file_good(struct boot *boot, enum slot slot, struct error *error)
{
    struct selection selection;

    if (!selection_read(boot->private, &selection, error))
        return false;
    if (slot != selection.running)
        return error_set(error, ERROR_REFUSED, "slot %s does not run, so it cannot be marked good",
                         slot_name(slot));
    end_trial_of(&selection, slot);
    selection.selected = slot;
    selection.health[slot] = BOOT_HEALTH_GOOD;
    return selection_change(boot->private, &selection, error);
}

static bool file_reject(struct boot *boot, enum slot slot, struct error *error)
{
    struct selection selection;

    if (!selection_read(boot->private, &selection, error))
        return false;
    if (selection.health[slot_other(slot)] != BOOT_HEALTH_GOOD)
        return error_set(error, ERROR_REFUSED,
                         "slot %s is not known to be good, so slot %s cannot be rejected",
                         slot_name(slot_other(slot)), slot_name(slot));
    end_trial_of(&selection, slot);
    selection.selected = slot_other(slot);
    selection.health[slot] = BOOT_HEALTH_BAD;
    return selection_change(boot->private, &selection, error);
}

const struct boot_backend boot_backend_file = {
    .abilities = {.trial = true, .tries = true, .in_place_reboot = true},
    .open = file_open,
    .close = file_close,
    .start = file_start,
    .read = file_read_state,
    .invalidate = file_invalidate,
    .arm = file_arm,
    .good = file_good,
    .reject = file_reject,
};
