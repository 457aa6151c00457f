/* SPDX-License-Identifier: MIT */
/*
 * The rules of a trial: how far the release that was armed last has come, and what becomes of it by
 * everything that can happen: a start of moonsinterd with what the boot loader says then, an arming, a
 * reboot, a verdict. This decides whether a release is tried once more or has failed, so every stage answers
 * every event in one table without holes, as update.h does for the update. Works on the record in memory,
 * which is the caller's to save; record.c and this file are the only writers of what it says of slots and
 * trial. Pure: no clock, no I/O, no log, no loop, so that a test can walk every cell and play thousands of
 * lives of a machine. Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/boot/boot.h"
#include "daemon/decide/record.h"
#include "daemon/host/slots.h"

/* What is known of the machine and of its boot loader while the event happens. */
struct trial_machine {
    enum slot running;     /* SLOT_NONE only where the event is no start */
    enum slot next, trial; /* as struct boot_state has them */
    unsigned tries_left;   /* likewise */
    bool running_bad; /* the running slot counts as bad: it was rejected, and the machine waits to leave it */
    bool loader_tries_again; /* the loader itself starts a trial without a verdict again, as often as Tries=
                                says */
    bool in_place_reboot;    /* each start of moonsinterd is a boot (`file`) */
    const char *reboot_argument; /* without it a reboot does not try what is armed; NULL = any reboot does */
    const char *boot_id;         /* of the kernel that runs; "" = it does not tell */
    uint64_t now_s;              /* Unix time */
};

enum trial_event_kind {
    TRIAL_EVENT_STARTED_ON_TRIAL, /* moonsinterd started, or booted in place: the running slot is on trial */
    TRIAL_EVENT_STARTED_TO_LEAVE, /* ... it is not on trial, and the other one is selected for the next boot
                                   */
    TRIAL_EVENT_STARTED_SELECTED, /* ... it is not on trial, and stays selected */
    TRIAL_EVENT_FOUND_ARMED, /* a start finds that the trial's slot runs or boots next; trial_step() itself
                                brings this */
    TRIAL_EVENT_FOUND_LOST,  /* ... that it does neither, so the loader left it; likewise */
    TRIAL_EVENT_GIVEN_UP, /* `slot` is about to be written, or taken back: it holds no whole image from now on
                           */
    TRIAL_EVENT_ARMING, /* `release` stands verified in `slot`, and the boot selection is about to be written
                         */
    TRIAL_EVENT_ARMED,  /* it was written and read back */
    TRIAL_EVENT_ARM_FAILED,    /* it was not, and nothing is known any more of what the slot holds */
    TRIAL_EVENT_REBOOT_ASKED,  /* we are about to reboot the machine */
    TRIAL_EVENT_REBOOT_SEEN,   /* somebody else reboots it, with the argument that the firmware needs */
    TRIAL_EVENT_REBOOT_FAILED, /* the machine did not go down */
    TRIAL_EVENT_MARKED_GOOD,   /* the running slot, durably */
    TRIAL_EVENT_REJECTING, /* the running slot has failed for `reason`; the boot selection is about to say so
                            */
    TRIAL_EVENT_REJECT_FAILED, /* the boot selection could not be written */
    TRIAL_EVENT_DESELECTED, /* another program took the armed slot out of the boot selection; `reason` says so
                             */
    TRIAL_EVENT_ENDED,      /* moonsinterd ends because it was told to */
    TRIAL_EVENT_COUNT,
};

struct trial_event {
    enum trial_event_kind kind;
    enum slot slot;                       /* GIVEN_UP, ARMING, ARM_FAILED */
    const struct record_release *release; /* ARMING */
    bool leaves;                          /* REJECTING: a reboot out of the slot follows at once */
    const char *reason;                   /* REJECTING, DESELECTED: a clause; NULL = none */
    const char *output; /* REJECTING: the last lines of the check that failed; NULL = none */
};

/* What a start was, for the state machine of the update. */
enum trial_start {
    TRIAL_START_NONE, /* the event was no start */
    TRIAL_START_GOOD,
    TRIAL_START_TRIAL,
    TRIAL_START_PENDING,
};

struct trial_outcome {
    enum trial_start start;
    bool falling_back; /* PENDING: the running slot was rejected, so that no new release waits */
    bool at_once;      /* ... and the reboot out of it was under way when we ended */
    bool second_try;   /* a trial ended without a verdict, and its release is to be armed once more: look at
                          once */
    bool has_changed;  /* the record has, in a way that is worth a save */
    char reason[RECORD_TEXT_SIZE];  /* of a start: what it was, as a clause */
    char finding[RECORD_TEXT_SIZE]; /* what became of a trial that ended without us, as a sentence; "" =
                                       nothing */
    bool finding_is_failure;        /* ... the release did not pass; else it was not tried */
};

/* Which of the three a start is. `machine->running` has to be known. */
enum trial_event_kind trial_start_kind(const struct trial_machine *machine);

/* One event: changes *record and fills *ret_outcome. Every stage answers every event. */
void trial_step(struct record *record, const struct trial_machine *machine, const struct trial_event *event,
                struct trial_outcome *ret_outcome);

/* Whether moonsinterd was ended too often during this trial without being told to: no verdict is to be had
 * from it. */
bool trial_restarted_too_often(const struct record *record);

/* How many boots were ended for the slot that boots next, and led back to this one all the same. Not counted
 * is the boot that is called `boot_id`, for the reboot out of it may be under way. */
unsigned trial_failed_switches(const struct record *record, const char *boot_id);

/* "started-on-trial", ... for tests. */
const char *trial_event_name(enum trial_event_kind kind);
