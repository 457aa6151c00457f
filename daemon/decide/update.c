/* SPDX-License-Identifier: MIT */
#include "daemon/decide/update.h"

#include <assert.h>
#include <string.h>

#include "common/base/log.h"

typedef void (*update_cell_fn)(struct update *, const struct update_event *, struct update_orders *);

void update_init(struct update *update)
{
    memset(update, 0, sizeof(*update));
    update->state = UPDATE_STATE_IDLE;
    update->rest = UPDATE_STATE_IDLE;
}

static void order(struct update_orders *orders, enum update_order what)
{
    assert(orders->count < UPDATE_ORDERS_MAX);
    orders->list[orders->count++] = what;
}

static void refuse(struct update_orders *orders, const char *sentence)
{
    orders->refusal_code = "not-in-this-state";
    orders->refusal = sentence;
}

/* The only writer of the state, and the only place that logs its change. */
static void update_enter(struct update *update, enum update_state state, const struct update_event *event)
{
    if (state == update->state)
        return;
    log_notice("%s -> %s: %s", update_state_name(update->state), update_state_name(state),
               event->reason ? event->reason : update_event_name(event->kind));
    update->state = state;
    if (state != UPDATE_STATE_REBOOT_PENDING && state != UPDATE_STATE_STOPPING)
        update->falling_back = update->at_once = false;
}

/* Nothing to do: an answer that comes too late, or a timer that another order has set anew. */
static void pass(struct update *update, const struct update_event *event, struct update_orders *orders)
{
}

/* --- starting up, and booting in place --- */

static void boot_good(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    update->errand = UPDATE_ERRAND_NONE;
    update_enter(update, UPDATE_STATE_IDLE, event);
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, UPDATE_ORDER_SET_TIMER);
    order(orders, UPDATE_ORDER_PUBLISH);
}

static void boot_trial(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    update->errand = UPDATE_ERRAND_NONE;
    update_enter(update, UPDATE_STATE_TRIAL, event);
    order(orders, UPDATE_ORDER_STOP_TIMER);
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, UPDATE_ORDER_PUBLISH);
    order(orders, UPDATE_ORDER_JUDGE_TRIAL);
}

static void boot_pending(struct update *update, const struct update_event *event,
                         struct update_orders *orders)
{
    update->errand = UPDATE_ERRAND_NONE;
    update_enter(update, UPDATE_STATE_REBOOT_PENDING, event);
    update->falling_back = event->falling_back;
    update->at_once = event->falling_back && event->at_once;
    if (update->at_once)
        update->errand = UPDATE_ERRAND_REBOOT;
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, event->falling_back ? UPDATE_ORDER_STOP_TIMER : UPDATE_ORDER_SET_TIMER);
    order(orders, UPDATE_ORDER_PUBLISH);
    order(orders, update->at_once ? UPDATE_ORDER_REBOOT : UPDATE_ORDER_JUDGE_REBOOT);
}

static void boot_unknown(struct update *update, const struct update_event *event,
                         struct update_orders *orders)
{
    update->errand = UPDATE_ERRAND_NONE;
    update_enter(update, UPDATE_STATE_HELD, event);
    order(orders, UPDATE_ORDER_SET_TIMER);
    order(orders, UPDATE_ORDER_PUBLISH);
}

/* Which slot runs became known only during a check. A trial, or a fall back that is pending, is more urgent
 * and ends the check; otherwise the check goes on, and this decides which state it leads to. */
static void boot_late(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    if (event->kind == UPDATE_EVENT_BOOTED_TRIAL ||
        (event->kind == UPDATE_EVENT_BOOTED_PENDING && event->falling_back)) {
        order(orders, UPDATE_ORDER_CANCEL);
        if (event->kind == UPDATE_EVENT_BOOTED_TRIAL)
            boot_trial(update, event, orders);
        else
            boot_pending(update, event, orders);
        return;
    }
    update->rest =
        event->kind == UPDATE_EVENT_BOOTED_PENDING ? UPDATE_STATE_REBOOT_PENDING : UPDATE_STATE_IDLE;
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, UPDATE_ORDER_PUBLISH);
}

/* --- checking --- */

