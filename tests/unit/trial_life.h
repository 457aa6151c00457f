/* SPDX-License-Identifier: MIT */
/*
 * Plays the life of a machine that is updated, as far as trials are concerned: with a model of its boot
 * loader, two slots, the record in memory and on the medium, and moonsinterd's order of saves and writes of
 * boot state. The rules are the real ones (daemon/decide/trial.h). Between any two steps something can
 * happen, which struct life_strike says.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/decide/record.h"
#include "loader_models.h"

enum life_event {
    LIFE_POWER_CUT,       /* memory is lost, and the machine starts */
    LIFE_KILL,            /* moonsinterd is killed and started again */
    LIFE_RESTART,         /* moonsinterd is told to end and started again */
    LIFE_REBOOT,          /* somebody reboots the machine in order, without an argument */
    LIFE_REBOOT_ARGUMENT, /* somebody reboots it with the argument that the firmware wants for a trial */
    LIFE_SAVE_FAILS,      /* the next save of the record fails */
    LIFE_WRITE_FAILS,     /* the next write of boot state fails */
    LIFE_MARK_BAD,        /* an operator's orders for the running slot, if they are accepted */
    LIFE_MARK_GOOD,
    LIFE_INSTALL, /* an operator's order to install what is offered, even if it failed before */
    LIFE_EVENT_COUNT,
};

/* What becomes of the release that is offered. */
enum life_quality {
    LIFE_FIT,
    LIFE_UNFIT,  /* its health checks fail */
    LIFE_PANICS, /* it never gets as far as moonsinterd */
    LIFE_QUALITY_COUNT,
};

struct life_strike {
    unsigned moment; /* between which two steps, counted from 1 through the whole life */
    enum life_event event;
};

enum { LIFE_STRIKES_MAX = 4, LIFE_STARTS_MAX = 200, LIFE_OLD = 1, LIFE_OFFERED = 2 };

struct life {
    /* Set by the caller: */
    enum life_quality quality;
    struct life_strike strikes[LIFE_STRIKES_MAX];
    unsigned strike_count;

    struct loader loader;
    struct record *memory, *medium;
    int holds[SLOT_COUNT]; /* LIFE_OLD or LIFE_OFFERED; 0 = no whole image */
    unsigned boot;         /* number of the machine's boot */
    char boot_id[RECORD_BOOT_ID_SIZE];
    unsigned moment;
    bool save_fails, write_fails;
    bool argument; /* the next reboot passes the argument */
    /* Counted: */
    unsigned starts; /* of moonsinterd */
    unsigned tries;  /* boots of the offered release while it was on trial */
    unsigned kills;
    unsigned installs_asked;  /* LIFE_INSTALL that went on although the release had failed */
    unsigned rejects_asked;   /* LIFE_MARK_BAD that was accepted */
    unsigned goods_asked;     /* LIFE_MARK_GOOD of a slot on trial */
    unsigned cut_while_armed; /* power cuts between the write that arms and the save that records it */
    unsigned cut_while_asked; /* ends between the save of a try and the reboot with the argument */
    bool gave_up;       /* rests with another slot selected, as the loader does not do what it is told */
    const char *broken; /* an invariant that was false at some moment; NULL = none */
};

/* Begins a life: both slots hold the old release, A runs, nothing is recorded. Freed by life_finish(). */
void life_init(struct life *life, enum loader_kind kind, unsigned tries, enum life_quality quality);
void life_finish(struct life *life);

/* Plays until nothing is left to do; false if that does not happen within LIFE_STARTS_MAX starts. */
bool life_run(struct life *life);

/* The release with this number, as it is in the record. */
struct record_release life_release(int number);
