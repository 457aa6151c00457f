/* SPDX-License-Identifier: MIT */
/*
 * The `uboot` backend: variables in U-Boot's environment, all of a change set in one store. Two sets of
 * them are in use among boards; UbootVariables= names the one that the board's script goes by.
 *
 * rauc: BOOT_ORDER names the slots (by BootNameA= and BootNameB=) that may be started, BOOT_x_LEFT
 * (hexadecimal to some and decimal to others, so never over 9) how often. RAUC's script takes one at every
 * start; moonsinter's own (conf/uboot-boot.cmd) only in a trial. moonsinter_trial names the slot on trial,
 * or is "all" if the script had to make the environment anew. Other scripts ignore that variable; by it
 * this backend tells a trial from a good slot that was merely started.
 *
 * mender: mender_boot_part and mender_boot_part_hex name the partition, upgrade_available=1 makes U-Boot
 * count starts in bootcount, and past bootlimit it runs altbootcmd, which goes back.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "daemon/boot/boot.h"
#include "daemon/boot/uboot_env.h"
#include "daemon/boot/uboot_variables.h"
#include "daemon/host/storage.h"

/* The number of starts that RAUC's script gives an unknown slot. With fewer than two, a good slot would be
 * left after a single start that did not get as far as this daemon. */
enum { GOOD_LEFT_MIN = 3 };

struct uboot_backend {
    char *config; /* fw_env.config */
    struct uboot_scheme scheme;
    unsigned tries;
    unsigned good_left;      /* rauc: starts that a good slot has */
    const struct boot *boot; /* whose it is */
    bool doubtful;           /* a store failed: what is read may not be on the medium */
};

/* Everything that one change needs. */
struct uboot_change {
    struct uboot_variables variables;
    struct uboot_state state;
};

/* The partition's number, as the kernel counts. */
static bool find_partition(struct uboot_backend *backend, const char *root, enum slot slot, const char *name,
                           struct error *error)
{
    struct storage storage = {0};
    uint64_t number = 0;

    if (!storage_find(root, name, &storage, error))
        return false;
    CLEANUP_FREE char *text = file_read_text(16, "%s/sys/dev/block/%u:%u/partition", root,
                                             major(storage.number), minor(storage.number));
    bool found = storage.present && storage.is_block && text && text_parse_u64(text, &number) == 0 &&
                 number && number <= 255;
    storage_finish(&storage);
    backend->scheme.partitions[slot] = (unsigned)number;
    return found || error_set(error, ERROR_REFUSED,
                              "slot %s (%s) is no partition with a number, which mender_boot_part wants",
                              slot_name(slot), name);
}

/* --- the backend --- */

static bool state_read(const struct uboot_backend *backend, struct uboot_change *ret_change,
                       struct error *error)
{
    struct uboot_variables *variables = &ret_change->variables;
    struct uboot_state *state = &ret_change->state;

    uboot_variables_name(&backend->scheme, variables);
    if (!uboot_env_read(backend->config, variables->list, variables->count, error) ||
        !uboot_variables_parse(&backend->scheme, variables, state, error))
        return false;
    /* The script may have skipped the first slot, because it found no kernel there. */
    if (state->all_on_trial && backend->boot->running != SLOT_NONE &&
        uboot_state_has(state, backend->boot->running))
        state->trial = backend->boot->running;
    return true;
}

static bool state_write(struct uboot_backend *backend, struct uboot_change *change, struct error *error)
{
    struct uboot_variables *variables = &change->variables;
    bool always = backend->doubtful;

    uboot_variables_print(&backend->scheme, &change->state, variables);
    backend->doubtful = true;
    backend->doubtful = !uboot_env_write(backend->config, variables->list, variables->count, always, error);
    return !backend->doubtful;
}

/* "all" has a meaning in moonsinter_trial, so no slot may have that name. */
static bool check_names(char *const *names, struct error *error)
{
    if (strcmp(names[SLOT_A], names[SLOT_B]) == 0)
        return error_set(error, ERROR_REFUSED, "BootNameA= and BootNameB= are the same: %s", names[SLOT_A]);
    for (int i = SLOT_A; i <= SLOT_B; i++)
        if (strcmp(names[i], "all") == 0)
            return error_set(error, ERROR_REFUSED, "BootName%c=all cannot be used with Backend=uboot",
                             'A' + i);
    return true;
}

