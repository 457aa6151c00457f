/* SPDX-License-Identifier: MIT */
/* Whether the slots still hold what the record says of them. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/wall_clock.h"

/* The manifest of an image of the offered release, if it is that of `slot`, which is recorded to hold that
 * release; NULL if it is another release, or has no such part. */
static const struct manifest *find_manifest(const struct daemon *daemon, enum slot slot, const char *name)
{
    struct release *release = checker_release(daemon->checker);

    if (!release ||
        !record_release_is_same(&daemon->record->slots[slot].release, checker_offered(daemon->checker)))
        return NULL;
    const struct release *image = release_image(release, name, slot);
    return image ? image->manifest : NULL;
}

/* Asks for an image of which `known` is recorded. A record written by an older version has no fingerprints,
 * and that of a slot that was just identified may lack some, but mostly the release installed last is still
 * the one on offer, and its manifest has the size. */
static void ask(const struct daemon *daemon, struct boot_prints *prints, enum slot slot, const char *name,
                const struct slot_print *known)
{
    struct boot_print *print = &prints->list[slot][prints->count[slot]++];
    const struct manifest *manifest = find_manifest(daemon, slot, name);

    snprintf(print->name, sizeof(print->name), "%s", name);
    print->bytes = known->bytes ? known->bytes : manifest ? manifest->file_size : 0;
}

void daemon_fit_ask(const struct daemon *daemon, struct boot_prints *prints)
{
    for (int i = 0; i < SLOT_COUNT; i++) {
        const struct record_slot *kept = &daemon->record->slots[i];
        if (!daemon->unclassified && daemon->compared[i])
            continue;
        ask(daemon, prints, (enum slot)i, MANIFEST_MAIN_NAME, &kept->print);
        for (unsigned k = 0; k < kept->part_count; k++)
            ask(daemon, prints, (enum slot)i, kept->parts[k].name, &kept->parts[k].print);
    }
}

static void forget(struct daemon *daemon, enum slot slot, const char *name)
{
    const struct storage *place = slots_find_place(daemon->view->slots, name, slot);
    bool is_main = strcmp(name, MANIFEST_MAIN_NAME) == 0;
    struct trial_outcome outcome;
    struct error error;
    bool is_next = slot != daemon->view->running && slot == daemon->view->boot.next;

    error_set(
        &error, ERROR_MISMATCH,
        "slot %s (%s%s%s) holds something else than what was recorded of it: it was written by other means, or "
        "StateDirectory= is another device's or a backup; what was recorded is forgotten",
        slot_name(slot), is_main ? "" : name, is_main ? "" : ": ", place->path);
    log_warning("%s", error.message);
    record_set_error(daemon->record, &error, wall_clock_now_s());
    /* The slot that boots next was verified once; that does not count any more. */
    if (is_next)
        daemon_trial_step(daemon, &(struct trial_event){.kind = TRIAL_EVENT_GIVEN_UP, .slot = slot},
                          &outcome);
    else
        record_forget_slot(daemon->record, slot, wall_clock_now_s());
}

/* Whether an image may be what was recorded of it, as far as it was read. */
static bool fits(const struct slot_print *recorded, const struct boot_print *print, bool identity_counts)
{
    struct slot_print known = *recorded;

    if (!identity_counts)
        known.identity = 0;
    return !known.bytes || known.bytes != print->seen.bytes || slot_print_fits(&known, &print->seen);
}

/* The first image that is another one than was recorded; NULL if there is none. */
static const struct boot_print *find_misfit(struct daemon *daemon, enum slot slot,
                                            const struct boot_prints *prints)
{
    /* An image may give itself a new UUID at its first boot. */
    bool is_first_boot = daemon->record->slots[slot].state == BOOT_HEALTH_TRIAL &&
                         (slot == daemon->view->running || daemon->view->running == SLOT_NONE);

    for (unsigned i = 0; i < prints->count[slot]; i++) {
        const struct boot_print *print = &prints->list[slot][i];
        const struct slot_print *recorded = record_slot_find_print(&daemon->record->slots[slot], print->name);
        if (print->is_taken && recorded && !fits(recorded, print, !is_first_boot))
            return print;
    }
    return NULL;
}

/* Whether nothing more can be found out about a slot. An image that could not be read proves nothing and is
 * read again at the next look, and so is one whose place is not there yet. */
static bool is_compared(const struct daemon *daemon, enum slot slot, const struct boot_prints *prints)
{
    for (unsigned i = 0; i < prints->count[slot]; i++) {
        const struct boot_print *print = &prints->list[slot][i];
        const struct storage *place = slots_find_place(daemon->view->slots, print->name, slot);
        if (!print->is_taken && place && (!place->present || print->bytes))
            return false;
    }
    return prints->count[slot] > 0;
}

bool daemon_fit_judge(struct daemon *daemon, const struct boot_prints *prints)
{
    bool any = false;

    for (int i = 0; i < SLOT_COUNT; i++) {
        enum slot slot = (enum slot)i;
        const struct boot_print *misfit = find_misfit(daemon, slot, prints);
        daemon->compared[i] |= is_compared(daemon, slot, prints);
        if (misfit) {
            forget(daemon, slot, misfit->name);
            any = true;
            continue;
        }
        for (unsigned k = 0; k < prints->count[i]; k++) {
            const struct boot_print *print = &prints->list[i][k];
            struct slot_print *recorded = record_slot_find_print(&daemon->record->slots[slot], print->name);
            if (print->is_taken && recorded)
                *recorded = print->seen;
        }
    }
    return any;
}
