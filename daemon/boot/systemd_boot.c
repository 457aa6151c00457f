/* SPDX-License-Identifier: MIT */
/*
 * The `systemd-boot` backend: one loader entry for each slot, and two EFI variables. The loader starts
 * LoaderEntryDefault; LoaderEntryOneShot, which it removes before it uses it, comes first, so a trial is
 * one start and whatever ends it leads back. To keep a slot is to write its entry into LoaderEntryDefault.
 * Nothing on the EFI system partition is changed, because a rename, as boot counting by file names needs
 * it, is not safe on Linux's vfat. Entries with counters (NAME+LEFT-DONE.conf) are understood all the
 * same, and are written as a pattern that fits whatever their counters are.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "daemon/boot/boot.h"
#include "daemon/boot/efi_variable.h"
#include "daemon/boot/entry_parts.h"
#include "daemon/boot/loader_entries.h"
#include "daemon/boot/trial_file.h"

#define LOADER_VARIABLE(name) name "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

enum { FEATURE_ONE_SHOT = 1 << 3 /* of LoaderFeatures */ };

struct systemd_backend {
    struct loader_entries entries;
    struct entry_parts parts;
    char *default_path, *one_shot_path, *selected_path, *info_path, *features_path;
    char *trial_file;
    const struct boot *boot; /* whose it is */
};

struct systemd_state {
    enum slot selected; /* what the loader started last; SLOT_NONE = not known, or neither */
    enum slot usual;    /* LoaderEntryDefault; SLOT_NONE = not known, or neither */
    enum slot one_shot;
    enum slot marked; /* on trial, by the trial file */
    bool has_default, has_one_shot;
};

static bool state_read(const struct systemd_backend *backend, struct systemd_state *ret_state,
                       struct error *error)
{
    char selected[EFI_VARIABLE_TEXT_SIZE], usual[EFI_VARIABLE_TEXT_SIZE], one_shot[EFI_VARIABLE_TEXT_SIZE];
    enum slot marked;

    if (!efi_variable_read(backend->selected_path, selected, error) ||
        !efi_variable_read(backend->default_path, usual, error) ||
        !efi_variable_read(backend->one_shot_path, one_shot, error) ||
        !trial_file_read(backend->trial_file, &marked, error))
        return false;
    *ret_state = (struct systemd_state){
        .marked = marked,
        .selected = loader_entries_slot(&backend->entries, selected),
        .usual = loader_entries_slot(&backend->entries, usual),
        .one_shot = loader_entries_slot(&backend->entries, one_shot),
        .has_default = *usual,
        .has_one_shot = *one_shot,
    };
    /* Without a default the loader uses its own order, which led to the slot that it started. */
    if (!*usual)
        ret_state->usual = ret_state->selected;
    return true;
}

static bool systemd_open(struct boot *boot, const struct config *config, struct error *error)
{
    struct systemd_backend *backend = alloc_zeroed(sizeof(*backend));
    CLEANUP_FREE char *folder = alloc_printf("%s%s/", boot->root, config->efi_variables);
    struct systemd_state state;

    boot->private = backend;
    backend->default_path = alloc_printf("%s%s", folder, LOADER_VARIABLE("LoaderEntryDefault"));
    backend->one_shot_path = alloc_printf("%s%s", folder, LOADER_VARIABLE("LoaderEntryOneShot"));
    backend->selected_path = alloc_printf("%s%s", folder, LOADER_VARIABLE("LoaderEntrySelected"));
    backend->info_path = alloc_printf("%s%s", folder, LOADER_VARIABLE("LoaderInfo"));
    backend->features_path = alloc_printf("%s%s", folder, LOADER_VARIABLE("LoaderFeatures"));
    backend->trial_file = trial_file_path(boot->root, config);
    backend->boot = boot;
    loader_entries_init(&backend->entries, boot->root, config);
    entry_parts_init(&backend->parts, &backend->entries, config);
    if (strcasecmp(backend->entries.names[SLOT_A], backend->entries.names[SLOT_B]) == 0)
        return error_set(error, ERROR_REFUSED, "EntryA= and EntryB= are the same: %s",
                         backend->entries.names[SLOT_A]);
    if (access(folder, F_OK) < 0)
        return error_set(error, ERROR_REFUSED,
                         "%s is not there: this machine was not started by EFI, or efivarfs is not mounted",
                         folder);
    return state_read(backend, &state, error);
}

