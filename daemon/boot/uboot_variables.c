/* SPDX-License-Identifier: MIT */
#include "daemon/boot/uboot_variables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"

enum {
    RAUC_LEFT_DEFAULT = 3,    /* the scripts' value if the variable is missing */
    MENDER_LIMIT_DEFAULT = 1, /* the scripts' value if the variable is missing */
};

enum rauc_variable { ORDER, A_LEFT, B_LEFT, TRIAL, RAUC_COUNT };
enum mender_variable { PART, PART_HEX, UPGRADE, BOOTCOUNT, BOOTLIMIT, MENDER_COUNT };

/* Without the two that depend on the slots' names. */
static const char *const rauc_names[RAUC_COUNT] = {[ORDER] = "BOOT_ORDER", [TRIAL] = "moonsinter_trial"};
static const char *const mender_names[MENDER_COUNT] = {"mender_boot_part", "mender_boot_part_hex",
                                                       "upgrade_available", "bootcount", "bootlimit"};
static const char all_on_trial[] = "all"; /* of moonsinter_trial */
_Static_assert((int)RAUC_COUNT <= (int)UBOOT_VARIABLES_MAX && (int)MENDER_COUNT <= (int)UBOOT_VARIABLES_MAX,
               "there is room for either set");

void uboot_variables_name(const struct uboot_scheme *scheme, struct uboot_variables *ret_variables)
{
    *ret_variables = (struct uboot_variables){.count = scheme->mender ? MENDER_COUNT : RAUC_COUNT};
    for (size_t i = 0; i < ret_variables->count; i++)
        ret_variables->list[i].name = scheme->mender               ? mender_names[i]
                                      : i == A_LEFT || i == B_LEFT ? scheme->left_names[i - A_LEFT]
                                                                   : rauc_names[i];
}

static bool refuse_value(const struct uboot_env_variable *variable, struct error *error)
{
    return error_set(error, ERROR_FORMAT,
                     "U-Boot's environment has %s=%s, which cannot be understood; correct it with fw_setenv",
                     variable->name, variable->value);
}

static enum slot find_slot_name(const struct uboot_scheme *scheme, const char *text, size_t length)
{
    for (int i = SLOT_A; i <= SLOT_B; i++)
        if (strlen(scheme->names[i]) == length && memcmp(text, scheme->names[i], length) == 0)
            return (enum slot)i;
    return SLOT_NONE;
}

/* --- RAUC's variables --- */

static bool rauc_parse_order(const struct uboot_scheme *scheme, const char *text, enum slot *ret_order)
{
    unsigned count = 0;

    ret_order[0] = ret_order[1] = SLOT_NONE;
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t length = strcspn(text, " ");
        enum slot slot = find_slot_name(scheme, text, length);
        if (slot == SLOT_NONE || count == SLOT_COUNT || ret_order[0] == slot)
            return false;
        ret_order[count++] = slot;
        text += length;
    }
    return count > 0;
}

static bool rauc_parse_left(const char *text, unsigned *ret_left)
{
    char *end;

    if (!*text) {
        *ret_left = RAUC_LEFT_DEFAULT;
        return true;
    }
    size_t length = strlen(text);
    if (length > 2 || strspn(text, "0123456789abcdefABCDEF") != length)
        return false;
    *ret_left = (unsigned)strtoul(text, &end, 16);
    return true;
}

bool uboot_state_has(const struct uboot_state *state, enum slot slot)
{
    return state->order[0] == slot || state->order[1] == slot;
}

bool uboot_state_can_start(const struct uboot_state *state, enum slot slot)
{
    return uboot_state_has(state, slot) && state->left[slot];
}

enum slot uboot_state_first(const struct uboot_state *state)
{
    for (int i = 0; i < SLOT_COUNT; i++)
        if (state->order[i] != SLOT_NONE && uboot_state_can_start(state, state->order[i]))
            return state->order[i];
    return SLOT_NONE;
}

static bool rauc_parse(const struct uboot_scheme *scheme, const struct uboot_variables *variables,
                       struct uboot_state *ret_state, struct error *error)
{
    const struct uboot_env_variable *list = variables->list;
    struct uboot_state state = {.trial = SLOT_NONE};

    state.fresh = !*list[ORDER].value && !*list[A_LEFT].value && !*list[B_LEFT].value;
    if (!*list[ORDER].value) {
        state.order[0] = SLOT_A;
        state.order[1] = SLOT_B;
    } else if (!rauc_parse_order(scheme, list[ORDER].value, state.order)) {
        return error_set(error, ERROR_FORMAT,
                         "U-Boot's environment has BOOT_ORDER=%s, which has to name %s (BootNameA=), %s "
                         "(BootNameB=), or both; correct it with fw_setenv, or the names",
                         list[ORDER].value, scheme->names[SLOT_A], scheme->names[SLOT_B]);
    }
    for (int i = SLOT_A; i <= SLOT_B; i++)
        if (!rauc_parse_left(list[A_LEFT + i].value, &state.left[i]))
            return refuse_value(&list[A_LEFT + i], error);
    const char *trial = list[TRIAL].value;
    if (strcmp(trial, all_on_trial) == 0) {
        state.all_on_trial = true;
        state.trial = uboot_state_first(&state);
    } else if (*trial && (state.trial = find_slot_name(scheme, trial, strlen(trial))) == SLOT_NONE) {
        return refuse_value(&list[TRIAL], error);
    }
    *ret_state = state;
    return true;
}

