/*
 * The `uboot` backend: variables in U-Boot's environment, all of a change set in one store. Two sets of them
 * are in use among boards; UbootVariables= names the one that the board's script goes by.
 *
 * rauc: BOOT_ORDER names the slots that may be started, BOOT_x_LEFT (hexadecimal to some and decimal to
 * others, so never over 9) how often. RAUC's script takes one at every start; ours (conf/uboot-boot.cmd) only
 * in a trial, which moonsinter_trial names, or "all" where the script had to make the environment anew. To
 * the other scripts that variable is nothing; it tells us a trial from a good slot that was merely started.
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
#include "daemon/storage.h"

struct uboot_backend {
    char *config; /* fw_env.config */
    struct uboot_scheme scheme;
    unsigned tries;
    bool doubtful; /* a store failed: what is read may not be on the medium */
};

/* The partition's number, as the kernel counts. */
static bool find_partition(struct uboot_backend *backend, const char *root, enum slot slot, const char *name,
                           struct error *error)
{
    struct storage storage = {0};
    uint64_t number = 0;

    if (!storage_find(root, name, &storage, error))
        return false;
    CLEANUP_FREE char *path =
        alloc_printf("%s/sys/dev/block/%u:%u/partition", root, major(storage.number), minor(storage.number));
    CLEANUP_FREE char *text = NULL;
    size_t size;
    bool found = storage.present && storage.is_block && file_read(path, 16, &text, &size, NULL);
    storage_finish(&storage);
    if (found) {
        text[strcspn(text, "\n")] = 0;
        found = text_parse_u64(text, &number) == 0 && number && number <= 255;
    }
    backend->scheme.partitions[slot] = (unsigned)number;
    return found || error_set(error, ERROR_REFUSED,
                              "slot %s (%s) is no partition with a number, which mender_boot_part wants",
                              slot_name(slot), name);
}

/* --- the backend --- */

static bool state_read(const struct uboot_backend *backend, struct uboot_variables *ret_variables,
                       struct uboot_state *ret_state, struct error *error)
{
    uboot_variables_name(&backend->scheme, ret_variables);
    return uboot_env_read(backend->config, ret_variables->list, ret_variables->count, error) &&
           uboot_variables_parse(&backend->scheme, ret_variables, ret_state, error);
}

static bool state_write(struct uboot_backend *backend, const struct uboot_state *state,
                        struct uboot_variables *variables, struct error *error)
{
    bool always = backend->doubtful;

    uboot_variables_print(&backend->scheme, state, variables);
    backend->doubtful = true;
    backend->doubtful = !uboot_env_write(backend->config, variables->list, variables->count, always, error);
    return !backend->doubtful;
}

static bool uboot_open(struct boot *boot, const struct config *config, struct error *error)
{
    struct uboot_backend *backend = alloc_zeroed(sizeof(*backend));
    struct uboot_variables variables;
    struct uboot_state state;

    boot->private = backend;
    backend->config = alloc_printf("%s%s", boot->root, config->fw_env_config);
    backend->scheme.mender = strcmp(config->uboot_variables, "mender") == 0;
    backend->tries = config->tries;
    for (int i = SLOT_A; i <= SLOT_B && backend->scheme.mender; i++)
        if (!find_partition(backend, boot->root, (enum slot)i, config->slot_names[i], error))
            return false;
    return state_read(backend, &variables, &state, error);
}

static void uboot_close(struct boot *boot)
{
    struct uboot_backend *backend = boot->private;

    free(backend->config);
    free(backend);
}

/* RAUC's script takes a start from good slots, too, and expects them back from whoever marks the slot good:
 * here at each start. */
static bool uboot_start(struct boot *boot, struct error *error)
{
    struct uboot_backend *backend = boot->private;
    struct uboot_variables variables;
    struct uboot_state state;
    bool changed = false;

    if (!state_read(backend, &variables, &state, error))
        return false;
    for (int i = SLOT_A; i <= SLOT_B && !backend->scheme.mender; i++) {
        bool worn = state.left[i] < backend->tries && uboot_state_can_start(&state, (enum slot)i);
        if (!worn || state.trial == (enum slot)i)
            continue;
        state.left[i] = backend->tries;
        changed = true;
    }
    return !changed || uboot_variables_all_on_trial(&backend->scheme, &variables) ||
           state_write(backend, &state, &variables, error);
}