static void systemd_close(struct boot *boot)
{
    struct systemd_backend *backend = boot->private;

    entry_parts_finish(&backend->parts);
    loader_entries_finish(&backend->entries);
    free(backend->trial_file);
    free(backend->default_path);
    free(backend->one_shot_path);
    free(backend->selected_path);
    free(backend->info_path);
    free(backend->features_path);
    free(backend);
}

static enum slot state_trial(const struct systemd_state *state)
{
    if (state->one_shot != SLOT_NONE && state->one_shot != state->usual)
        return state->one_shot;
    if (state->marked != SLOT_NONE && state->marked == state->selected && state->has_default &&
        state->usual == slot_other(state->marked))
        return state->marked;
    return SLOT_NONE;
}

static bool systemd_read(struct boot *boot, struct boot_state *ret_state, struct error *error)
{
    const struct systemd_backend *backend = boot->private;
    struct systemd_state state;
    struct loader_entry_file file;

    if (!state_read(backend, &state, error))
        return false;
    enum slot trial = state_trial(&state);
    bool armed = trial != SLOT_NONE && trial == state.one_shot;
    *ret_state = (struct boot_state){
        .running = SLOT_NONE,
        .next = state.has_one_shot ? state.one_shot : state.usual,
        .trial = trial,
        .started = state.selected,
        .tries_left = armed,
    };
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        enum slot slot = (enum slot)i;
        bool has_entry = loader_entries_find(&backend->entries, slot, &file);
        if (has_entry && file.twice)
            snprintf(
                ret_state->note, sizeof(ret_state->note),
                "slot %s has two entries, %.80s and one with counters in its name; the one without counts",
                slot_name(slot), backend->entries.names[slot]);
        if (has_entry && file.exhausted)
            ret_state->health[i] = BOOT_HEALTH_BAD;
        else if (slot == trial)
            ret_state->health[i] = armed ? BOOT_HEALTH_TRIAL : BOOT_HEALTH_BAD;
        else if (slot == state.usual)
            ret_state->health[i] = BOOT_HEALTH_GOOD;
    }
    return true;
}

/* If the running slot was started by the other one's entry, everything written would lead to the wrong
 * slot. */
static bool check_started(const struct systemd_backend *backend, const struct systemd_state *state,
                          struct error *error)
{
    enum slot selected = state->selected, running = backend->boot->running;

    if (selected == SLOT_NONE || running == SLOT_NONE || selected == running)
        return true;
    return error_set(error, ERROR_REFUSED,
                     "slot %s runs, but systemd-boot started %s, which is Entry%c=; exchange EntryA= and "
                     "EntryB=, or correct root= in the entries",
                     slot_name(running), backend->entries.names[selected], 'A' + selected);
}

/* Reads the state and checks what has to hold before any change. */
static bool begin_change(const struct systemd_backend *backend, struct systemd_state *ret_state,
                         struct error *error)
{
    return state_read(backend, ret_state, error) && check_started(backend, ret_state, error);
}

static bool set_default(const struct systemd_backend *backend, enum slot slot, struct error *error)
{
    CLEANUP_FREE char *value = loader_entries_value(&backend->entries, slot);

    return efi_variable_write(backend->default_path, value, error);
}

/* A slot on trial must not be the only one left. */
static bool check_other(const struct systemd_state *state, enum slot slot, struct error *error)
{
    enum slot other = slot_other(slot);

    return state_trial(state) != other ||
           error_set(error, ERROR_REFUSED,
                     "slot %s is on trial to systemd-boot, so slot %s is needed to fall back to",
                     slot_name(other), slot_name(slot));
}

