/* SPDX-License-Identifier: MIT */
/*
 * Boot loaders as small as can be: what they do at a start, and what a write of boot state does to their
 * data, as the backends in daemon/boot/ and the scripts in conf/ have it. For tests that play the lives of
 * machines; the backends themselves are held against the real loaders elsewhere. Pure.
 */
#pragma once

#include <stdbool.h>

#include "daemon/boot/boot.h"
#include "daemon/host/slots.h"

enum loader_kind {
    LOADER_GRUB,
    LOADER_UBOOT_RAUC,   /* with our script, which takes a start in a trial only */
    LOADER_UBOOT_MENDER, /* bootcount and bootlimit, one partition named */
    LOADER_ONE_TRY,      /* systemd-boot: an entry for one start */
    LOADER_TRYBOOT,      /* one start, and only where the reboot tells the firmware so */
    LOADER_FILE,         /* each start of moonsinterd is a boot */
    LOADER_KIND_COUNT,
};

struct loader {
    enum loader_kind kind;
    bool lies; /* starts slot A whatever its data say, as a loader does that reads another file */
    unsigned tries;
    enum slot running;
    enum slot selected; /* runs where there is no trial, or no try is left */
    enum slot trial;    /* armed or being tried; SLOT_NONE = none */
    unsigned left;      /* of the trial */
    bool startable[SLOT_COUNT];
};

/* Both slots good, A running. */
void loader_init(struct loader *loader, enum loader_kind kind, unsigned tries);

const char *loader_kind_name(enum loader_kind kind);
struct boot_abilities loader_abilities(const struct loader *loader);

/* The machine starts, or boots in place; `argument`: the reboot told the firmware. */
void loader_start(struct loader *loader, bool argument);

/* What the backend reads now. */
struct boot_state loader_read(const struct loader *loader);

/* The writes of boot state; false = refused. */
bool loader_invalidate(struct loader *loader, enum slot slot);
bool loader_arm(struct loader *loader, enum slot slot);
bool loader_good(struct loader *loader, enum slot slot);
bool loader_reject(struct loader *loader, enum slot slot);