static bool uboot_open(struct boot *boot, const struct config *config, struct error *error)
{
    struct uboot_backend *backend = alloc_zeroed(sizeof(*backend));
    struct uboot_change change;

    boot->private = backend;
    backend->config = alloc_printf("%s%s", boot->root, config->fw_env_config);
    backend->scheme.mender = strcmp(config->uboot_variables, "mender") == 0;
    backend->tries = config->tries;
    backend->good_left = config->tries > GOOD_LEFT_MIN ? config->tries : GOOD_LEFT_MIN;
    backend->boot = boot;
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        backend->scheme.names[i] = alloc_string(config->boot_names[i]);
        backend->scheme.left_names[i] = alloc_printf("BOOT_%s_LEFT", config->boot_names[i]);
    }
    if (!check_names(config->boot_names, error))
        return false;
    for (int i = SLOT_A; i <= SLOT_B && backend->scheme.mender; i++)
        if (!find_partition(backend, boot->root, (enum slot)i, config->slot_names[i], error))
            return false;
    return state_read(backend, &change, error);
}

static void uboot_close(struct boot *boot)
{
    struct uboot_backend *backend = boot->private;

    for (int i = SLOT_A; i <= SLOT_B; i++) {
        free(backend->scheme.names[i]);
        free(backend->scheme.left_names[i]);
    }
    free(backend->config);
    free(backend);
}

/* RAUC's script takes a start from good slots, too, and expects the running system to give them back: here at
 * each start. The running slot gets them back even if this was its last one; the other slot, if it has none
 * left, did not come up and gets none. */
static bool uboot_start(struct boot *boot, struct error *error)
{
    struct uboot_backend *backend = boot->private;
    struct uboot_change change;
    struct uboot_state *state = &change.state;
    bool changed = false;

    if (backend->scheme.mender)
        return true;
    if (!state_read(backend, &change, error))
        return false;
    for (int i = SLOT_A; i <= SLOT_B && !state->all_on_trial; i++) {
        enum slot slot = (enum slot)i;
        bool fit = uboot_state_can_start(state, slot) ||
                   (slot == backend->boot->running && uboot_state_has(state, slot));
        if (!fit || state->trial == slot || state->left[slot] >= backend->good_left)
            continue;
        state->left[slot] = backend->good_left;
        changed = true;
    }
    return !changed || state_write(backend, &change, error);
}

static enum boot_health find_health(const struct uboot_backend *backend, const struct uboot_state *state,
                                    enum slot slot, bool over)
{
    if (slot == state->trial)
        return over ? BOOT_HEALTH_BAD : BOOT_HEALTH_TRIAL;
    if (backend->scheme.mender)
        return slot == state->order[0] || state->trial != SLOT_NONE ? BOOT_HEALTH_GOOD : BOOT_HEALTH_UNKNOWN;
    if (!uboot_state_can_start(state, slot))
        return BOOT_HEALTH_BAD;
    return state->all_on_trial || state->fresh ? BOOT_HEALTH_UNKNOWN : BOOT_HEALTH_GOOD;
}

static bool uboot_read(struct boot *boot, struct boot_state *ret_state, struct error *error)
{
    const struct uboot_backend *backend = boot->private;
    struct uboot_change change;
    const struct uboot_state *state = &change.state;

    if (!state_read(backend, &change, error))
        return false;
    bool trial = state->trial != SLOT_NONE, tried = trial && uboot_state_can_start(state, state->trial);
    struct boot_state result = {
        .running = SLOT_NONE,
        .started = SLOT_NONE,
        .trial = state->trial,
        .tries_left = tried ? state->left[state->trial] : 0,
    };
    if (!backend->scheme.mender)
        result.next = uboot_state_first(state);
    else
        result.next = trial && !tried ? slot_other(state->trial) : state->order[0];
    for (int i = SLOT_A; i <= SLOT_B; i++)
        result.health[i] = find_health(backend, state, (enum slot)i, trial && !tried);
    *ret_state = result;
    return true;
}

/* Reads the state for a change after which `slot` is not started, or is on trial. The other slot has to be
 * able to run then, so it must neither be known to be bad nor be on trial itself. */
static bool begin_change(const struct uboot_backend *backend, enum slot slot, struct uboot_change *ret_change,
                         struct error *error)
{
    const struct uboot_state *state = &ret_change->state;
    enum slot other = slot_other(slot);

    if (!state_read(backend, ret_change, error))
        return false;
    bool fits = state->trial != other && (backend->scheme.mender || uboot_state_can_start(state, other));
    return fits || error_set(error, ERROR_REFUSED,
                             "slot %s is not good in U-Boot's environment (%s), so slot %s may be needed to "
                             "fall back to",
                             slot_name(other), backend->config, slot_name(slot));
}

