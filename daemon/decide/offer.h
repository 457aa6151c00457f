/* SPDX-License-Identifier: MIT */
/*
 * What a release that a server offers is to this device: whether it has to be signed, which slot holds it
 * already, which release waits for its boot meanwhile, and what the rules of policy.h look at. Said once, for
 * the daemon, which goes by it, and for doctor, which tells what the daemon would do. Pure: whatever counts
 * is in the struct. Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/image/manifest.h"
#include "daemon/boot/boot.h"
#include "daemon/config/config.h"
#include "daemon/decide/policy.h"
#include "daemon/decide/record.h"
#include "daemon/host/slots.h"

/* All of it is the caller's. */
struct offer {
    const struct config *config;
    const struct record *record;
    const struct boot_state *boot; /* the boot selection as the loader has it */
    enum slot running;             /* SLOT_NONE = not known */
    bool falling_back;             /* the next boot leads back to a good slot, and tries nothing */
    uint64_t now_s;                /* Unix time */
    const char *machine_id;        /* "" = there is none, and machine_id_why says why */
    const char *machine_id_why;
    const struct manifest *manifest;      /* NULL = nothing is offered */
    const struct record_release *release; /* what it is known by again; NULL only without a manifest */
};

/* Whether a manifest has to be signed here. Once a signed release was accepted, a key that is missing does
 * not make the server trustworthy; and keys that cannot be used are keys. */
bool offer_must_be_signed(const struct config *config, const struct record *record);

/* Unix time before which it cannot be, whatever the clock says: when this program was built, or when the last
 * release accepted was made. */
uint64_t offer_floor_s(const struct record *record);

/* The release that was armed here and waits for its boot, the record's; NULL where none does. */
const struct record_release *offer_find_armed(const struct offer *offer);

/* The slot that holds what is offered: the running one, or the one that waits for its boot already; SLOT_NONE
 * where it would have to be installed, and where nothing is offered. */
enum slot offer_find_holder(const struct offer *offer);

/* Fills in what settings, record, boot selection and manifest say, and leaves the rest empty: what an
 * operator asked for, what is wrong with this machine, the plan, and the reboot are the caller's to add. The
 * strings are those of *offer. */
void offer_fill_input(const struct offer *offer, struct policy_input *ret_input);