static bool refuse_folder(const char *folder, int code, struct error *error)
{
    return error_set_errno(
        error, code,
        "%s is not writable; mount efivarfs writable and link the service's drop-in for "
        "Backend=systemd-boot (docs/boot.md); firmware that cannot set variables (as some of "
        "U-Boot's) cannot be used this way",
        folder);
}

/* Makes the other slot run next instead of `slot`. If that takes two changes, the first alone does not change
 * what boots. */
static bool systemd_deselect(struct boot *boot, enum slot slot, struct error *error)
{
    const struct systemd_backend *backend = boot->private;
    struct systemd_state state;
    enum slot other = slot_other(slot);

    if (!begin_change(backend, &state, error))
        return false;
    if (!check_other(&state, slot, error))
        return false;
    if (!loader_entries_check(&backend->entries, other, error))
        return false;
    if (state.one_shot == slot && !efi_variable_remove(backend->one_shot_path, error))
        return false;
    return set_default(backend, other, error) && trial_file_write(backend->trial_file, SLOT_NONE, error);
}

static bool systemd_arm(struct boot *boot, enum slot slot, struct error *error)
{
    const struct systemd_backend *backend = boot->private;
    CLEANUP_FREE char *value = loader_entries_value(&backend->entries, slot);
    struct systemd_state state;

    if (!begin_change(backend, &state, error) || !loader_entries_check(&backend->entries, slot, error))
        return false;
    /* If the other slot was rejected, this one is selected already and is known to be good. */
    if (state.has_default && state.usual == slot && !state.has_one_shot)
        return true;
    if (!state.has_default || state.usual != slot_other(slot))
        return error_set(error, ERROR_REFUSED,
                         "LoaderEntryDefault does not name slot %s (%s), so nothing would be fallen back to",
                         slot_name(slot_other(slot)), backend->entries.names[slot_other(slot)]);
    return trial_file_write(backend->trial_file, slot, error) &&
           efi_variable_write(backend->one_shot_path, value, error);
}

static bool systemd_good(struct boot *boot, enum slot slot, struct error *error)
{
    const struct systemd_backend *backend = boot->private;
    struct systemd_state state;

    return begin_change(backend, &state, error) && set_default(backend, slot, error) &&
           (state.one_shot == SLOT_NONE || efi_variable_remove(backend->one_shot_path, error)) &&
           trial_file_write(backend->trial_file, SLOT_NONE, error);
}

/* After slot was deselected, the other one's entry is the default, and there is no other way for arming to
 * fail. */
static bool systemd_can_arm(struct boot *boot, enum slot slot, struct error *error)
{
    const struct systemd_backend *backend = boot->private;
    CLEANUP_FREE char *folder = alloc_string(backend->info_path);
    struct systemd_state state;

    *strrchr(folder, '/') = 0;
    if (!begin_change(backend, &state, error) || !check_other(&state, slot, error) ||
        !loader_entries_check(&backend->entries, slot_other(slot), error))
        return false;
    if (!entry_parts_make_entry(&backend->parts, slot) &&
        !loader_entries_check(&backend->entries, slot, error))
        return false;
    if (!entry_parts_check(&backend->parts, error))
        return false;
    return access(folder, W_OK) == 0 || refuse_folder(folder, errno, error);
}

