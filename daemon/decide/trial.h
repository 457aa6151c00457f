/* SPDX-License-Identifier: MIT */
/*
 * The rules of a trial: how far the release armed last has come, and what each event does to it: a start
 * of moonsinterd with what the boot loader says then, an arming, a reboot, a verdict. Here it is decided
 * whether a release is tried once more or has failed, so every stage answers every event in one table
 * without holes, as in update.h. Works on the record in memory, which the caller saves; only record.c and
 * this file change what it says of slots and trial. Pure: no clock, no I/O, no log, no loop, so that a
 * test can walk every cell and play thousands of lives of a machine. Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/boot/boot.h"
#include "daemon/decide/record.h"
#include "daemon/host/slots.h"

/* What is known of the machine and of its boot loader while the event happens. */
struct trial_machine {
    enum slot running;       /* SLOT_NONE only where the event is no start */
    enum slot next, trial;   /* as struct boot_state has them */
    unsigned tries_left;     /* as struct boot_state has it */
    bool running_bad;        /* the running slot was rejected, and the machine waits to leave it */
    bool loader_tries_again; /* the loader itself starts a slot without a verdict again, as often as Tries=
                                says */
    bool in_place_reboot;    /* each start of moonsinterd is a boot (`file`) */
    const char *reboot_argument; /* without it a reboot does not try the armed slot; NULL = any reboot does */
    const char *boot_id;         /* of the kernel that runs; "" = it does not tell */
    uint64_t now_s;              /* Unix time */
};

enum trial_event_kind {
    TRIAL_EVENT_STARTED_ON_TRIAL, /* moonsinterd started, or booted in place: the running slot is on trial */
    TRIAL_EVENT_STARTED_TO_LEAVE, /* ... it is not on trial, and the other one is selected for the next boot
                                   */
    TRIAL_EVENT_STARTED_SELECTED, /* ... it is not on trial, and stays selected */
    TRIAL_EVENT_FOUND_ARMED,      /* found at a start: the trial's slot runs or boots next; only trial_step()
                                     itself raises this */
    TRIAL_EVENT_FOUND_LOST, /* found at a start: it does neither, so the loader left it; only trial_step()
                               itself raises this */
    TRIAL_EVENT_GIVEN_UP, /* `slot` is about to be written or deselected: it counts as holding no whole image
                             from now on */
    TRIAL_EVENT_ARMING, /* `slot` holds `release`, verified, and the boot selection is about to be written */
    TRIAL_EVENT_ARMED,  /* the boot selection was written and read back */
    TRIAL_EVENT_ARM_FAILED,    /* it was not written, and what the slot holds is no longer certain */
    TRIAL_EVENT_REBOOT_ASKED,  /* moonsinterd is about to reboot the machine */
    TRIAL_EVENT_REBOOT_SEEN,   /* somebody else reboots the machine, with the argument that the firmware needs
                                */
    TRIAL_EVENT_REBOOT_FAILED, /* the machine did not go down */
    TRIAL_EVENT_MARKED_GOOD,   /* the running slot was marked good, durably */
    TRIAL_EVENT_REJECTING, /* the running slot failed for `reason`; the boot selection is about to be written
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

/* The kind of a start, for the state machine of update.h. */
enum trial_start {
    TRIAL_START_NONE, /* the event was no start */
    TRIAL_START_GOOD,
    TRIAL_START_TRIAL,
    TRIAL_START_PENDING,
};

struct trial_outcome {
    enum trial_start start;
    bool falling_back; /* PENDING: the running slot was rejected, so it is no new release that waits */
    bool at_once;      /* PENDING: the reboot out of it was under way when moonsinterd ended */
    bool second_try;   /* a trial ended without a verdict and its release is to be armed once more: check at
                          once */
    bool has_changed;  /* the record changed in a way that is worth a save */
    char reason[RECORD_TEXT_SIZE];  /* of a start: its kind, as a clause */
    char finding[RECORD_TEXT_SIZE]; /* what became of a trial that ended without moonsinterd, as a sentence;
                                       "" = nothing */
    bool finding_is_failure;        /* the finding is that the release failed; else that it was not tried */
};

/* Which of the three TRIAL_EVENT_STARTED_... a start is. `machine->running` has to be known. */
enum trial_event_kind trial_start_kind(const struct trial_machine *machine);

/* Applies one event: changes *record and fills *ret_outcome. Every stage answers every event. */
void trial_step(struct record *record, const struct trial_machine *machine, const struct trial_event *event,
                struct trial_outcome *ret_outcome);

/* Whether moonsinterd crashed or was killed so often during this trial that there will be no verdict. */
bool trial_restarted_too_often(const struct record *record);

/* How many reboots into the slot that boots next led back to this one. The boot with the ID `boot_id` does
 * not count, because the reboot out of it may still be under way. */
unsigned trial_failed_switches(const struct record *record, const char *boot_id);