static void begin_check(struct update *update, enum update_purpose purpose, const struct update_event *event,
                        struct update_orders *orders)
{
    update->rest = update->state;
    update->purpose = purpose;
    update_enter(update, UPDATE_STATE_CHECKING, event);
    order(orders, UPDATE_ORDER_STOP_TIMER);
    order(orders, UPDATE_ORDER_PUBLISH);
    order(orders, UPDATE_ORDER_CHECK);
}

static void poll(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    /* A poll that comes during an errand is dropped: the end of the errand sets the timer again. No polls
     * while falling back, because the other slot is the only good one. */
    if (update->errand == UPDATE_ERRAND_NONE && !update->falling_back)
        begin_check(update, UPDATE_PURPOSE_POLL, event, orders);
}

static void request_check(struct update *update, const struct update_event *event,
                          struct update_orders *orders)
{
    if (update->errand != UPDATE_ERRAND_NONE)
        refuse(orders, "the boot selection is being changed; try again in a moment");
    else if (update->falling_back)
        refuse(orders,
               "the running slot was rejected and the machine waits for its reboot into the other one");
    else
        begin_check(update,
                    event->kind == UPDATE_EVENT_INSTALL_REQUESTED ? UPDATE_PURPOSE_INSTALL
                                                                  : UPDATE_PURPOSE_CHECK,
                    event, orders);
}

/* A request during a check: the check under way serves it too. It is judged only when the answer is there, so
 * it is not too late to raise the purpose. */
static void raise_purpose(struct update *update, const struct update_event *event,
                          struct update_orders *orders)
{
    enum update_purpose purpose =
        event->kind == UPDATE_EVENT_INSTALL_REQUESTED ? UPDATE_PURPOSE_INSTALL : UPDATE_PURPOSE_CHECK;

    if (purpose > update->purpose)
        update->purpose = purpose;
}

static void end_check(struct update *update, enum update_state state, const struct update_event *event,
                      struct update_orders *orders)
{
    /* The loader is believed: somebody may have selected the other slot again. */
    bool pending = update->rest == UPDATE_STATE_REBOOT_PENDING || event->other_selected;

    /* The armed release goes on waiting for its boot, however the check ended, unless it is to be taken
     * back. */
    update_enter(update, pending ? UPDATE_STATE_REBOOT_PENDING : state, event);
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    if (pending && event->takes_back) {
        update->errand = UPDATE_ERRAND_TAKE_BACK;
        update->rest = state;
        order(orders, UPDATE_ORDER_PUBLISH);
        order(orders, UPDATE_ORDER_INVALIDATE);
        return;
    }
    order(orders, UPDATE_ORDER_SET_TIMER);
    order(orders, UPDATE_ORDER_PUBLISH);
    if (pending)
        order(orders, UPDATE_ORDER_JUDGE_REBOOT);
}

static void check_unchanged(struct update *update, const struct update_event *event,
                            struct update_orders *orders)
{
    end_check(update, UPDATE_STATE_IDLE, event, orders);
}

static void check_held(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    /* An operator who asks gets to see what the update would cost; a poll does not scan the slots for it. */
    if (update->purpose != UPDATE_PURPOSE_POLL && !event->planned)
        order(orders, UPDATE_ORDER_PLAN);
    else
        end_check(update, UPDATE_STATE_HELD, event, orders);
}

static void check_offers(struct update *update, const struct update_event *event,
                         struct update_orders *orders)
{
    if (event->plan_needed && !event->planned) {
        order(orders, UPDATE_ORDER_PLAN);
        return;
    }
    update_enter(update, UPDATE_STATE_INSTALLING, event);
    order(orders, UPDATE_ORDER_PUBLISH);
    order(orders, UPDATE_ORDER_INVALIDATE);
}

static void check_failed(struct update *update, const struct update_event *event,
                         struct update_orders *orders)
{
    end_check(update, update->rest, event, orders);
}

/* The timer stays as it is, since the server was not asked. Nothing is saved: after a start it is judged
 * again. */
static void judged_held(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    if (update->state == UPDATE_STATE_IDLE)
        update_enter(update, UPDATE_STATE_HELD, event);
    order(orders, UPDATE_ORDER_PUBLISH);
}

static void judged_free(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    if (update->state == UPDATE_STATE_HELD)
        update_enter(update, UPDATE_STATE_IDLE, event);
    order(orders, UPDATE_ORDER_PUBLISH);
}

