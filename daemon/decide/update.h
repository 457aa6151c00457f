/* SPDX-License-Identifier: MIT */
/*
 * THE state machine of an update: what happened goes in as an event, what is to be done comes out as orders,
 * and nothing else happens here. Pure but for the one log line of a change of state: no clock, no I/O, no
 * loop, so that a test can walk every cell of the table. daemon_step.c steps the events and has the orders
 * carried out; what is begun next is decided here. Other files look at the state for what to show, whether
 * work of theirs is still wanted, and whether new settings may be taken. Never blocks; the loop's thread
 * only.
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
    UPDATE_STATE_ACTIVATING,     /* the one write of boot state is under way */
    UPDATE_STATE_REBOOT_PENDING, /* the next boot takes the other slot */
    UPDATE_STATE_TRIAL,          /* the running slot is armed and has no verdict yet */
    UPDATE_STATE_STOPPING,       /* asked to end; waits for what cannot be interrupted */
    UPDATE_STATE_COUNT,
};

/* What happened. Requests come from the API; the others from the daemon's own work. */
enum update_event_kind {
    UPDATE_EVENT_BOOTED_GOOD,    /* start (or boot in place): the running slot is good and stays selected */
    UPDATE_EVENT_BOOTED_TRIAL,   /* ... it is on trial */
    UPDATE_EVENT_BOOTED_PENDING, /* ... the other slot is selected for the next boot already */
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
    UPDATE_EVENT_JUDGED_HELD, /* what was offered last was judged once more, without a check: it may not be
                                 installed */
    UPDATE_EVENT_JUDGED_FREE, /* ... nothing holds it any longer, or nothing is offered */
    UPDATE_EVENT_INVALIDATED, /* the target is recorded as invalid and not bootable, durably */
    UPDATE_EVENT_INVALIDATE_FAILED,
    UPDATE_EVENT_INSTALLED, /* written, synced, read back whole, and still held open */
    UPDATE_EVENT_INSTALL_FAILED,
    UPDATE_EVENT_ACTIVATED, /* armed for the next boot, read back */
    UPDATE_EVENT_ACTIVATE_FAILED,
    UPDATE_EVENT_DISARMED,   /* another program had the other slot not boot next any more */
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
    enum error_kind error; /* of a ..._FAILED */
    bool loader_leaves;    /* ... the loader leaves a slot that was not marked good by itself */
    bool planned;          /* CHECK_OFFERS, CHECK_HELD: the plan for this release is made */
    bool plan_needed;      /* CHECK_OFFERS: a rule can only be judged with the plan */
    bool takes_back; /* CHECK_UNCHANGED, CHECK_HELD: what waits for its boot is not to be booted any more */
    bool other_selected; /* CHECK_UNCHANGED, ..._HELD, ..._FAILED of a check or an installation: the loader
                            starts the other slot next, whatever is thought to be so here */
    bool falling_back;  /* BOOTED_PENDING: the running slot was rejected, so this is no new release waiting */
    bool at_once;       /* ... and the reboot out of it was under way */
    bool running_known; /* MARK_..., ROLLBACK: the running slot was found */
    bool other_good;    /* MARK_BAD, ROLLBACK: the other slot is good */
};

/* What the daemon is to do, in this order. */
enum update_order {
    UPDATE_ORDER_CHECK, /* ask the server: ends in a CHECK_... event */
    UPDATE_ORDER_PLAN,  /* compute the plan, then judge again: ends in a CHECK_... event with `planned` */
    UPDATE_ORDER_INVALIDATE,   /* ends in INVALIDATED or INVALIDATE_FAILED */
    UPDATE_ORDER_INSTALL,      /* ends in INSTALLED or INSTALL_FAILED */
    UPDATE_ORDER_CANCEL,       /* what is under way; its own event tells the end, with ERROR_CANCELLED */
    UPDATE_ORDER_ACTIVATE,     /* ends in ACTIVATED or ACTIVATE_FAILED; lets go of the target after that */
    UPDATE_ORDER_JUDGE_REBOOT, /* ask policy; REBOOT_DUE where it agrees, now or later */
    UPDATE_ORDER_RETRY_REBOOT, /* after a pause, REBOOT_DUE where falling back at once, else as JUDGE_REBOOT
                                */
    UPDATE_ORDER_REBOOT, /* ends in a BOOTED_... event (boot in place), REBOOT_FAILED, or the machine's end */
    UPDATE_ORDER_JUDGE_TRIAL, /* begin the health checks; ends in VERDICT_GOOD or VERDICT_BAD */
    UPDATE_ORDER_RETRY_TRIAL, /* the same verdict again, after a pause */
    UPDATE_ORDER_MARK_GOOD,   /* ends in MARKED_GOOD or MARK_GOOD_FAILED */
    UPDATE_ORDER_REJECT,      /* reject the running slot; ends in REJECTED or REJECT_FAILED */
    UPDATE_ORDER_ARM_TIMER,   /* set the timer of the next check; DISARM before anything that must not be
                                 disturbed */
    UPDATE_ORDER_DISARM_TIMER,
    UPDATE_ORDER_SAVE_RECORD,
    UPDATE_ORDER_PUBLISH, /* the status changed */
    UPDATE_ORDER_EXIT,
};

enum { UPDATE_ORDERS_MAX = 6 };

struct update_orders {
    enum update_order list[UPDATE_ORDERS_MAX];
    size_t count;
    /* A request that does not fit: a code for scripts and a sentence, both static; NULL = accepted. */
    const char *refusal_code;
    const char *refusal;
};

/* Who wanted the check under way; the strongest wins. */
enum update_purpose {
    UPDATE_PURPOSE_POLL,
    UPDATE_PURPOSE_CHECK,   /* an operator: computes the plan, also where the release is held */
    UPDATE_PURPOSE_INSTALL, /* an operator: overrides the mode and what was remembered against the release */
};

/* One write of boot state (or a reboot) that a resting state waits for; one at a time. */
enum update_errand {
    UPDATE_ERRAND_NONE,
    UPDATE_ERRAND_DISARM,    /* by an operator */
    UPDATE_ERRAND_TAKE_BACK, /* by a release that took the place of the one that waits */
    UPDATE_ERRAND_MARK_GOOD,
    UPDATE_ERRAND_REJECT,
    UPDATE_ERRAND_REJECT_AND_REBOOT,
    UPDATE_ERRAND_REBOOT,
};

/* Read by everybody, written by update.c only. */
struct update {
    enum update_state state;
    enum update_state rest; /* where a check, or taking back what is armed, leads to: IDLE, HELD or (a check
                             * only) REBOOT_PENDING */
    enum update_purpose purpose;
    enum update_errand errand;
    bool falling_back; /* in REBOOT_PENDING: the running slot was rejected */
    bool at_once;      /* ... and is left without waiting for anything or anybody */
};

/* A daemon that has not looked at anything yet: IDLE, waiting for its BOOTED_... event. */
void update_init(struct update *update);

/* One event; fills *ret_orders. Every state answers every event. */
void update_step(struct update *update, const struct update_event *event, struct update_orders *ret_orders);

/* "idle", "checking", ... as the status spells it. */
const char *update_state_name(enum update_state state);

/* "poll-due", ... for logs and tests. */
const char *update_event_name(enum update_event_kind kind);

/* "check", ... for logs and tests. */
const char *update_order_name(enum update_order order);
