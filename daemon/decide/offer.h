/* SPDX-License-Identifier: MIT */
/*
 * What an offered release means for this device: whether it has to be signed, which slot holds it already,
 * which release waits for its boot meanwhile, and the input of the rules of policy.h. In one place for the
 * daemon, which acts on it, and for doctor, which tells what the daemon would do. Pure: everything it
 * needs is in the struct. Never blocks; the loop's thread only.
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

/* Everything it points at stays the caller's. */
struct offer {
    const struct config *config;
    const struct config *places; /* the settings of the start, which say where the parts of a set lie */
    const struct record *record;
    const struct boot_state *boot; /* the boot selection as the loader reads it */
    enum slot running;             /* SLOT_NONE = not known */
    bool falling_back;             /* the next boot leads back to a good slot and is no trial */
    uint64_t now_s;                /* Unix time */
    const char *machine_id;        /* "" = there is none, and machine_id_why says why */
    const char *machine_id_why;
    const struct manifest *manifest; /* NULL = nothing is offered */
    const struct record_release
        *release; /* the same release as the record keeps it; NULL only without a manifest */
};

/* Whether a manifest has to be signed here. Once a signed release was accepted, signatures stay demanded even
 * if the keys are removed; keys that cannot be used count as keys. */
bool offer_must_be_signed(const struct config *config, const struct record *record);

/* The earliest Unix time that it can be now, whatever the clock says: when this program was built, or when
 * the last accepted release was made. */
uint64_t offer_floor_s(const struct record *record);

/* The release that moonsinterd armed and that waits for its boot; owned by the record. NULL if there is
 * none. */
const struct record_release *offer_find_armed(const struct offer *offer);

/* The slot that holds the offered release: the running one, or the other one if it boots next. SLOT_NONE if
 * the release would have to be installed, or if nothing is offered. */
enum slot offer_find_holder(const struct offer *offer);

/* The image in the running slot with which a release goes on that lacks this part (Missing=carry). Only what
 * a release brought is copied, and never what was made for one slot. NULL, with *ret_how, if the release
 * needs the part. `running` is NULL where it is not known which slot runs. */
const struct record_part *offer_find_carried(const struct record_slot *running,
                                             const struct config_part *part, enum policy_missing *ret_how);

/* Fills in what settings, record, boot selection and manifest say and empties the rest. The caller adds what
 * an operator asked for, what is wrong with this machine, the plan and what concerns the reboot. The strings
 * are those of *offer. */
void offer_fill_input(const struct offer *offer, struct policy_input *ret_input);
