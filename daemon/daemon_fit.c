/* SPDX-License-Identifier: MIT */
/* Whether the slots still hold what the record says of them. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include "common/base/log.h"
#include "common/base/wall_clock.h"

/* How long the image in a slot is; 0 = not known. A record written by an older version has no fingerprints,
 * but mostly the release installed last is still the one on offer, and its manifest has the size. */
static uint64_t find_bytes(const struct daemon *daemon, const struct record_slot *kept)
{
    const struct release *release = checker_release(daemon->checker);

    if (kept->print.bytes)
        return kept->print.bytes;
    return release && record_release_is_same(&kept->release, checker_offered(daemon->checker))
               ? release->manifest->file_size
               : 0;
}

static void forget(struct daemon *daemon, enum slot slot)
{
    struct trial_outcome outcome;
    struct error error;
    bool is_next = slot != daemon->view->running && slot == daemon->view->boot.next;

    error_set(
        &error, ERROR_MISMATCH,
        "slot %s (%s) holds something else than what was recorded of it: it was written by other means, or "
        "StateDirectory= is another device's or a backup; what was recorded is forgotten",
        slot_name(slot), daemon->view->slots->devices[slot].path);
    log_warning("%s", error.message);
    record_set_error(daemon->record, &error, wall_clock_now_s());
    /* The slot that boots next was verified once; that does not count any more. */
    if (is_next)
        daemon_trial_step(daemon, &(struct trial_event){.kind = TRIAL_EVENT_GIVEN_UP, .slot = slot},
                          &outcome);
    else
        record_forget_slot(daemon->record, slot, wall_clock_now_s());
}

void daemon_fit_ask(const struct daemon *daemon, uint64_t ret_bytes[SLOT_COUNT])
{
    for (int i = 0; i < SLOT_COUNT; i++)
        ret_bytes[i] =
            daemon->unclassified || !daemon->compared[i] ? find_bytes(daemon, &daemon->record->slots[i]) : 0;
}

bool daemon_fit_judge(struct daemon *daemon, const struct boot_prints *prints)
{
    bool any = false;

    for (int i = 0; i < SLOT_COUNT; i++) {
        struct record_slot *kept = &daemon->record->slots[i];
        struct slot_print known = kept->print;

        /* A slot that could not be read proves nothing and is read again at the next look. */
        daemon->compared[i] |=
            prints->is_taken[i] || (daemon->view->slots->devices[i].present && find_bytes(daemon, kept) == 0);
        if (!prints->is_taken[i])
            continue;
        /* An image may give itself a new UUID at its first boot, so the identity does not count then. */
        if (kept->state == BOOT_HEALTH_TRIAL &&
            (i == (int)daemon->view->running || daemon->view->running == SLOT_NONE))
            known.identity = 0;
        if (known.bytes && !slot_print_fits(&known, &prints->seen[i])) {
            forget(daemon, (enum slot)i);
            any = true;
        } else {
            kept->print = prints->seen[i];
        }
    }
    return any;
}