static void rauc_print(const struct uboot_scheme *scheme, const struct uboot_state *state,
                       struct uboot_variables *variables)
{
    struct uboot_env_variable *list = variables->list;
    char *const *names = scheme->names;

    snprintf(list[ORDER].value, UBOOT_ENV_VALUE_SIZE, "%s%s%s", names[state->order[0]],
             state->order[1] == SLOT_NONE ? "" : " ",
             state->order[1] == SLOT_NONE ? "" : names[state->order[1]]);
    for (int i = SLOT_A; i <= SLOT_B; i++)
        snprintf(list[A_LEFT + i].value, UBOOT_ENV_VALUE_SIZE, "%x", state->left[i]);
    snprintf(list[TRIAL].value, UBOOT_ENV_VALUE_SIZE, "%s",
             state->all_on_trial         ? all_on_trial
             : state->trial == SLOT_NONE ? ""
                                         : names[state->trial]);
}

/* --- Mender's variables --- */

static bool mender_parse_number(const struct uboot_env_variable *variable, uint64_t default_value,
                                uint64_t *ret_value)
{
    *ret_value = default_value;
    return !*variable->value || (text_parse_u64(variable->value, ret_value) == 0 && *ret_value <= 255);
}

static bool mender_parse(const struct uboot_scheme *scheme, const struct uboot_variables *variables,
                         struct uboot_state *ret_state, struct error *error)
{
    static const uint64_t defaults[MENDER_COUNT] = {[BOOTLIMIT] = MENDER_LIMIT_DEFAULT};
    const struct uboot_env_variable *list = variables->list;
    struct uboot_state state = {.order = {SLOT_NONE, SLOT_NONE}, .trial = SLOT_NONE};
    uint64_t numbers[MENDER_COUNT];

    for (int i = PART; i < MENDER_COUNT; i++)
        if (i != PART_HEX && !mender_parse_number(&list[i], defaults[i], &numbers[i]))
            return refuse_value(&list[i], error);
    for (int i = SLOT_A; i <= SLOT_B; i++)
        if (numbers[PART] == scheme->partitions[i])
            state.order[0] = (enum slot)i;
    if (state.order[0] == SLOT_NONE)
        return error_set(error, ERROR_REFUSED,
                         "U-Boot's environment has mender_boot_part=%s, which is neither slot a (%u) nor "
                         "slot b (%u)",
                         list[PART].value, scheme->partitions[SLOT_A], scheme->partitions[SLOT_B]);
    if (numbers[UPGRADE]) {
        state.trial = state.order[0];
        if (numbers[BOOTCOUNT] < numbers[BOOTLIMIT])
            state.left[state.trial] = (unsigned)(numbers[BOOTLIMIT] - numbers[BOOTCOUNT]);
    }
    *ret_state = state;
    return true;
}

static void mender_print(const struct uboot_scheme *scheme, const struct uboot_state *state,
                         struct uboot_variables *variables)
{
    struct uboot_env_variable *list = variables->list;
    unsigned partition = scheme->partitions[state->order[0]];

    snprintf(list[PART].value, UBOOT_ENV_VALUE_SIZE, "%u", partition);
    snprintf(list[PART_HEX].value, UBOOT_ENV_VALUE_SIZE, "%x", partition);
    snprintf(list[UPGRADE].value, UBOOT_ENV_VALUE_SIZE, "%d", state->trial != SLOT_NONE);
    snprintf(list[BOOTCOUNT].value, UBOOT_ENV_VALUE_SIZE, "0");
    if (state->trial != SLOT_NONE)
        snprintf(list[BOOTLIMIT].value, UBOOT_ENV_VALUE_SIZE, "%u", state->left[state->trial]);
}

bool uboot_variables_parse(const struct uboot_scheme *scheme, const struct uboot_variables *variables,
                           struct uboot_state *ret_state, struct error *error)
{
    return scheme->mender ? mender_parse(scheme, variables, ret_state, error)
                          : rauc_parse(scheme, variables, ret_state, error);
}

void uboot_variables_print(const struct uboot_scheme *scheme, const struct uboot_state *state,
                           struct uboot_variables *variables)
{
    if (scheme->mender)
        mender_print(scheme, state, variables);
    else
        rauc_print(scheme, state, variables);
}
