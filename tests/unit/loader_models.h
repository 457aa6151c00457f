/* SPDX-License-Identifier: MIT */
/*
 * Models of boot loaders: what they do when the machine starts, and what a write of boot state does to their
 * data, like the backends in daemon/boot/ and the scripts in conf/. For tests that play the lives of machines
 * (trial_life.h); other tests compare the backends with the real loaders. Pure.
 */
#pragma once

#include <stdbool.h>

#include "daemon/boot/boot.h"
#include "daemon/host/slots.h"

enum loader_kind {
    LOADER_GRUB,
    LOADER_UBOOT_RAUC,   /* with conf/uboot-boot.cmd, which counts starts only in a trial */
    LOADER_UBOOT_MENDER, /* bootcount and bootlimit, and the name of one partition */
    LOADER_ONE_TRY,      /* systemd-boot: an entry for one start */
    LOADER_TRYBOOT,      /* one start, and only if the reboot tells the firmware so */
    LOADER_FILE,         /* each start of moonsinterd is a boot */
    LOADER_KIND_COUNT,
};

struct loader {
    enum loader_kind kind;
    bool lies; /* always starts slot A, like a loader that reads its data from another file */
    unsigned tries;
    enum slot running;
    enum slot selected; /* is started if there is no trial, or no try is left */
    enum slot trial;    /* armed or being tried; SLOT_NONE = none */
    unsigned left;      /* tries of the trial */
    bool startable[SLOT_COUNT];
};

/* Sets up a loader with both slots good and A running. */
void loader_init(struct loader *loader, enum loader_kind kind, unsigned tries);

const char *loader_kind_name(enum loader_kind kind);
struct boot_abilities loader_abilities(const struct loader *loader);

/* Starts the machine. `argument`: the reboot passed the argument that the firmware wants for a trial. */
void loader_start(struct loader *loader, bool argument);

/* The boot state, as the backend reads it. */
struct boot_state loader_read(const struct loader *loader);

/* Write boot state, as the backend does; false = refused. */
bool loader_invalidate(struct loader *loader, enum slot slot);
bool loader_arm(struct loader *loader, enum slot slot);
bool loader_good(struct loader *loader, enum slot slot);
bool loader_reject(struct loader *loader, enum slot slot);