/* Makes the other slot run next instead of `slot`. */
static bool deselect(struct boot *boot, enum slot slot, bool rejected, struct error *error)
{
    struct uboot_backend *backend = boot->private;
    struct uboot_change change;
    struct uboot_state *state = &change.state;

    if (!begin_change(backend, slot, &change, error))
        return false;
    if (rejected && state->fresh)
        return error_set(error, ERROR_REFUSED,
                         "slot %s was never marked good in U-Boot's environment (%s), so slot %s cannot be "
                         "rejected",
                         slot_name(slot_other(slot)), backend->config, slot_name(slot));
    state->left[slot] = 0;
    /* Nothing is known of the other slot either: it stays on trial, and if it fails the script begins anew
     * with both. */
    if (!state->all_on_trial) {
        state->order[0] = slot_other(slot);
        state->order[1] = SLOT_NONE;
        state->trial = SLOT_NONE;
    }
    return state_write(backend, &change, error);
}

static bool uboot_invalidate(struct boot *boot, enum slot slot, struct error *error)
{
    return deselect(boot, slot, false, error);
}

static bool uboot_reject(struct boot *boot, enum slot slot, struct error *error)
{
    return deselect(boot, slot, true, error);
}

static bool uboot_arm(struct boot *boot, enum slot slot, struct error *error)
{
    struct uboot_backend *backend = boot->private;
    struct uboot_change change;
    struct uboot_state *state = &change.state;

    if (!begin_change(backend, slot, &change, error))
        return false;
    bool selected = state->order[0] == slot && (backend->scheme.mender || state->left[slot]);
    /* If the other slot was rejected, a selected one is known to be good. */
    if (state->trial != SLOT_NONE || !selected) {
        state->order[0] = slot;
        state->order[1] = backend->scheme.mender ? SLOT_NONE : slot_other(slot);
        state->left[slot] = backend->tries;
        state->trial = slot;
        state->all_on_trial = false;
    }
    return state_write(backend, &change, error);
}

static bool uboot_good(struct boot *boot, enum slot slot, struct error *error)
{
    struct uboot_backend *backend = boot->private;
    struct uboot_change change;
    struct uboot_state *state = &change.state;
    enum slot other = slot_other(slot);

    if (!state_read(backend, &change, error))
        return false;
    /* If all slots were on trial, it is not known whether the other one holds a whole image. */
    bool keep_other = !backend->scheme.mender && !state->all_on_trial && uboot_state_can_start(state, other);
    state->order[0] = slot;
    state->order[1] = keep_other ? other : SLOT_NONE;
    if (!keep_other)
        state->left[other] = 0;
    if (state->left[slot] < backend->good_left)
        state->left[slot] = backend->good_left;
    state->trial = SLOT_NONE;
    state->all_on_trial = false;
    return state_write(backend, &change, error);
}

static bool uboot_can_arm(struct boot *boot, enum slot slot, struct error *error)
{
    const struct uboot_backend *backend = boot->private;
    struct uboot_change change;

    return uboot_env_can_write(backend->config, error) && uboot_env_can_lock(error) &&
           uboot_env_await_lock(error) && begin_change(boot->private, slot, &change, error);
}

static void uboot_probe(struct boot *boot, boot_finding_fn found, void *owner)
{
    const struct uboot_backend *backend = boot->private;
    struct uboot_change change;
    unsigned copies;
    struct error error;

    if (state_read(backend, &change, NULL) && change.state.all_on_trial)
        boot_find(found, owner, BOOT_LEVEL_WARNING,
                  "U-Boot's script had to make the environment (%s) anew, so every slot is on trial; "
                  "moonsinterd ends that when it marks the slot that runs good",
                  backend->config);
    if (!uboot_env_can_lock(&error) || !uboot_env_await_lock(&error))
        found(owner, BOOT_LEVEL_FAILURE, error.message);
    if (!uboot_env_can_write(backend->config, &error))
        found(owner, BOOT_LEVEL_FAILURE, error.message);
    if (!uboot_env_copies(backend->config, &copies, &error))
        found(owner, BOOT_LEVEL_FAILURE, error.message);
    else if (copies < 2)
        boot_find(
            found, owner, BOOT_LEVEL_WARNING,
            "%s names one copy of U-Boot's environment, which a power cut can destroy; build U-Boot with "
            "a redundant environment and name both copies",
            backend->config);
    else
        boot_find(found, owner, BOOT_LEVEL_OK, "U-Boot's environment (%s) has two copies", backend->config);
}

const struct boot_backend boot_backend_uboot = {
    .wants_running = true,
    .abilities = {.trial = true, .tries = true},
    .open = uboot_open,
    .close = uboot_close,
    .probe = uboot_probe,
    .start = uboot_start,
    .read = uboot_read,
    .can_arm = uboot_can_arm,
    .invalidate = uboot_invalidate,
    .arm = uboot_arm,
    .good = uboot_good,
    .reject = uboot_reject,
};