/* --- installing --- */

static void install(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    order(orders, UPDATE_ORDER_INSTALL);
}

static void install_failed(struct update *update, const struct update_event *event,
                           struct update_orders *orders)
{
    /* What the operator or a rule ended is held, with the reason shown; anything else is tried again. */
    bool held = event->error == ERROR_CANCELLED || event->error == ERROR_REFUSED;

    /* If the target could not be deselected, it still boots next, even if it was given up. */
    update_enter(update,
                 event->other_selected ? UPDATE_STATE_REBOOT_PENDING
                 : held                ? UPDATE_STATE_HELD
                                       : UPDATE_STATE_IDLE,
                 event);
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, UPDATE_ORDER_SET_TIMER);
    order(orders, UPDATE_ORDER_PUBLISH);
    if (event->other_selected)
        order(orders, UPDATE_ORDER_JUDGE_REBOOT);
}

static void installed(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    update_enter(update, UPDATE_STATE_ACTIVATING, event);
    order(orders, UPDATE_ORDER_PUBLISH);
    order(orders, UPDATE_ORDER_ARM);
}

static void armed(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    update_enter(update, UPDATE_STATE_REBOOT_PENDING, event);
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, UPDATE_ORDER_SET_TIMER);
    order(orders, UPDATE_ORDER_PUBLISH);
    order(orders, UPDATE_ORDER_JUDGE_REBOOT);
}

static void cancel(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    order(orders, UPDATE_ORDER_CANCEL);
}

/* --- waiting for the boot --- */

static void take_back(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    if (update->errand != UPDATE_ERRAND_NONE) {
        refuse(orders, "the boot selection is being changed; try again in a moment");
        return;
    }
    if (update->falling_back) {
        refuse(orders, "the running slot was rejected; mark-good takes that back");
        return;
    }
    update->errand = UPDATE_ERRAND_DISARM;
    update->rest = UPDATE_STATE_HELD;
    order(orders, UPDATE_ORDER_STOP_TIMER);
    order(orders, UPDATE_ORDER_INVALIDATE);
}

static void taken_back(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    if (update->errand != UPDATE_ERRAND_DISARM && update->errand != UPDATE_ERRAND_TAKE_BACK)
        return;
    update->errand = UPDATE_ERRAND_NONE;
    update_enter(update, update->rest, event);
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, UPDATE_ORDER_SET_TIMER);
    order(orders, UPDATE_ORDER_PUBLISH);
}

/* The loader is believed: the armed release does not wait for its boot any more. */
static void deselected(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    if (update->errand != UPDATE_ERRAND_NONE || update->falling_back)
        return;
    if (update->state == UPDATE_STATE_CHECKING) {
        if (update->rest == UPDATE_STATE_REBOOT_PENDING)
            update->rest = UPDATE_STATE_HELD;
        return;
    }
    update_enter(update, UPDATE_STATE_HELD, event);
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, UPDATE_ORDER_SET_TIMER);
    order(orders, UPDATE_ORDER_PUBLISH);
}

/* An errand failed: the state stays as it was. */
static void errand_failed(struct update *update, const struct update_event *event,
                          struct update_orders *orders)
{
    update->errand = UPDATE_ERRAND_NONE;
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, update->falling_back ? UPDATE_ORDER_STOP_TIMER : UPDATE_ORDER_SET_TIMER);
    order(orders, UPDATE_ORDER_PUBLISH);
    if (event->kind == UPDATE_EVENT_REBOOT_FAILED)
        order(orders, UPDATE_ORDER_RETRY_REBOOT);
    /* The slot that boots next may have been given up, and that holds the reboot. */
    if (event->kind == UPDATE_EVENT_INVALIDATE_FAILED)
        order(orders, UPDATE_ORDER_JUDGE_REBOOT);
}

static void reboot(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    bool requested = event->kind == UPDATE_EVENT_REBOOT_REQUESTED;

    if (update->errand != UPDATE_ERRAND_NONE) {
        if (requested)
            refuse(orders, "the boot selection is being changed, or the reboot is under way already");
        return;
    }
    update->errand = UPDATE_ERRAND_REBOOT;
    order(orders, UPDATE_ORDER_STOP_TIMER);
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, UPDATE_ORDER_PUBLISH);
    order(orders, UPDATE_ORDER_REBOOT);
}

