/* SPDX-License-Identifier: MIT */
/*
 * The one state machine of an update: what happened goes in as an event, what is to be done comes out as
 * orders. Pure, except for one log line when the state changes: no clock, no I/O, no loop, so that a test
 * can walk every cell of the table. daemon_step.c feeds the events and carries out the orders; only here
 * is decided what is begun next. Other files read the state to show it, to see whether their work is still
 * wanted, and to see whether new settings may be taken. Never blocks; the loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

enum update_state {
    UPDATE_STATE_IDLE,           /* nothing to do until the next check */
    UPDATE_STATE_CHECKING,       /* asking the server, judging its answer, planning */
    UPDATE_STATE_HELD,           /* something could be done and a rule forbids it */
    UPDATE_STATE_INSTALLING,     /* from before the target is invalidated until it was read back whole */
    UPDATE_STATE_ACTIVATING,     /* the write that arms the slot is under way */
    UPDATE_STATE_REBOOT_PENDING, /* the next boot takes the other slot */
    UPDATE_STATE_TRIAL,          /* the running slot has no verdict yet */
    UPDATE_STATE_STOPPING,       /* asked to end; waits for what cannot be interrupted */
    UPDATE_STATE_COUNT,
};

/* What happened. Requests come from the API; the others from the daemon's own work. */
enum update_event_kind {
    UPDATE_EVENT_BOOTED_GOOD,  /* a start, or a boot in place: the running slot is good and stays selected */
    UPDATE_EVENT_BOOTED_TRIAL, /* ... it is on trial */
    UPDATE_EVENT_BOOTED_PENDING, /* ... the other slot is already selected for the next boot */
    UPDATE_EVENT_BOOTED_UNKNOWN, /* ... which slot runs cannot be said */
    UPDATE_EVENT_POLL_DUE,
    UPDATE_EVENT_CHECK_REQUESTED,
    UPDATE_EVENT_INSTALL_REQUESTED,
    UPDATE_EVENT_CANCEL_REQUESTED,
    UPDATE_EVENT_REBOOT_REQUESTED,
    UPDATE_EVENT_MARK_GOOD_REQUESTED,
    UPDATE_EVENT_MARK_BAD_REQUESTED,
    UPDATE_EVENT_ROLLBACK_REQUESTED,
    UPDATE_EVENT_CHECK_UNCHANGED, /* what is offered runs already, or is armed already */
    UPDATE_EVENT_CHECK_OFFERS,    /* a release that may be installed */
    UPDATE_EVENT_CHECK_HELD,      /* a release that may not, see policy.h */
    UPDATE_EVENT_CHECK_FAILED,
    UPDATE_EVENT_JUDGED_HELD, /* the last offer was judged again, without a check: it may not be installed */
    UPDATE_EVENT_JUDGED_FREE, /* ... nothing holds it any longer, or there is no offer */
    UPDATE_EVENT_INVALIDATED, /* the target is recorded as invalid and not bootable, durably */
    UPDATE_EVENT_INVALIDATE_FAILED,
    UPDATE_EVENT_INSTALLED, /* written, synced, read back whole, and still held open */
    UPDATE_EVENT_INSTALL_FAILED,
    UPDATE_EVENT_ARMED, /* armed for the next boot, read back */
    UPDATE_EVENT_ARM_FAILED,
    UPDATE_EVENT_DESELECTED, /* another program took the other slot out of the boot selection */
    UPDATE_EVENT_REBOOT_DUE, /* policy lets the machine reboot now */
    UPDATE_EVENT_REBOOT_FAILED,
    UPDATE_EVENT_VERDICT_GOOD, /* the trial's health checks passed */
    UPDATE_EVENT_VERDICT_BAD,
    UPDATE_EVENT_MARKED_GOOD, /* the running slot is good, durably */
    UPDATE_EVENT_MARK_GOOD_FAILED,
    UPDATE_EVENT_REJECTED, /* the running slot is rejected, the next boot takes the other one, durably */
    UPDATE_EVENT_REJECT_FAILED,
    UPDATE_EVENT_STOP,
    UPDATE_EVENT_QUIET, /* none of the daemon's work is under way any more */
    UPDATE_EVENT_COUNT,
};

struct update_event {
    enum update_event_kind kind;
    const char *reason;    /* why, as a clause for the log; NULL = the event says it all */
    enum error_kind error; /* ..._FAILED: its kind */
    bool loader_leaves;    /* ..._FAILED: the loader leaves a slot that is not marked good by itself */
    bool planned; /* CHECK_OFFERS, CHECK_HELD: the plan for this release has been made, or none is needed */
    bool plan_needed;    /* CHECK_OFFERS: a rule can only be judged with the plan */
    bool takes_back;     /* CHECK_UNCHANGED, CHECK_HELD: the armed release is to be taken back */
    bool other_selected; /* CHECK_UNCHANGED, ..._HELD, ..._FAILED of a check or an installation: the loader
                            starts the other slot next, whatever the state says */
    bool falling_back; /* BOOTED_PENDING: the running slot was rejected, so it is no new release that waits */
    bool at_once;      /* BOOTED_PENDING: the reboot out of the rejected slot was under way */
    bool running_known; /* MARK_..., ROLLBACK: the running slot was found */
    bool other_good;    /* MARK_BAD, ROLLBACK: the other slot is good */
};

