/* SPDX-License-Identifier: MIT */
/* The inside of doctor, for the doctor_*.c files only. See daemon/doctor/doctor.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/image/rollout.h"
#include "common/io/http.h"
#include "common/io/loop.h"
#include "common/io/pool.h"
#include "common/sinter/release.h"
#include "daemon/boot/boot.h"
#include "daemon/config/config.h"
#include "daemon/decide/record.h"
#include "daemon/host/process.h"
#include "daemon/host/slots.h"

/* The levels of a finding are those of the boot loader's: enum boot_level. */
struct doctor {
    FILE *stream;
    bool for_people;
    unsigned counts[BOOT_LEVEL_FAILURE + 1];
    struct config *config;
    struct event_base *base; /* run for one request at a time */
    struct pool *pool;
    struct processes *processes;
    struct boot *boot;   /* NULL = not usable */
    struct slots *slots; /* NULL = not known */
    uint64_t slot_bytes; /* of the smaller slot; 0 = not known, or files that grow */
    struct boot_state boot_state;
    struct record record; /* what the daemon remembers; empty where it never ran */
    char machine_id[ROLLOUT_MACHINE_ID_SIZE + 1];
    char machine_id_why[256];
    struct release *release;    /* what the server offers; NULL = not known */
    uint64_t image_bytes;       /* size of its image; 0 = not known */
    uint64_t release_created_s; /* Unix time; 0 = not known */
};

/* Reports one finding: `check` in kebab-case; the sentence says what is there and, if that is wrong, what to
 * do. */
void doctor_tell(struct doctor *doctor, const char *check, enum boot_level level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* doctor_device.c */
void doctor_look_at_boot(struct doctor *doctor);
void doctor_look_at_slots(struct doctor *doctor);
void doctor_look_at_state_folder(struct doctor *doctor);

/* doctor_parts.c: of the slots that were looked at, and what the server offers for the target's. */
void doctor_look_at_parts(struct doctor *doctor);
void doctor_look_at_room_for_parts(struct doctor *doctor);

/* doctor_offer.c */

/* Reads what the daemon remembers, and leaves it as it is. */
void doctor_read_record(struct doctor *doctor);

/* What a manifest must have on this device. */
struct trust doctor_trust(const struct doctor *doctor);
void doctor_look_at_trust(struct doctor *doctor);

/* Whether the release that the server offers would be installed, and what would hold it. Makes the plan where
 * a limit needs it. */
void doctor_judge_offer(struct doctor *doctor, struct http *http);

/* doctor_server.c: also learns the release, image_bytes and release_created_s. */
void doctor_ask_server(struct doctor *doctor);

/* doctor_machine.c */
void doctor_look_at_clock(struct doctor *doctor);
void doctor_look_at_memory(struct doctor *doctor);
void doctor_look_at_health_checks(struct doctor *doctor);
void doctor_look_at_reboot(struct doctor *doctor);