/* --- good or bad --- */

static void begin_mark_good(struct update *update, const struct update_event *event,
                            struct update_orders *orders)
{
    if (update->errand != UPDATE_ERRAND_NONE) {
        if (event->kind == UPDATE_EVENT_MARK_GOOD_REQUESTED)
            refuse(orders, "the boot selection is being changed; try again in a moment");
        return;
    }
    update->errand = UPDATE_ERRAND_MARK_GOOD;
    order(orders, UPDATE_ORDER_MARK_GOOD);
}

/* Some boot scripts mark every boot good, so it is no error if the slot is good already. */
static void mark_good_again(struct update *update, const struct update_event *event,
                            struct update_orders *orders)
{
    if (!event->running_known)
        refuse(orders, "the running slot cannot be determined, so there is nothing to mark");
}

static void mark_good_pending(struct update *update, const struct update_event *event,
                              struct update_orders *orders)
{
    /* Marking good selects the running slot, which would silently undo the update that waits for its boot. */
    if (update->falling_back)
        begin_mark_good(update, event, orders);
    else
        refuse(orders, "an update waits for its reboot; cancel takes it back");
}

static void marked_good(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    if (update->errand != UPDATE_ERRAND_MARK_GOOD)
        return;
    boot_good(update, event, orders);
}

static void begin_reject(struct update *update, const struct update_event *event,
                         struct update_orders *orders)
{
    bool verdict = event->kind == UPDATE_EVENT_VERDICT_BAD;

    if (update->errand != UPDATE_ERRAND_NONE) {
        if (!verdict)
            refuse(orders, "the boot selection is being changed; try again in a moment");
        return;
    }
    if (!verdict && !event->running_known) {
        refuse(orders, "the running slot cannot be determined");
        return;
    }
    if (!verdict && !event->other_good) {
        refuse(orders, "the other slot is not known to be good, so there is nothing to fall back to");
        return;
    }
    /* A trial that failed ends with a reboot, because the machine cannot do its work in this slot. */
    update->errand = event->kind != UPDATE_EVENT_MARK_BAD_REQUESTED || update->state == UPDATE_STATE_TRIAL
                         ? UPDATE_ERRAND_REJECT_AND_REBOOT
                         : UPDATE_ERRAND_REJECT;
    order(orders, UPDATE_ORDER_STOP_TIMER);
    order(orders, UPDATE_ORDER_REJECT);
}

static void rejected(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    bool at_once = update->errand == UPDATE_ERRAND_REJECT_AND_REBOOT;

    if (!at_once && update->errand != UPDATE_ERRAND_REJECT)
        return;
    update->errand = at_once ? UPDATE_ERRAND_REBOOT : UPDATE_ERRAND_NONE;
    update_enter(update, UPDATE_STATE_REBOOT_PENDING, event);
    update->falling_back = true;
    update->at_once = at_once;
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, UPDATE_ORDER_PUBLISH);
    order(orders, at_once ? UPDATE_ORDER_REBOOT : UPDATE_ORDER_JUDGE_REBOOT);
}

/* The boot state could not be written: the verdict stands, and the write is tried again after a pause. */
static void retry_trial(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    update->errand = UPDATE_ERRAND_NONE;
    order(orders, UPDATE_ORDER_SAVE_RECORD);
    order(orders, UPDATE_ORDER_PUBLISH);
    order(orders, UPDATE_ORDER_RETRY_TRIAL);
}

/* The loader leaves a slot on trial by itself, so a reboot does what the failed write should have done;
 * unless the write was refused because there is no good slot to go back to. */
static void reject_failed(struct update *update, const struct update_event *event,
                          struct update_orders *orders)
{
    if (event->loader_leaves && event->error != ERROR_REFUSED)
        rejected(update, event, orders);
    else
        retry_trial(update, event, orders);
}

/* --- the end --- */

static void stop(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    bool cancels = update->state == UPDATE_STATE_CHECKING || update->state == UPDATE_STATE_INSTALLING ||
                   update->state == UPDATE_STATE_TRIAL;

    update_enter(update, UPDATE_STATE_STOPPING, event);
    order(orders, UPDATE_ORDER_STOP_TIMER);
    if (cancels)
        order(orders, UPDATE_ORDER_CANCEL);
    order(orders, UPDATE_ORDER_PUBLISH);
}

