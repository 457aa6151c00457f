/* SPDX-License-Identifier: MIT */
/*
 * The life of a machine that is kept up to date, as far as trials go: a model of its boot loader, two slots,
 * the record in memory and the one on the medium, and moonsinterd's order of saves and writes of boot state.
 * The rules are the real ones (daemon/decide/trial.h). Between any two steps something may strike: struct
 * life_strike says what and when.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/decide/record.h"
#include "loader_models.h"

enum life_event {
    LIFE_POWER_CUT,       /* memory is lost; the machine starts */
    LIFE_KILL,            /* moonsinterd is; the machine runs on */
    LIFE_RESTART,         /* moonsinterd is told to end, and started again */
    LIFE_REBOOT,          /* somebody reboots the machine in order, without an argument */
    LIFE_REBOOT_ARGUMENT, /* ... with the one that the firmware wants */
    LIFE_SAVE_FAILS,      /* the next save of the record */
    LIFE_WRITE_FAILS,     /* the next write of boot state */
    LIFE_MARK_BAD,        /* an operator's orders: for the running slot, where it is taken */
    LIFE_MARK_GOOD,
    LIFE_INSTALL, /* installs what is offered even where it failed before */
    LIFE_EVENT_COUNT,
};

/* How the release that is offered is. */
enum life_quality {
    LIFE_FIT,
    LIFE_UNFIT,  /* its health checks fail */
    LIFE_PANICS, /* it never comes up as far as moonsinterd */
    LIFE_QUALITY_COUNT,
};

struct life_strike {
    unsigned moment; /* counted from 1 through the whole life */
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
    int holds[SLOT_COUNT]; /* a release; 0 = no whole image */
    unsigned boot;         /* of the machine */
    char boot_id[RECORD_BOOT_ID_SIZE];
    unsigned moment;
    bool save_fails, write_fails;
    bool argument; /* of the reboot that is next */
    /* What is counted: */
    unsigned starts; /* of moonsinterd */
    unsigned tries;  /* boots of the release that is offered while it was on trial */
    unsigned kills;
    unsigned installs_asked;  /* orders of an operator's that went on though it had failed */
    unsigned rejects_asked;   /* an operator's mark-bad */
    unsigned goods_asked;     /* an operator's mark-good of a slot on trial */
    unsigned cut_while_armed; /* power cuts between the write that arms and the save that says so */
    unsigned
        cut_while_asked; /* ends between the save of a try that the firmware is told of, and its reboot */
    bool gave_up;        /* rests although another slot is selected: its loader does not do what it is told */
    const char *broken;  /* an invariant that did not hold at some moment; NULL = all did */
};

/* Both slots hold the old release, A runs, nothing is recorded. Freed by life_finish(). */
void life_init(struct life *life, enum loader_kind kind, unsigned tries, enum life_quality quality);
void life_finish(struct life *life);

/* Until nothing is left to do; false where that does not come about. */
bool life_run(struct life *life);

/* The release as the record knows it. */
struct record_release life_release(int number);