/* What the daemon is to do, in this order. */
enum update_order {
    UPDATE_ORDER_CHECK, /* ask the server: ends in a CHECK_... event */
    UPDATE_ORDER_PLAN,  /* compute the plan, then judge again: ends in a CHECK_... event with `planned` */
    UPDATE_ORDER_INVALIDATE, /* ends in INVALIDATED or INVALIDATE_FAILED */
    UPDATE_ORDER_INSTALL,    /* ends in INSTALLED or INSTALL_FAILED */
    UPDATE_ORDER_CANCEL, /* cancel what is under way, which then ends by its own event, with ERROR_CANCELLED
                          */
    UPDATE_ORDER_ARM,    /* ends in ARMED or ARM_FAILED; lets go of the target after that */
    UPDATE_ORDER_JUDGE_REBOOT, /* ask policy; ends in REBOOT_DUE when it agrees, now or later */
    UPDATE_ORDER_RETRY_REBOOT, /* after a pause: REBOOT_DUE if the reboot waits for nothing, else like
                                  JUDGE_REBOOT */
    UPDATE_ORDER_REBOOT, /* ends in a BOOTED_... event (boot in place), in REBOOT_FAILED, or with the machine
                            going down */
    UPDATE_ORDER_JUDGE_TRIAL, /* begin the health checks; ends in VERDICT_GOOD or VERDICT_BAD */
    UPDATE_ORDER_RETRY_TRIAL, /* the same verdict again, after a pause */
    UPDATE_ORDER_MARK_GOOD,   /* ends in MARKED_GOOD or MARK_GOOD_FAILED */
    UPDATE_ORDER_REJECT,      /* reject the running slot; ends in REJECTED or REJECT_FAILED */
    UPDATE_ORDER_SET_TIMER,   /* set the timer of the next check; STOP_TIMER comes before work that no check
                                 may disturb */
    UPDATE_ORDER_STOP_TIMER,
    UPDATE_ORDER_SAVE_RECORD,
    UPDATE_ORDER_PUBLISH, /* the status changed */
    UPDATE_ORDER_EXIT,
};

enum { UPDATE_ORDERS_MAX = 6 };

struct update_orders {
    enum update_order list[UPDATE_ORDERS_MAX];
    size_t count;
    /* Why a request is refused: a code for scripts and a sentence, both static; NULL = accepted. */
    const char *refusal_code;
    const char *refusal;
};

/* Who wanted the check under way; the strongest wins. */
enum update_purpose {
    UPDATE_PURPOSE_POLL,
    UPDATE_PURPOSE_CHECK,   /* an operator: computes the plan even if the release is held */
    UPDATE_PURPOSE_INSTALL, /* an operator: overrides the mode and what is remembered against the release */
};

/* A write of boot state, or a reboot, that is under way while the state stays as it is; one at a time. */
enum update_errand {
    UPDATE_ERRAND_NONE,
    UPDATE_ERRAND_DISARM,    /* an operator takes the armed release back */
    UPDATE_ERRAND_TAKE_BACK, /* the armed release is taken back because a newer one is offered, or its slot
                                was given up */
    UPDATE_ERRAND_MARK_GOOD,
    UPDATE_ERRAND_REJECT,
    UPDATE_ERRAND_REJECT_AND_REBOOT,
    UPDATE_ERRAND_REBOOT,
};

/* Read by everybody, written by update.c only. */
struct update {
    enum update_state state;
    enum update_state rest; /* the state after a check, or after taking back the armed release: IDLE, HELD or
                               (a check only) REBOOT_PENDING */
    enum update_purpose purpose;
    enum update_errand errand;
    bool falling_back; /* in REBOOT_PENDING: the running slot was rejected */
    bool at_once;      /* in REBOOT_PENDING: that slot is left without waiting for anything or anybody */
};

/* The state of a daemon that has not looked at anything yet: IDLE, waiting for its BOOTED_... event. */
void update_init(struct update *update);

/* Steps one event; fills *ret_orders. Every state answers every event. */
void update_step(struct update *update, const struct update_event *event, struct update_orders *ret_orders);

/* "idle", "checking", ... as the status spells it. */
const char *update_state_name(enum update_state state);

/* "poll-due", ... for logs and tests. */
const char *update_event_name(enum update_event_kind kind);