/* Work ended while stopping: what it changed is saved, and nothing new is begun. */
static void keep(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    order(orders, UPDATE_ORDER_SAVE_RECORD);
}

static void leave(struct update *update, const struct update_event *event, struct update_orders *orders)
{
    order(orders, UPDATE_ORDER_EXIT);
}

/* --- what cannot be done now --- */

static void refuse_nothing_runs(struct update *update, const struct update_event *event,
                                struct update_orders *orders)
{
    refuse(orders, "there is nothing under way to cancel");
}

static void refuse_nothing_waits(struct update *update, const struct update_event *event,
                                 struct update_orders *orders)
{
    refuse(orders, "no update waits for a reboot");
}

static void refuse_working(struct update *update, const struct update_event *event,
                           struct update_orders *orders)
{
    refuse(orders, "an update is being looked for or installed; wait for it or cancel it first");
}

static void refuse_arming(struct update *update, const struct update_event *event,
                          struct update_orders *orders)
{
    refuse(orders, "the boot selection is being written; try again in a moment");
}

static void refuse_trial(struct update *update, const struct update_event *event,
                         struct update_orders *orders)
{
    refuse(orders, "the running slot is on trial; mark it good or bad first");
}

static void refuse_pending(struct update *update, const struct update_event *event,
                           struct update_orders *orders)
{
    refuse(orders, update->falling_back ? "the running slot is rejected already; a reboot falls back"
                                        : "an update waits for its reboot, so the other slot is not good; "
                                          "cancel takes it back");
}

static void refuse_stopping(struct update *update, const struct update_event *event,
                            struct update_orders *orders)
{
    refuse(orders, "the daemon is stopping");
}

/* Every state answers every event. BOOTED_... comes at the start, when the running slot becomes known later,
 * and at the end of a boot in place. */
