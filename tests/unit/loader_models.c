/* SPDX-License-Identifier: MIT */
#include "loader_models.h"

void loader_init(struct loader *loader, enum loader_kind kind, unsigned tries)
{
    *loader = (struct loader){.kind = kind,
                              .tries = tries,
                              .running = SLOT_A,
                              .selected = SLOT_A,
                              .trial = SLOT_NONE,
                              .startable = {true, true}};
}

const char *loader_kind_name(enum loader_kind kind)
{
    static const char *const names[LOADER_KIND_COUNT] = {
        [LOADER_GRUB] = "grub",
        [LOADER_UBOOT_RAUC] = "uboot-rauc",
        [LOADER_UBOOT_MENDER] = "uboot-mender",
        [LOADER_ONE_TRY] = "one-try",
        [LOADER_TRYBOOT] = "tryboot",
        [LOADER_FILE] = "file",
    };

    return names[kind];
}

static bool has_one_try(const struct loader *loader)
{
    return loader->kind == LOADER_ONE_TRY || loader->kind == LOADER_TRYBOOT;
}

struct boot_abilities loader_abilities(const struct loader *loader)
{
    return (struct boot_abilities){.trial = true,
                                   .tries = !has_one_try(loader),
                                   .in_place_reboot = loader->kind == LOADER_FILE,
                                   .reboot_argument = loader->kind == LOADER_TRYBOOT ? "0 tryboot" : NULL};
}

void loader_start(struct loader *loader, bool argument)
{
    bool tries = loader->trial != SLOT_NONE && loader->left && (loader->kind != LOADER_TRYBOOT || argument);

    loader->running = loader->selected;
    if (tries) {
        loader->left--;
        loader->running = loader->trial;
    } else if (loader->trial != SLOT_NONE && loader->left == 0 && loader->kind == LOADER_FILE) {
        loader->startable[loader->trial] = false;
        loader->trial = SLOT_NONE;
    }
    /* Armed in one boot, for the reboot that ends it. */
    if (loader->kind == LOADER_TRYBOOT)
        loader->left = 0;
    if (loader->lies)
        loader->running = SLOT_A;
}

struct boot_state loader_read(const struct loader *loader)
{
    struct boot_state state = {.running = loader->kind == LOADER_FILE ? loader->running : SLOT_NONE,
                               .next = loader->trial != SLOT_NONE && loader->left ? loader->trial
                                                                                  : loader->selected,
                               .trial = loader->trial,
                               .tries_left = loader->left};

    /* The entry is gone with the start, and who runs tells whether it is being tried. */
    if (loader->kind == LOADER_ONE_TRY && loader->left == 0 && loader->running != loader->trial)
        state.trial = SLOT_NONE;
    for (int i = SLOT_A; i <= SLOT_B; i++)
        state.health[i] = state.trial == (enum slot)i ? (loader->left ? BOOT_HEALTH_TRIAL : BOOT_HEALTH_BAD)
                          : loader->startable[i]      ? BOOT_HEALTH_GOOD
                                                      : BOOT_HEALTH_BAD;
    return state;
}

/* Whether the other slot would do without this one. */
static bool can_spare(const struct loader *loader, enum slot slot)
{
    return loader->startable[slot_other(slot)] && loader->trial != slot_other(slot);
}

static void end_trial(struct loader *loader)
{
    loader->trial = SLOT_NONE;
    loader->left = 0;
}

static bool deselect(struct loader *loader, enum slot slot)
{
    if (!can_spare(loader, slot))
        return false;
    end_trial(loader);
    loader->startable[slot] = false;
    loader->selected = slot_other(slot);
    return true;
}

bool loader_invalidate(struct loader *loader, enum slot slot)
{
    return slot != loader->running && deselect(loader, slot);
}

bool loader_arm(struct loader *loader, enum slot slot)
{
    if (slot == loader->running || !can_spare(loader, slot))
        return false;
    /* After the running one was rejected, a selected one is known to be good. */
    if (loader->selected == slot && loader->startable[slot])
        return true;
    loader->selected = slot_other(slot);
    loader->trial = slot;
    loader->left = has_one_try(loader) ? 1 : loader->tries;
    return true;
}

bool loader_good(struct loader *loader, enum slot slot)
{
    if (slot != loader->running)
        return false;
    end_trial(loader);
    loader->startable[slot] = true;
    loader->selected = slot;
    return true;
}

bool loader_reject(struct loader *loader, enum slot slot)
{
    return deselect(loader, slot);
}