static void probe_entry(const struct systemd_backend *backend, enum slot slot, boot_finding_fn found,
                        void *owner)
{
    struct loader_entry_file file;
    struct error error;

    if (!loader_entries_are_there(&backend->entries))
        return;
    bool has_entry = loader_entries_find(&backend->entries, slot, &file);
    if (!has_entry && entry_parts_make_entry(&backend->parts, slot))
        boot_find(found, owner, BOOT_LEVEL_OK, "slot %s has no entry yet; the first update makes %s",
                  slot_name(slot), backend->entries.names[slot]);
    else if (!has_entry && !loader_entries_refuse(&backend->entries, slot, &error))
        found(owner, BOOT_LEVEL_FAILURE, error.message);
    else if (file.twice)
        boot_find(found, owner, BOOT_LEVEL_WARNING,
                  "slot %s has two entries, %s and one with counters in its name; the one without is what "
                  "counts, remove the other",
                  slot_name(slot), backend->entries.names[slot]);
    else if (file.counted)
        boot_find(
            found, owner, BOOT_LEVEL_WARNING,
            "the entry of slot %s (%s) is counted by its file name%s; take the counters off, moonsinter "
            "tries slots without renaming anything",
            slot_name(slot), backend->entries.names[slot],
            file.exhausted ? " and has no try left, so systemd-boot sorts it last" : "");
    else
        boot_find(found, owner, BOOT_LEVEL_OK, "slot %s has the entry %s", slot_name(slot),
                  backend->entries.names[slot]);
}

static void systemd_probe(struct boot *boot, boot_finding_fn found, void *owner)
{
    const struct systemd_backend *backend = boot->private;
    CLEANUP_FREE char *folder = alloc_string(backend->info_path);
    char one_shot[EFI_VARIABLE_TEXT_SIZE];
    uint64_t features = 0;
    struct systemd_state state;
    struct error error;

    if (efi_variable_read(backend->one_shot_path, one_shot, NULL) && *one_shot &&
        loader_entries_slot(&backend->entries, one_shot) == SLOT_NONE)
        boot_find(found, owner, BOOT_LEVEL_WARNING,
                  "LoaderEntryOneShot names %.80s, which is no slot's entry and is what boots next, once; an "
                  "update replaces it, and bootctl set-oneshot '' takes it back",
                  one_shot);
    *strrchr(folder, '/') = 0;
    if (access(backend->info_path, F_OK) < 0)
        boot_find(found, owner, BOOT_LEVEL_FAILURE,
                  "there is no LoaderInfo in %s, so systemd-boot did not start this system", folder);
    else if (efi_variable_read_u64(backend->features_path, &features) && !(features & FEATURE_ONE_SHOT))
        boot_find(found, owner, BOOT_LEVEL_FAILURE,
                  "this systemd-boot does not know LoaderEntryOneShot; install one of systemd 240 or newer");
    if (state_read(backend, &state, NULL) && !check_started(backend, &state, &error))
        found(owner, BOOT_LEVEL_FAILURE, error.message);
    if (access(folder, W_OK) < 0 && !refuse_folder(folder, errno, &error))
        found(owner, BOOT_LEVEL_FAILURE, error.message);
    if (!loader_entries_are_there(&backend->entries))
        boot_find(
            found, owner, BOOT_LEVEL_WARNING,
            "the EFI system partition is not mounted on /efi, /boot/efi or /boot, so the entries were not "
            "looked at; set Esp=");
    probe_entry(backend, SLOT_A, found, owner);
    probe_entry(backend, SLOT_B, found, owner);
    entry_parts_probe(&backend->parts, found, owner);
}

static enum boot_kernel systemd_find_kernel(struct boot *boot)
{
    const struct systemd_backend *backend = boot->private;

    return entry_parts_bring_kernel(&backend->parts) ? BOOT_KERNEL_IN_SLOT : BOOT_KERNEL_BESIDE;
}

const struct boot_backend boot_backend_systemd_boot = {
    .wants_running = true,
    .abilities = {.trial = true, .kernel = BOOT_KERNEL_BESIDE},
    .open = systemd_open,
    .close = systemd_close,
    .find_kernel = systemd_find_kernel,
    .probe = systemd_probe,
    .read = systemd_read,
    .can_arm = systemd_can_arm,
    .invalidate = systemd_deselect,
    .arm = systemd_arm,
    .good = systemd_good,
    .reject = systemd_deselect,
};
