/* SPDX-License-Identifier: MIT */
/*
 * The `custom` backend: a program by the user that knows the loader, with the verbs of RAUC's custom
 * backend: get-primary, set-primary NAME, get-state NAME, set-state NAME good|bad, get-current. Those
 * verbs cannot tell a trial from a good slot, so the slot on trial is kept in a file in the state folder,
 * which both slots share: written before the program is told of the trial, and cleared after it is told of
 * the end. Program and loader have to see to it that a change is one durable write, and that a slot which
 * is not marked good is left again.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "daemon/boot/boot.h"
#include "daemon/boot/child.h"
#include "daemon/boot/trial_file.h"

enum {
    PROGRAM_TIMEOUT_MS = 30 * 1000, /* it writes a few bytes to a slow medium */
};

struct custom_backend {
    char *program;
    char *names[SLOT_COUNT]; /* the slots', as the program knows them */
    char *trial_file;
};

/* The last line that is not empty. */
static const char *last_line(char *text)
{
    size_t length = strlen(text);

    while (length && strchr(" \t\r\n", text[length - 1]))
        text[--length] = 0;
    const char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

/* Runs a verb; its first line of output, without the line feed, into result->output. */
static bool run_verb(const struct custom_backend *backend, const char *verb, const char *name,
                     const char *value, struct child_result *result, struct error *error)
{
    const char *arguments[] = {backend->program, verb, name, value, NULL};

    if (!child_run(arguments, PROGRAM_TIMEOUT_MS, result, error))
        return false;
    if (result->status == 0) {
        result->output[strcspn(result->output, "\r\n")] = 0;
        return true;
    }
    const char *complaint = last_line(result->complaint);
    return error_set(error, ERROR_SYSTEM, "%s %s%s%s%s%s failed with exit status %d%s%.200s",
                     backend->program, verb, name ? " " : "", name ? name : "", value ? " " : "",
                     value ? value : "", result->status, *complaint ? ": " : "", complaint);
}

static bool get_slot(const struct custom_backend *backend, const char *verb, enum slot *ret_slot,
                     struct error *error)
{
    struct child_result result;

    if (!run_verb(backend, verb, NULL, NULL, &result, error))
        return false;
    for (int i = SLOT_A; i <= SLOT_B; i++)
        if (strcmp(result.output, backend->names[i]) == 0) {
            *ret_slot = (enum slot)i;
            return true;
        }
    return error_set(error, ERROR_FORMAT,
                     "%s %s says \"%.60s\", which is neither BootNameA=%s nor BootNameB=%s", backend->program,
                     verb, result.output, backend->names[SLOT_A], backend->names[SLOT_B]);
}

static bool get_good(const struct custom_backend *backend, enum slot slot, bool *ret_good,
                     struct error *error)
{
    struct child_result result;

    if (!run_verb(backend, "get-state", backend->names[slot], NULL, &result, error))
        return false;
    *ret_good = strcmp(result.output, "good") == 0;
    if (*ret_good || strcmp(result.output, "bad") == 0)
        return true;
    return error_set(error, ERROR_FORMAT, "%s get-state %s says \"%.60s\" and not good or bad",
                     backend->program, backend->names[slot], result.output);
}

static bool set_good(const struct custom_backend *backend, enum slot slot, bool good, struct error *error)
{
    struct child_result result;
    bool is_good;

    if (!get_good(backend, slot, &is_good, error))
        return false;
    if (is_good == good)
        return true;
    if (!run_verb(backend, "set-state", backend->names[slot], good ? "good" : "bad", &result, error) ||
        !get_good(backend, slot, &is_good, error))
        return false;
    return is_good == good || error_set(error, ERROR_SYSTEM, "%s set-state %s %s had no effect",
                                        backend->program, backend->names[slot], good ? "good" : "bad");
}

static bool set_primary(const struct custom_backend *backend, enum slot slot, struct error *error)
{
    struct child_result result;
    enum slot primary;

    if (!get_slot(backend, "get-primary", &primary, error))
        return false;
    if (primary == slot)
        return true;
    if (!run_verb(backend, "set-primary", backend->names[slot], NULL, &result, error) ||
        !get_slot(backend, "get-primary", &primary, error))
        return false;
    return primary == slot || error_set(error, ERROR_SYSTEM, "%s set-primary %s had no effect",
                                        backend->program, backend->names[slot]);
}

static bool custom_read(struct boot *boot, struct boot_state *ret_state, struct error *error)
{
    const struct custom_backend *backend = boot->private;
    enum slot primary, trial;
    bool good[SLOT_COUNT];

    if (!trial_file_read(backend->trial_file, &trial, error) ||
        !get_slot(backend, "get-primary", &primary, error) ||
        !get_good(backend, SLOT_A, &good[SLOT_A], error) || !get_good(backend, SLOT_B, &good[SLOT_B], error))
        return false;
    *ret_state = (struct boot_state){
        .running = SLOT_NONE,
        .started = SLOT_NONE,
        .next = primary,
        .trial = trial,
        .tries_left = trial != SLOT_NONE && trial == primary, /* at least one; the loader may have more */
    };
    for (int i = SLOT_A; i <= SLOT_B; i++)
        ret_state->health[i] = (enum slot)i == trial
                                   ? (trial == primary ? BOOT_HEALTH_TRIAL : BOOT_HEALTH_BAD)
                                   : (good[i] ? BOOT_HEALTH_GOOD : BOOT_HEALTH_BAD);
    return true;
}

static bool custom_open(struct boot *boot, const struct config *config, struct error *error)
{
    struct custom_backend *backend = alloc_zeroed(sizeof(*backend));
    struct boot_state state;

    boot->private = backend;
    backend->program = alloc_printf("%s%s", boot->root, config->boot_program);
    backend->trial_file = trial_file_path(boot->root, config);
    for (int i = SLOT_A; i <= SLOT_B; i++)
        backend->names[i] = alloc_string(config->boot_names[i]);
    if (strcmp(backend->names[SLOT_A], backend->names[SLOT_B]) == 0)
        return error_set(error, ERROR_REFUSED, "BootNameA= and BootNameB= are the same: %s",
                         backend->names[SLOT_A]);
    return custom_read(boot, &state, error);
}

static void custom_close(struct boot *boot)
{
    struct custom_backend *backend = boot->private;

    free(backend->program);
    free(backend->trial_file);
    free(backend->names[SLOT_A]);
    free(backend->names[SLOT_B]);
    free(backend);
}

/* Whether the other slot could run instead. */
static bool check_other(const struct custom_backend *backend, enum slot slot, struct error *error)
{
    enum slot trial, other = slot_other(slot);
    bool other_good;

    if (!trial_file_read(backend->trial_file, &trial, error) || !get_good(backend, other, &other_good, error))
        return false;
    return (other_good && trial != other) ||
           error_set(error, ERROR_REFUSED,
                     "slot %s is not good to %s, so slot %s may be needed to fall back to", slot_name(other),
                     backend->program, slot_name(slot));
}

/* Makes the other slot run next instead of `slot`. After each step, what boots is either as before or as
 * asked. */
static bool custom_deselect(struct boot *boot, enum slot slot, struct error *error)
{
    const struct custom_backend *backend = boot->private;
    enum slot other = slot_other(slot);

    return check_other(backend, slot, error) && set_primary(backend, other, error) &&
           set_good(backend, slot, false, error) && trial_file_write(backend->trial_file, SLOT_NONE, error);
}

static bool check_current(const struct custom_backend *backend, enum slot slot, struct error *error)
{
    enum slot current;

    return !get_slot(backend, "get-current", &current, NULL) || current != slot ||
           error_set(error, ERROR_REFUSED,
                     "%s says that slot %s runs, so it cannot be given up; if it does not, exchange "
                     "BootNameA= and BootNameB=",
                     backend->program, slot_name(slot));
}

static bool custom_can_arm(struct boot *boot, enum slot slot, struct error *error)
{
    return check_current(boot->private, slot, error) && check_other(boot->private, slot, error);
}

static bool custom_invalidate(struct boot *boot, enum slot slot, struct error *error)
{
    return check_current(boot->private, slot, error) && custom_deselect(boot, slot, error);
}

static bool custom_arm(struct boot *boot, enum slot slot, struct error *error)
{
    const struct custom_backend *backend = boot->private;
    struct boot_state state;

    if (!custom_read(boot, &state, error))
        return false;
    /* If the other slot was rejected, this one is selected already and is known to be good. */
    if (state.next == slot && state.trial == SLOT_NONE && state.health[slot] == BOOT_HEALTH_GOOD)
        return true;
    return trial_file_write(backend->trial_file, slot, error) && set_primary(backend, slot, error);
}

static bool custom_good(struct boot *boot, enum slot slot, struct error *error)
{
    const struct custom_backend *backend = boot->private;
    enum slot current;

    /* Older scripts do not know this verb. */
    if (get_slot(backend, "get-current", &current, NULL) && current != slot)
        return error_set(error, ERROR_REFUSED, "%s says that slot %s runs, so slot %s cannot be marked good",
                         backend->program, slot_name(current), slot_name(slot));
    return set_good(backend, slot, true, error) && set_primary(backend, slot, error) &&
           trial_file_write(backend->trial_file, SLOT_NONE, error);
}

static void custom_probe(struct boot *boot, boot_finding_fn found, void *owner)
{
    const struct custom_backend *backend = boot->private;
    struct error error;
    enum slot current;

    if (get_slot(backend, "get-current", &current, &error))
        boot_find(found, owner, BOOT_LEVEL_OK, "%s says that slot %s runs", backend->program,
                  slot_name(current));
    else
        boot_find(found, owner, BOOT_LEVEL_WARNING, "%s; without it, only the kernel says which slot runs",
                  error.message);
}

const struct boot_backend boot_backend_custom = {
    .abilities = {.trial = true},
    .open = custom_open,
    .close = custom_close,
    .probe = custom_probe,
    .read = custom_read,
    .can_arm = custom_can_arm,
    .invalidate = custom_invalidate,
    .arm = custom_arm,
    .good = custom_good,
    .reject = custom_deselect,
};