/* clang-format off */
static const update_cell_fn update_table[UPDATE_EVENT_COUNT][UPDATE_STATE_COUNT] = {
/*                                      idle                 checking       held                 installing      activating         reboot-pending     trial            stopping */
[UPDATE_EVENT_BOOTED_GOOD]         = { boot_good,           boot_late,     boot_good,           pass,           pass,              boot_good,         pass,            keep },
[UPDATE_EVENT_BOOTED_TRIAL]        = { boot_trial,          boot_late,     boot_trial,          pass,           pass,              boot_trial,        pass,            keep },
[UPDATE_EVENT_BOOTED_PENDING]      = { boot_pending,        boot_late,     boot_pending,        pass,           pass,              boot_pending,      pass,            keep },
[UPDATE_EVENT_BOOTED_UNKNOWN]      = { boot_unknown,        pass,          boot_unknown,        pass,           pass,              boot_unknown,      pass,            keep },
[UPDATE_EVENT_POLL_DUE]            = { poll,                pass,          poll,                pass,           pass,              poll,              pass,            pass },
[UPDATE_EVENT_CHECK_REQUESTED]     = { request_check,       raise_purpose, request_check,       refuse_working, refuse_arming, request_check,     refuse_trial,    refuse_stopping },
[UPDATE_EVENT_INSTALL_REQUESTED]   = { request_check,       raise_purpose, request_check,       refuse_working, refuse_arming, request_check,     refuse_trial,    refuse_stopping },
[UPDATE_EVENT_CANCEL_REQUESTED]    = { refuse_nothing_runs, cancel,        refuse_nothing_runs, cancel,         refuse_arming, take_back,         refuse_nothing_runs, refuse_stopping },
[UPDATE_EVENT_REBOOT_REQUESTED]    = { refuse_nothing_waits,refuse_working,refuse_nothing_waits,refuse_working, refuse_arming, reboot,            refuse_trial,    refuse_stopping },
[UPDATE_EVENT_MARK_GOOD_REQUESTED] = { mark_good_again,     mark_good_again,mark_good_again,    mark_good_again,refuse_arming, mark_good_pending, begin_mark_good, refuse_stopping },
[UPDATE_EVENT_MARK_BAD_REQUESTED]  = { begin_reject,        refuse_working,begin_reject,        refuse_working, refuse_arming, refuse_pending,    begin_reject,    refuse_stopping },
[UPDATE_EVENT_ROLLBACK_REQUESTED]  = { begin_reject,        refuse_working,begin_reject,        refuse_working, refuse_arming, refuse_pending,    begin_reject,    refuse_stopping },
[UPDATE_EVENT_CHECK_UNCHANGED]     = { pass,                check_unchanged,pass,               pass,           pass,              pass,              pass,            pass },
[UPDATE_EVENT_CHECK_OFFERS]        = { pass,                check_offers,  pass,                pass,           pass,              pass,              pass,            pass },
[UPDATE_EVENT_CHECK_HELD]          = { pass,                check_held,    pass,                pass,           pass,              pass,              pass,            pass },
[UPDATE_EVENT_CHECK_FAILED]        = { pass,                check_failed,  pass,                pass,           pass,              pass,              pass,            pass },
[UPDATE_EVENT_JUDGED_HELD]         = { judged_held,         pass,          judged_held,         pass,           pass,              judged_held,       judged_held,     pass },
[UPDATE_EVENT_JUDGED_FREE]         = { judged_free,         pass,          judged_free,         pass,           pass,              judged_free,       judged_free,     pass },
[UPDATE_EVENT_INVALIDATED]         = { pass,                pass,          pass,                install,        pass,              taken_back,        pass,            keep },
[UPDATE_EVENT_INVALIDATE_FAILED]   = { pass,                pass,          pass,                install_failed, pass,              errand_failed,     pass,            keep },
[UPDATE_EVENT_INSTALLED]           = { pass,                pass,          pass,                installed,      pass,              pass,              pass,            pass },
[UPDATE_EVENT_INSTALL_FAILED]      = { pass,                pass,          pass,                install_failed, pass,              pass,              pass,            keep },
[UPDATE_EVENT_ARMED]               = { pass,                pass,          pass,                pass,           armed,             pass,              pass,            keep },
[UPDATE_EVENT_ARM_FAILED]          = { pass,                pass,          pass,                pass,           install_failed,    pass,              pass,            keep },
[UPDATE_EVENT_DESELECTED]          = { pass,                deselected,        pass,            pass,           pass,              deselected,        pass,            pass },
[UPDATE_EVENT_REBOOT_DUE]          = { pass,                pass,          pass,                pass,           pass,              reboot,            pass,            pass },
[UPDATE_EVENT_REBOOT_FAILED]       = { pass,                pass,          pass,                pass,           pass,              errand_failed,     pass,            keep },
[UPDATE_EVENT_VERDICT_GOOD]        = { pass,                pass,          pass,                pass,           pass,              pass,              begin_mark_good, pass },
[UPDATE_EVENT_VERDICT_BAD]         = { pass,                pass,          pass,                pass,           pass,              pass,              begin_reject,    pass },
[UPDATE_EVENT_MARKED_GOOD]         = { marked_good,         pass,          marked_good,         pass,           pass,              marked_good,       marked_good,     keep },
[UPDATE_EVENT_MARK_GOOD_FAILED]    = { errand_failed,       pass,          errand_failed,       pass,           pass,              errand_failed,     retry_trial,     keep },
[UPDATE_EVENT_REJECTED]            = { rejected,            pass,          rejected,            pass,           pass,              rejected,          rejected,        keep },
[UPDATE_EVENT_REJECT_FAILED]       = { errand_failed,       pass,          errand_failed,       pass,           pass,              errand_failed,     reject_failed,   keep },
[UPDATE_EVENT_STOP]                = { stop,                stop,          stop,                stop,           stop,              stop,              stop,            pass },
[UPDATE_EVENT_QUIET]               = { pass,                pass,          pass,                pass,           pass,              pass,              pass,            leave },
};
/* clang-format on */

void update_step(struct update *update, const struct update_event *event, struct update_orders *ret_orders)
{
    assert(event->kind < UPDATE_EVENT_COUNT && update->state < UPDATE_STATE_COUNT);
    update_cell_fn cell = update_table[event->kind][update->state];

    assert(cell);
    memset(ret_orders, 0, sizeof(*ret_orders));
    cell(update, event, ret_orders);
}
