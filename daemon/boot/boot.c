/* SPDX-License-Identifier: MIT */
#include "daemon/boot/boot.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"

static const struct boot_backend *const backends[] = {
    [CONFIG_BACKEND_FILE] = &boot_backend_file,
    [CONFIG_BACKEND_RPI_CMDLINE] = &boot_backend_rpi_cmdline,
    [CONFIG_BACKEND_GRUB] = &boot_backend_grub,
    [CONFIG_BACKEND_RPI_TRYBOOT] = &boot_backend_rpi_tryboot,
    [CONFIG_BACKEND_UBOOT] = &boot_backend_uboot,
    [CONFIG_BACKEND_SYSTEMD_BOOT] = &boot_backend_systemd_boot,
    [CONFIG_BACKEND_CUSTOM] = &boot_backend_custom,
};

/* Looked up before each call, because a slot's device may appear late. */
static void note_running(struct boot *boot)
{
    const struct slots_request request = {
        .root = boot->root,
        .names = {boot->slot_names[SLOT_A], boot->slot_names[SLOT_B]},
        .selected = SLOT_NONE,
    };
    struct slots *slots;

    boot->running = SLOT_NONE;
    if (!boot->backend->wants_running || !slots_find(&request, &slots, NULL))
        return;
    boot->running = slots->running;
    slots_free(slots);
}

/* Puts the backend's name in front of its error. */
static bool finish_call(const struct boot *boot, bool success, struct error *error)
{
    return success || error_prefix(error, "boot selection (%s)", boot->name);
}

bool boot_new(const struct config *config, const char *root, struct boot **ret_boot, struct error *error)
{
    struct boot *boot = alloc_zeroed(sizeof(*boot));

    boot->backend = backends[config->backend];
    boot->name = config_backend_name(config->backend);
    boot->root = alloc_string(root ? root : "");
    for (int i = SLOT_A; i <= SLOT_B; i++)
        boot->slot_names[i] = alloc_string(config->slot_names[i]);
    note_running(boot);
    if (!finish_call(boot, boot->backend->open(boot, config, error), error)) {
        boot_free(boot);
        return false;
    }
    *ret_boot = boot;
    return true;
}

struct boot *boot_free(struct boot *boot)
{
    if (!boot)
        return NULL;
    boot->backend->close(boot);
    free(boot->root);
    free(boot->slot_names[SLOT_A]);
    free(boot->slot_names[SLOT_B]);
    free(boot);
    return NULL;
}

const struct boot_abilities *boot_get_abilities(const struct boot *boot)
{
    return &boot->backend->abilities;
}

bool boot_start(struct boot *boot, struct error *error)
{
    note_running(boot);
    return !boot->backend->start || finish_call(boot, boot->backend->start(boot, error), error);
}

void boot_find(boot_finding_fn found, void *owner, enum boot_level level, const char *format, ...)
{
    char sentence[512];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    found(owner, level, sentence);
}

static void probe_kernel(struct boot *boot, boot_finding_fn found, void *owner)
{
    const struct boot_backend *backend = boot->backend;

    switch (backend->find_kernel ? backend->find_kernel(boot) : backend->abilities.kernel) {
    case BOOT_KERNEL_IN_SLOT:
        return;
    case BOOT_KERNEL_SHARED:
        boot_find(
            found, owner, BOOT_LEVEL_WARNING,
            "boot selection (%s): one kernel outside the slots serves both, so a release needs modules for "
            "it; that is looked up before a slot is armed, as far as debugfs, unsquashfs or dump.erofs is "
            "there to do it",
            boot->name);
        return;
    case BOOT_KERNEL_BESIDE:
        boot_find(
            found, owner, BOOT_LEVEL_WARNING,
            "boot selection (%s): each slot's kernel lies outside of it and is not updated, so a release "
            "needs modules for the one that starts it, which is not looked up; a part of the release can bring "
            "the kernel along (docs/boot.md)",
            boot->name);
        return;
    }
}

void boot_probe(struct boot *boot, boot_finding_fn found, void *owner)
{
    const struct boot_abilities *abilities = &boot->backend->abilities;
    struct boot_state state;
    struct error error;

    if (!boot_read(boot, &state, &error))
        boot_find(found, owner, BOOT_LEVEL_FAILURE, "%s", error.message);
    else if (state.next == SLOT_NONE)
        boot_find(
            found, owner, BOOT_LEVEL_FAILURE,
            "boot selection (%s): it selects neither slot, so what boots next is not known; correct it as "
            "docs/boot.md shows",
            boot->name);
    else
        boot_find(found, owner, BOOT_LEVEL_OK, "boot selection (%s): slot %s boots next", boot->name,
                  slot_name(state.next));
    if (!abilities->trial)
        boot_find(found, owner, BOOT_LEVEL_WARNING,
                  "boot selection (%s): it cannot fall back by itself; a slot that does not start has to be "
                  "set back by hand",
                  boot->name);
    probe_kernel(boot, found, owner);
    note_running(boot);
    if (boot->backend->probe)
        boot->backend->probe(boot, found, owner);
}

bool boot_read(struct boot *boot, struct boot_state *ret_state, struct error *error)
{
    note_running(boot);
    return finish_call(boot, boot->backend->read(boot, ret_state, error), error);
}

bool boot_can_arm(struct boot *boot, enum slot slot, struct error *error)
{
    assert(slot != SLOT_NONE);
    note_running(boot);
    return !boot->backend->can_arm || finish_call(boot, boot->backend->can_arm(boot, slot, error), error);
}

bool boot_invalidate(struct boot *boot, enum slot slot, struct error *error)
{
    assert(slot != SLOT_NONE);
    note_running(boot);
    return finish_call(boot, boot->backend->invalidate(boot, slot, error), error);
}

bool boot_arm(struct boot *boot, enum slot slot, struct error *error)
{
    assert(slot != SLOT_NONE);
    note_running(boot);
    return finish_call(boot, boot->backend->arm(boot, slot, error), error);
}

bool boot_good(struct boot *boot, enum slot slot, struct error *error)
{
    assert(slot != SLOT_NONE);
    note_running(boot);
    return finish_call(boot, boot->backend->good(boot, slot, error), error);
}

bool boot_reject(struct boot *boot, enum slot slot, struct error *error)
{
    assert(slot != SLOT_NONE);
    note_running(boot);
    return finish_call(boot, boot->backend->reject(boot, slot, error), error);
}

const char *boot_health_name(enum boot_health health)
{
    static const char *const names[] = {
        [BOOT_HEALTH_UNKNOWN] = "unknown", [BOOT_HEALTH_GOOD] = "good",       [BOOT_HEALTH_TRIAL] = "trial",
        [BOOT_HEALTH_BAD] = "bad",         [BOOT_HEALTH_INVALID] = "invalid",
    };

    assert(health < sizeof(names) / sizeof(names[0]));
    return names[health];
}