static bool uboot_read(struct boot *boot, struct boot_state *ret_state, struct error *error)
{
    const struct uboot_backend *backend = boot->private;
    struct uboot_variables variables;
    struct uboot_state state;

    if (!state_read(backend, &variables, &state, error))
        return false;
    struct boot_state result = {
        .running = SLOT_NONE,
        .trial = state.trial,
        .tries_left = state.trial != SLOT_NONE && uboot_state_can_start(&state, state.trial)
                          ? state.left[state.trial]
                          : 0,
    };
    bool over = state.trial != SLOT_NONE && !result.tries_left;
    if (!backend->scheme.mender)
        result.next = uboot_state_first(&state);
    else
        result.next = over ? slot_other(state.trial) : state.order[0];
    for (int i = SLOT_A; i <= SLOT_B; i++) {
        enum slot slot = (enum slot)i;
        if (slot == state.trial)
            result.health[i] = over ? BOOT_HEALTH_BAD : BOOT_HEALTH_TRIAL;
        else if (!backend->scheme.mender)
            result.health[i] = uboot_state_can_start(&state, slot) ? BOOT_HEALTH_GOOD : BOOT_HEALTH_BAD;
        else if (slot == state.order[0] || state.trial != SLOT_NONE)
            result.health[i] = BOOT_HEALTH_GOOD;
    }
    *ret_state = result;
    return true;
}

/* Whether `slot` can be left as the only one: it was not found out to be bad, and is not being found out. */
static bool check_other(const struct uboot_backend *backend, const struct uboot_state *state, enum slot slot,
                        struct error *error)
{
    bool fits = state->trial != slot && (backend->scheme.mender || uboot_state_can_start(state, slot));

    return fits || error_set(error, ERROR_REFUSED,
                             "slot %s is not good in U-Boot's environment (%s), so slot %s may be needed to "
                             "fall back to",
                             slot_name(slot), backend->config, slot_name(slot_other(slot)));
}

/* `slot` is out, the other one runs next. */
static bool uboot_give_up(struct boot *boot, enum slot slot, struct error *error)
{
    struct uboot_backend *backend = boot->private;
    struct uboot_variables variables;
    struct uboot_state state;
    enum slot other = slot_other(slot);

    if (!state_read(backend, &variables, &state, error) || !check_other(backend, &state, other, error))
        return false;
    state.order[0] = other;
    state.order[1] = SLOT_NONE;
    state.left[slot] = 0;
    state.trial = SLOT_NONE;
    return state_write(backend, &state, &variables, error);
}

static bool uboot_arm(struct boot *boot, enum slot slot, struct error *error)
{
    struct uboot_backend *backend = boot->private;
    struct uboot_variables variables;
    struct uboot_state state;
    enum slot other = slot_other(slot);

    if (!state_read(backend, &variables, &state, error) || !check_other(backend, &state, other, error))
        return false;
    /* After the running one was rejected, this one is known to be good. */
    if (state.trial == SLOT_NONE && state.order[0] == slot && (backend->scheme.mender || state.left[slot]))
        return state_write(backend, &state, &variables, error);
    state.order[0] = slot;
    state.order[1] = backend->scheme.mender ? SLOT_NONE : other;
    state.left[slot] = backend->tries;
    state.trial = slot;
    return state_write(backend, &state, &variables, error);
}

static bool uboot_good(struct boot *boot, enum slot slot, struct error *error)
{
    struct uboot_backend *backend = boot->private;
    struct uboot_variables variables;
    struct uboot_state state;
    enum slot other = slot_other(slot);

    if (!state_read(backend, &variables, &state, error))
        return false;
    bool keep_other = !backend->scheme.mender && uboot_state_can_start(&state, other);
    state.order[0] = slot;
    state.order[1] = keep_other ? other : SLOT_NONE;
    if (state.left[slot] < backend->tries)
        state.left[slot] = backend->tries;
    state.trial = SLOT_NONE;
    return state_write(backend, &state, &variables, error);
}

static void uboot_probe(struct boot *boot, boot_finding_fn found, void *owner)
{
    const struct uboot_backend *backend = boot->private;
    unsigned copies;
    struct error error;

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
    .name = "uboot",
    .abilities = {.trial = true, .tries = true},
    .open = uboot_open,
    .close = uboot_close,
    .probe = uboot_probe,
    .start = uboot_start,
    .read = uboot_read,
    .invalidate = uboot_give_up,
    .arm = uboot_arm,
    .good = uboot_good,
    .reject = uboot_give_up,
};
