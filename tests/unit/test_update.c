/* SPDX-License-Identifier: MIT */
#include "daemon/decide/update.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/log.h"

static const char *order_name(enum update_order what)
{
    static const char *const names[] = {
        [UPDATE_ORDER_CHECK] = "check",
        [UPDATE_ORDER_PLAN] = "plan",
        [UPDATE_ORDER_INVALIDATE] = "invalidate",
        [UPDATE_ORDER_INSTALL] = "install",
        [UPDATE_ORDER_CANCEL] = "cancel",
        [UPDATE_ORDER_ARM] = "arm",
        [UPDATE_ORDER_JUDGE_REBOOT] = "judge-reboot",
        [UPDATE_ORDER_RETRY_REBOOT] = "retry-reboot",
        [UPDATE_ORDER_REBOOT] = "reboot",
        [UPDATE_ORDER_JUDGE_TRIAL] = "judge-trial",
        [UPDATE_ORDER_RETRY_TRIAL] = "retry-trial",
        [UPDATE_ORDER_MARK_GOOD] = "mark-good",
        [UPDATE_ORDER_REJECT] = "reject",
        [UPDATE_ORDER_SET_TIMER] = "set-timer",
        [UPDATE_ORDER_STOP_TIMER] = "stop-timer",
        [UPDATE_ORDER_SAVE_RECORD] = "save-record",
        [UPDATE_ORDER_PUBLISH] = "publish",
        [UPDATE_ORDER_EXIT] = "exit",
    };

    assert_true(what < sizeof(names) / sizeof(names[0]));
    return names[what];
}

/* The orders as one line, so that a test reads like the sentence it stands for. */
static const char *orders_text(const struct update_orders *orders)
{
    static char text[256];

    text[0] = 0;
    if (orders->refusal)
        return "refused";
    for (size_t i = 0; i < orders->count; i++) {
        strcat(text, i ? " " : "");
        strcat(text, order_name(orders->list[i]));
    }
    return text;
}

static void step(struct update *update, const struct update_event *event, enum update_state state,
                 const char *orders)
{
    struct update_orders given;

    update_step(update, event, &given);
    if (update->state != state || strcmp(orders_text(&given), orders) != 0)
        fail_msg("%s: state %s, orders \"%s\"; expected state %s, orders \"%s\"",
                 update_event_name(event->kind), update_state_name(update->state), orders_text(&given),
                 update_state_name(state), orders);
}

#define STEP(update, state, orders, ...)                                                                     \
    step(update, &(struct update_event){__VA_ARGS__}, UPDATE_STATE_##state, orders)

/* Into `state` by a way that really leads there. */
static void walk_to(struct update *update, enum update_state state)
{
    static const struct {
        enum update_event_kind kinds[6];
        size_t count;
    } ways[UPDATE_STATE_COUNT] = {
        [UPDATE_STATE_IDLE] = {{UPDATE_EVENT_BOOTED_GOOD}, 1},
        [UPDATE_STATE_CHECKING] = {{UPDATE_EVENT_BOOTED_GOOD, UPDATE_EVENT_POLL_DUE}, 2},
        [UPDATE_STATE_HELD] = {{UPDATE_EVENT_BOOTED_GOOD, UPDATE_EVENT_POLL_DUE, UPDATE_EVENT_CHECK_HELD}, 3},
        [UPDATE_STATE_INSTALLING] = {{UPDATE_EVENT_BOOTED_GOOD, UPDATE_EVENT_POLL_DUE,
                                      UPDATE_EVENT_CHECK_OFFERS, UPDATE_EVENT_INVALIDATED},
                                     4},
        [UPDATE_STATE_ACTIVATING] = {{UPDATE_EVENT_BOOTED_GOOD, UPDATE_EVENT_POLL_DUE,
                                      UPDATE_EVENT_CHECK_OFFERS, UPDATE_EVENT_INVALIDATED,
                                      UPDATE_EVENT_INSTALLED},
                                     5},
        [UPDATE_STATE_REBOOT_PENDING] = {{UPDATE_EVENT_BOOTED_GOOD, UPDATE_EVENT_POLL_DUE,
                                          UPDATE_EVENT_CHECK_OFFERS, UPDATE_EVENT_INVALIDATED,
                                          UPDATE_EVENT_INSTALLED, UPDATE_EVENT_ARMED},
                                         6},
        [UPDATE_STATE_TRIAL] = {{UPDATE_EVENT_BOOTED_TRIAL}, 1},
        [UPDATE_STATE_STOPPING] = {{UPDATE_EVENT_BOOTED_GOOD, UPDATE_EVENT_STOP}, 2},
    };
    struct update_orders orders;

    update_init(update);
    for (size_t i = 0; i < ways[state].count; i++)
        update_step(update, &(struct update_event){.kind = ways[state].kinds[i]}, &orders);
    assert_int_equal(update->state, state);
}

static bool is_request(enum update_event_kind kind)
{
    return kind >= UPDATE_EVENT_CHECK_REQUESTED && kind <= UPDATE_EVENT_ROLLBACK_REQUESTED;
}

static bool has_order(const struct update_orders *orders, enum update_order order)
{
    for (size_t i = 0; i < orders->count; i++)
        if (orders->list[i] == order)
            return true;
    return false;
}

/* What holds in every cell, whatever its flags. */
static void check_cell(enum update_state state, struct update_event event)
{
    struct update update;
    struct update_orders orders;

    walk_to(&update, state);
    update_step(&update, &event, &orders);
    assert_true(update.state < UPDATE_STATE_COUNT);
    assert_true(orders.count <= UPDATE_ORDERS_MAX);
    /* Only requests are refused, and a refusal changes nothing. */
    if (orders.refusal) {
        assert_true(is_request(event.kind));
        assert_non_null(orders.refusal_code);
        assert_int_equal(orders.count, 0);
        assert_int_equal(update.state, state);
    }
    /* A change of state is told, and survives. */
    if (update.state != state)
        assert_true(has_order(&orders, UPDATE_ORDER_PUBLISH));
    /* Writing begins only out of CHECKING, and only after the target was invalidated. */
    if (has_order(&orders, UPDATE_ORDER_INSTALL))
        assert_true(state == UPDATE_STATE_INSTALLING && event.kind == UPDATE_EVENT_INVALIDATED);
    if (has_order(&orders, UPDATE_ORDER_INVALIDATE))
        assert_true((state == UPDATE_STATE_CHECKING && event.kind == UPDATE_EVENT_CHECK_OFFERS) ||
                    update.errand == UPDATE_ERRAND_TAKE_BACK ||
                    (state == UPDATE_STATE_REBOOT_PENDING && event.kind == UPDATE_EVENT_CANCEL_REQUESTED));
    /* What waits for its boot and is being taken back is not booted meanwhile. */
    if (update.errand == UPDATE_ERRAND_TAKE_BACK)
        assert_true(update.state == UPDATE_STATE_REBOOT_PENDING && event.takes_back &&
                    !has_order(&orders, UPDATE_ORDER_JUDGE_REBOOT));
    /* What the loader boots next is not slept over, whatever was believed here before. */
    if (event.other_selected && (state == UPDATE_STATE_CHECKING || state == UPDATE_STATE_INSTALLING))
        assert_true(update.state != UPDATE_STATE_IDLE && update.state != UPDATE_STATE_HELD);
    /* Nothing is armed but what was just read back. */
    if (has_order(&orders, UPDATE_ORDER_ARM))
        assert_true(state == UPDATE_STATE_INSTALLING && event.kind == UPDATE_EVENT_INSTALLED);
    /* A stopping daemon begins nothing; nothing leads out of it. */
    if (state == UPDATE_STATE_STOPPING) {
        assert_int_equal(update.state, UPDATE_STATE_STOPPING);
        for (size_t i = 0; i < orders.count; i++)
            assert_true(orders.list[i] == UPDATE_ORDER_SAVE_RECORD || orders.list[i] == UPDATE_ORDER_EXIT);
    }
    /* Whatever comes to rest has its timer armed, or waits for something that will arm it. What is only
     * judged anew keeps the one that it has. */
    if (event.kind == UPDATE_EVENT_JUDGED_HELD || event.kind == UPDATE_EVENT_JUDGED_FREE)
        assert_false(has_order(&orders, UPDATE_ORDER_SET_TIMER) ||
                     has_order(&orders, UPDATE_ORDER_STOP_TIMER));
    else if (update.state != state &&
             (update.state == UPDATE_STATE_IDLE || update.state == UPDATE_STATE_HELD))
        assert_true(has_order(&orders, UPDATE_ORDER_SET_TIMER));
}

static void test_every_cell(void **state)
{
    for (int s = 0; s < UPDATE_STATE_COUNT; s++)
        for (int kind = 0; kind < UPDATE_EVENT_COUNT; kind++)
            for (unsigned flags = 0; flags < 512; flags++)
                for (int error = ERROR_NONE; error <= ERROR_CANCELLED; error++)
                    check_cell((enum update_state)s, (struct update_event){
                                                         .kind = (enum update_event_kind)kind,
                                                         .error = (enum error_kind)error,
                                                         .planned = flags & 1,
                                                         .plan_needed = flags & 2,
                                                         .falling_back = flags & 4,
                                                         .running_known = flags & 8,
                                                         .other_good = flags & 16,
                                                         .at_once = flags & 32,
                                                         .loader_leaves = flags & 64,
                                                         .takes_back = flags & 128,
                                                         .other_selected = flags & 256,
                                                     });
}

static bool begins_errand(const struct update_orders *orders)
{
    return has_order(orders, UPDATE_ORDER_INVALIDATE) || has_order(orders, UPDATE_ORDER_MARK_GOOD) ||
           has_order(orders, UPDATE_ORDER_REJECT) || has_order(orders, UPDATE_ORDER_REBOOT);
}

/* What holds while a write of boot state or a reboot is under way, or the machine is about to fall back. */
static void check_errand(enum update_state state, enum update_errand errand, bool falling_back,
                         struct update_event event)
{
    struct update update;
    struct update_orders orders;

    walk_to(&update, state);
    update.errand = errand;
    update.falling_back = falling_back;
    update_step(&update, &event, &orders);
    /* One at a time: another one begins where the last one ended, which is a rejection that leads to a
     * reboot, and a daemon or a machine that was started anew. */
    bool ended = event.kind == UPDATE_EVENT_REJECTED || event.kind == UPDATE_EVENT_REJECT_FAILED ||
                 event.kind <= UPDATE_EVENT_BOOTED_UNKNOWN;
    if (errand != UPDATE_ERRAND_NONE && begins_errand(&orders))
        assert_true(ended && has_order(&orders, UPDATE_ORDER_REBOOT));
    /* It is known by its name until it ends. */
    if (has_order(&orders, UPDATE_ORDER_REBOOT))
        assert_int_equal(update.errand, UPDATE_ERRAND_REBOOT);
    if (has_order(&orders, UPDATE_ORDER_MARK_GOOD))
        assert_int_equal(update.errand, UPDATE_ERRAND_MARK_GOOD);
    if (has_order(&orders, UPDATE_ORDER_REJECT))
        assert_true(update.errand == UPDATE_ERRAND_REJECT ||
                    update.errand == UPDATE_ERRAND_REJECT_AND_REBOOT);
    if (errand != UPDATE_ERRAND_NONE)
        assert_false(has_order(&orders, UPDATE_ORDER_CHECK));
    /* The other slot is all that the machine has. */
    if (state == UPDATE_STATE_REBOOT_PENDING && falling_back)
        assert_false(has_order(&orders, UPDATE_ORDER_CHECK) || has_order(&orders, UPDATE_ORDER_INVALIDATE));
}

/* Errands are of the states that rest; no check begins during one. */
static void test_every_cell_with_an_errand(void **state)
{
    static const enum update_state resting[] = {UPDATE_STATE_IDLE, UPDATE_STATE_HELD,
                                                UPDATE_STATE_REBOOT_PENDING, UPDATE_STATE_TRIAL};

    for (size_t s = 0; s < sizeof(resting) / sizeof(resting[0]); s++)
        for (int errand = UPDATE_ERRAND_NONE; errand <= UPDATE_ERRAND_REBOOT; errand++)
            for (int kind = 0; kind < UPDATE_EVENT_COUNT; kind++)
                for (unsigned flags = 0; flags < 64; flags++)
                    check_errand(resting[s], (enum update_errand)errand, flags & 1,
                                 (struct update_event){
                                     .kind = (enum update_event_kind)kind,
                                     .error = flags & 2 ? ERROR_REFUSED : ERROR_SYSTEM,
                                     .falling_back = flags & 4,
                                     .at_once = flags & 4,
                                     .running_known = flags & 8,
                                     .other_good = flags & 16,
                                     .loader_leaves = flags & 32,
                                 });
}

static void test_judged_without_a_check(void **state)
{
    struct update update;

    update_init(&update);
    STEP(&update, IDLE, "save-record set-timer publish", .kind = UPDATE_EVENT_BOOTED_GOOD);
    STEP(&update, HELD, "publish", .kind = UPDATE_EVENT_JUDGED_HELD);
    STEP(&update, HELD, "publish", .kind = UPDATE_EVENT_JUDGED_HELD);
    STEP(&update, IDLE, "publish", .kind = UPDATE_EVENT_JUDGED_FREE);
    STEP(&update, IDLE, "publish", .kind = UPDATE_EVENT_JUDGED_FREE);
    /* Work under way has its own end. */
    for (int s = 0; s < UPDATE_STATE_COUNT; s++) {
        walk_to(&update, (enum update_state)s);
        if (s == UPDATE_STATE_CHECKING || s == UPDATE_STATE_INSTALLING || s == UPDATE_STATE_ACTIVATING ||
            s == UPDATE_STATE_STOPPING)
            step(&update, &(struct update_event){.kind = UPDATE_EVENT_JUDGED_FREE}, (enum update_state)s, "");
    }
    /* What waits for its boot goes on waiting. */
    walk_to(&update, UPDATE_STATE_REBOOT_PENDING);
    STEP(&update, REBOOT_PENDING, "publish", .kind = UPDATE_EVENT_JUDGED_HELD);
}

static void test_the_whole_way(void **state)
{
    struct update update;

    update_init(&update);
    STEP(&update, IDLE, "save-record set-timer publish", .kind = UPDATE_EVENT_BOOTED_GOOD);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, INSTALLING, "publish invalidate", .kind = UPDATE_EVENT_CHECK_OFFERS);
    STEP(&update, INSTALLING, "install", .kind = UPDATE_EVENT_INVALIDATED);
    STEP(&update, ACTIVATING, "publish arm", .kind = UPDATE_EVENT_INSTALLED);
    STEP(&update, REBOOT_PENDING, "save-record set-timer publish judge-reboot", .kind = UPDATE_EVENT_ARMED);
    STEP(&update, REBOOT_PENDING, "stop-timer save-record publish reboot", .kind = UPDATE_EVENT_REBOOT_DUE);
    STEP(&update, TRIAL, "stop-timer save-record publish judge-trial", .kind = UPDATE_EVENT_BOOTED_TRIAL);
    STEP(&update, TRIAL, "mark-good", .kind = UPDATE_EVENT_VERDICT_GOOD);
    STEP(&update, IDLE, "save-record set-timer publish", .kind = UPDATE_EVENT_MARKED_GOOD);
}

static void test_failed_trial_falls_back(void **state)
{
    struct update update;

    walk_to(&update, UPDATE_STATE_TRIAL);
    STEP(&update, TRIAL, "stop-timer reject", .kind = UPDATE_EVENT_VERDICT_BAD);
    STEP(&update, TRIAL, "save-record publish retry-trial", .kind = UPDATE_EVENT_REJECT_FAILED,
         .error = ERROR_SYSTEM);
    STEP(&update, TRIAL, "stop-timer reject", .kind = UPDATE_EVENT_VERDICT_BAD);
    STEP(&update, REBOOT_PENDING, "save-record publish reboot", .kind = UPDATE_EVENT_REJECTED);
    assert_true(update.falling_back && update.at_once);
    /* The machine does not go down: it is told again, for nothing good comes of staying. */
    STEP(&update, REBOOT_PENDING, "save-record stop-timer publish retry-reboot",
         .kind = UPDATE_EVENT_REBOOT_FAILED, .error = ERROR_SYSTEM);
    STEP(&update, REBOOT_PENDING, "stop-timer save-record publish reboot", .kind = UPDATE_EVENT_REBOOT_DUE);
    /* No check may lead to a write: the other slot is the only good one. */
    STEP(&update, REBOOT_PENDING, "", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, REBOOT_PENDING, "refused", .kind = UPDATE_EVENT_INSTALL_REQUESTED);
    STEP(&update, IDLE, "save-record set-timer publish", .kind = UPDATE_EVENT_BOOTED_GOOD);
    assert_false(update.falling_back || update.at_once);
}

/* The boot selection cannot be written, and the loader falls back all the same. */
static void test_falling_back_takes_no_write(void **state)
{
    struct update update;

    walk_to(&update, UPDATE_STATE_TRIAL);
    STEP(&update, TRIAL, "stop-timer reject", .kind = UPDATE_EVENT_VERDICT_BAD);
    /* To what is known to be bad nobody goes back. */
    STEP(&update, TRIAL, "save-record publish retry-trial", .kind = UPDATE_EVENT_REJECT_FAILED,
         .error = ERROR_REFUSED, .loader_leaves = true);
    STEP(&update, TRIAL, "stop-timer reject", .kind = UPDATE_EVENT_VERDICT_BAD);
    STEP(&update, REBOOT_PENDING, "save-record publish reboot", .kind = UPDATE_EVENT_REJECT_FAILED,
         .error = ERROR_SYSTEM, .loader_leaves = true);
    assert_true(update.falling_back && update.at_once);
}

/* The daemon was started anew between the verdict and the reboot, or after an operator's mark-bad. */
static void test_falling_back_goes_on_after_a_restart(void **state)
{
    struct update update;

    update_init(&update);
    STEP(&update, REBOOT_PENDING, "save-record stop-timer publish reboot",
         .kind = UPDATE_EVENT_BOOTED_PENDING, .falling_back = true, .at_once = true);
    assert_true(update.falling_back && update.at_once);
    STEP(&update, REBOOT_PENDING, "refused", .kind = UPDATE_EVENT_REBOOT_REQUESTED);
    update_init(&update);
    STEP(&update, REBOOT_PENDING, "save-record stop-timer publish judge-reboot",
         .kind = UPDATE_EVENT_BOOTED_PENDING, .falling_back = true);
    assert_false(update.at_once);
    update_init(&update);
    STEP(&update, REBOOT_PENDING, "save-record set-timer publish judge-reboot",
         .kind = UPDATE_EVENT_BOOTED_PENDING);
    STEP(&update, REBOOT_PENDING, "stop-timer save-record publish reboot", .kind = UPDATE_EVENT_REBOOT_DUE);
    STEP(&update, REBOOT_PENDING, "save-record set-timer publish retry-reboot",
         .kind = UPDATE_EVENT_REBOOT_FAILED, .error = ERROR_SYSTEM);
}

static void test_newer_release_over_a_pending_one(void **state)
{
    struct update update;

    walk_to(&update, UPDATE_STATE_REBOOT_PENDING);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, REBOOT_PENDING, "save-record set-timer publish judge-reboot",
         .kind = UPDATE_EVENT_CHECK_FAILED, .error = ERROR_NETWORK);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, REBOOT_PENDING, "save-record set-timer publish judge-reboot",
         .kind = UPDATE_EVENT_CHECK_HELD);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, INSTALLING, "publish invalidate", .kind = UPDATE_EVENT_CHECK_OFFERS);
    STEP(&update, INSTALLING, "install", .kind = UPDATE_EVENT_INVALIDATED);
    /* The pending one is gone, so there is nothing to wait for any more. */
    STEP(&update, IDLE, "save-record set-timer publish", .kind = UPDATE_EVENT_INSTALL_FAILED,
         .error = ERROR_NETWORK);
}

/* The publisher took it back: what is offered now is newer and not to be installed. */
static void test_a_newer_release_takes_the_pending_one_back(void **state)
{
    struct update update;

    walk_to(&update, UPDATE_STATE_REBOOT_PENDING);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, REBOOT_PENDING, "save-record publish invalidate", .kind = UPDATE_EVENT_CHECK_UNCHANGED,
         .takes_back = true);
    STEP(&update, REBOOT_PENDING, "", .kind = UPDATE_EVENT_REBOOT_DUE);
    STEP(&update, REBOOT_PENDING, "refused", .kind = UPDATE_EVENT_REBOOT_REQUESTED);
    STEP(&update, REBOOT_PENDING, "", .kind = UPDATE_EVENT_POLL_DUE);
    /* It could not be; the next look tries again. */
    STEP(&update, REBOOT_PENDING, "save-record set-timer publish judge-reboot",
         .kind = UPDATE_EVENT_INVALIDATE_FAILED, .error = ERROR_SYSTEM);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, REBOOT_PENDING, "save-record publish invalidate", .kind = UPDATE_EVENT_CHECK_UNCHANGED,
         .takes_back = true);
    STEP(&update, IDLE, "save-record set-timer publish", .kind = UPDATE_EVENT_INVALIDATED);

    walk_to(&update, UPDATE_STATE_REBOOT_PENDING);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, REBOOT_PENDING, "save-record publish invalidate", .kind = UPDATE_EVENT_CHECK_HELD,
         .takes_back = true);
    STEP(&update, HELD, "save-record set-timer publish", .kind = UPDATE_EVENT_INVALIDATED);

    /* Nothing waits, so there is nothing to take back. */
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, IDLE, "save-record set-timer publish", .kind = UPDATE_EVENT_CHECK_UNCHANGED,
         .takes_back = true);
}

/* The loader is believed, whatever was believed here before. */
static void test_the_other_slot_is_selected(void **state)
{
    static const enum update_event_kind ends[] = {UPDATE_EVENT_CHECK_UNCHANGED, UPDATE_EVENT_CHECK_HELD,
                                                  UPDATE_EVENT_CHECK_FAILED};
    struct update update;

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        walk_to(&update, UPDATE_STATE_CHECKING);
        STEP(&update, REBOOT_PENDING, "save-record set-timer publish judge-reboot", .kind = ends[i],
             .other_selected = true);
        STEP(&update, REBOOT_PENDING, "stop-timer invalidate", .kind = UPDATE_EVENT_CANCEL_REQUESTED);
    }
    /* Another program deselected it during the check, and selected it again. */
    walk_to(&update, UPDATE_STATE_REBOOT_PENDING);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, CHECKING, "", .kind = UPDATE_EVENT_DESELECTED);
    STEP(&update, REBOOT_PENDING, "save-record set-timer publish judge-reboot",
         .kind = UPDATE_EVENT_CHECK_UNCHANGED, .other_selected = true);
    /* It was given up, and is deselected out of whatever state. */
    walk_to(&update, UPDATE_STATE_CHECKING);
    STEP(&update, REBOOT_PENDING, "save-record publish invalidate", .kind = UPDATE_EVENT_CHECK_UNCHANGED,
         .other_selected = true, .takes_back = true);
    STEP(&update, IDLE, "save-record set-timer publish", .kind = UPDATE_EVENT_INVALIDATED);
    /* The target could not be deselected before it was to be written. */
    walk_to(&update, UPDATE_STATE_REBOOT_PENDING);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, INSTALLING, "publish invalidate", .kind = UPDATE_EVENT_CHECK_OFFERS);
    STEP(&update, REBOOT_PENDING, "save-record set-timer publish judge-reboot",
         .kind = UPDATE_EVENT_INVALIDATE_FAILED, .error = ERROR_SYSTEM, .other_selected = true);
}

static void test_plan_before_a_decision(void **state)
{
    struct update update;

    walk_to(&update, UPDATE_STATE_IDLE);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, CHECKING, "plan", .kind = UPDATE_EVENT_CHECK_OFFERS, .plan_needed = true);
    STEP(&update, HELD, "save-record set-timer publish", .kind = UPDATE_EVENT_CHECK_HELD, .planned = true);
    /* A held update is planned for an operator and not for a poll. */
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_CHECK_REQUESTED);
    STEP(&update, CHECKING, "plan", .kind = UPDATE_EVENT_CHECK_HELD);
    STEP(&update, HELD, "save-record set-timer publish", .kind = UPDATE_EVENT_CHECK_HELD, .planned = true);
    STEP(&update, CHECKING, "stop-timer publish check", .kind = UPDATE_EVENT_POLL_DUE);
    STEP(&update, HELD, "save-record set-timer publish", .kind = UPDATE_EVENT_CHECK_HELD);
}

static void test_cancel(void **state)
{
    struct update update;

    walk_to(&update, UPDATE_STATE_INSTALLING);
    STEP(&update, INSTALLING, "cancel", .kind = UPDATE_EVENT_CANCEL_REQUESTED);
    STEP(&update, HELD, "save-record set-timer publish", .kind = UPDATE_EVENT_INSTALL_FAILED,
         .error = ERROR_CANCELLED);
    STEP(&update, HELD, "refused", .kind = UPDATE_EVENT_CANCEL_REQUESTED);

    walk_to(&update, UPDATE_STATE_REBOOT_PENDING);
    STEP(&update, REBOOT_PENDING, "stop-timer invalidate", .kind = UPDATE_EVENT_CANCEL_REQUESTED);
    STEP(&update, REBOOT_PENDING, "refused", .kind = UPDATE_EVENT_REBOOT_REQUESTED);
    STEP(&update, REBOOT_PENDING, "", .kind = UPDATE_EVENT_REBOOT_DUE);
    STEP(&update, HELD, "save-record set-timer publish", .kind = UPDATE_EVENT_INVALIDATED);
}

static void test_requests_that_need_another_slot(void **state)
{
    struct update update;

    walk_to(&update, UPDATE_STATE_IDLE);
    STEP(&update, IDLE, "refused", .kind = UPDATE_EVENT_ROLLBACK_REQUESTED, .running_known = true);
    STEP(&update, IDLE, "refused", .kind = UPDATE_EVENT_MARK_BAD_REQUESTED, .other_good = true);
    STEP(&update, IDLE, "", .kind = UPDATE_EVENT_MARK_GOOD_REQUESTED, .running_known = true);
    STEP(&update, IDLE, "stop-timer reject", .kind = UPDATE_EVENT_MARK_BAD_REQUESTED, .running_known = true,
         .other_good = true);
    /* Marked bad and not rolled back: who reboots is policy's to say. */
    STEP(&update, REBOOT_PENDING, "save-record publish judge-reboot", .kind = UPDATE_EVENT_REJECTED);
    /* It can be taken back. */
    STEP(&update, REBOOT_PENDING, "mark-good", .kind = UPDATE_EVENT_MARK_GOOD_REQUESTED,
         .running_known = true);
    STEP(&update, IDLE, "save-record set-timer publish", .kind = UPDATE_EVENT_MARKED_GOOD);
}

static void test_stop_waits_for_what_is_under_way(void **state)
{
    struct update update;

    walk_to(&update, UPDATE_STATE_ACTIVATING);
    STEP(&update, STOPPING, "stop-timer publish", .kind = UPDATE_EVENT_STOP);
    STEP(&update, STOPPING, "save-record", .kind = UPDATE_EVENT_ARMED);
    STEP(&update, STOPPING, "exit", .kind = UPDATE_EVENT_QUIET);

    walk_to(&update, UPDATE_STATE_TRIAL);
    STEP(&update, STOPPING, "stop-timer cancel publish", .kind = UPDATE_EVENT_STOP);

    walk_to(&update, UPDATE_STATE_INSTALLING);
    STEP(&update, STOPPING, "stop-timer cancel publish", .kind = UPDATE_EVENT_STOP);
}

/* --- restarts --- */

/* A boot loader as simple as can be, and a machine that dies whenever it is told to. */
struct machine {
    struct update update;
    int running, next, trial; /* slots 0 and 1; trial = -1: none */
    unsigned tries, tries_left, trial_boots;
    int holds[2]; /* the release in each slot, 0 = no whole image */
    int offered, failed;
};

static void machine_boot(struct machine *machine)
{
    struct update_event event = {.kind = UPDATE_EVENT_BOOTED_GOOD};

    if (machine->trial >= 0 && machine->tries_left == 0) {
        machine->failed = machine->holds[machine->trial];
        machine->next = 1 - machine->trial;
        machine->trial = -1;
    }
    machine->running = machine->next;
    assert_int_not_equal(machine->holds[machine->running], 0);
    if (machine->running == machine->trial) {
        machine->tries_left--;
        machine->trial_boots++;
        event.kind = UPDATE_EVENT_BOOTED_TRIAL;
    }
    update_init(&machine->update);
    struct update_orders orders;
    update_step(&machine->update, &event, &orders);
}

/* The event that ends what is under way, with its effect on the machine; QUIET where nothing is. */
static struct update_event machine_advance(struct machine *machine)
{
    int target = 1 - machine->running;

    switch (machine->update.state) {
    case UPDATE_STATE_IDLE:
    case UPDATE_STATE_HELD:
        return (struct update_event){.kind = UPDATE_EVENT_POLL_DUE};
    case UPDATE_STATE_CHECKING:
        if (machine->holds[machine->running] == machine->offered)
            return (struct update_event){.kind = UPDATE_EVENT_CHECK_UNCHANGED};
        return (struct update_event){.kind = machine->failed == machine->offered ? UPDATE_EVENT_CHECK_HELD
                                                                                 : UPDATE_EVENT_CHECK_OFFERS};
    case UPDATE_STATE_INSTALLING:
        if (machine->holds[target] != 0) {
            machine->holds[target] = 0;
            machine->next = machine->running;
            machine->trial = -1;
            return (struct update_event){.kind = UPDATE_EVENT_INVALIDATED};
        }
        machine->holds[target] = machine->offered;
        return (struct update_event){.kind = UPDATE_EVENT_INSTALLED};
    case UPDATE_STATE_ACTIVATING:
        machine->next = machine->trial = target;
        machine->tries_left = machine->tries;
        return (struct update_event){.kind = UPDATE_EVENT_ARMED};
    case UPDATE_STATE_TRIAL:
        return (struct update_event){.kind = UPDATE_EVENT_VERDICT_GOOD};
    case UPDATE_STATE_REBOOT_PENDING:
    case UPDATE_STATE_STOPPING:
    case UPDATE_STATE_COUNT:
        break;
    }
    return (struct update_event){.kind = UPDATE_EVENT_QUIET};
}

/* Runs until `stop` is reached (and then loses power), or until the machine rests for good. */
static bool machine_run_until(struct machine *machine, enum update_state stop)
{
    struct update_orders orders;

    for (int i = 0; i < 40; i++) {
        if (machine->update.state == stop)
            return true;
        if (machine->update.state == UPDATE_STATE_TRIAL &&
            machine->update.errand == UPDATE_ERRAND_MARK_GOOD) {
            machine->trial = -1;
            update_step(&machine->update, &(struct update_event){.kind = UPDATE_EVENT_MARKED_GOOD}, &orders);
            continue;
        }
        if (machine->update.state == UPDATE_STATE_REBOOT_PENDING) {
            machine_boot(machine);
            continue;
        }
        struct update_event event = machine_advance(machine);
        update_step(&machine->update, &event, &orders);
    }
    return false;
}

static struct machine machine_new(void)
{
    struct machine machine = {.trial = -1, .tries = 3, .holds = {1, 1}, .offered = 2};

    machine_boot(&machine);
    return machine;
}

static void test_spontaneous_reboot_in_every_state(void **state)
{
    for (int s = 0; s < UPDATE_STATE_STOPPING; s++) {
        struct machine machine = machine_new();
        /* HELD is not on this way; the others are met once and lost there. */
        if (machine_run_until(&machine, (enum update_state)s))
            machine_boot(&machine);
        machine_run_until(&machine, UPDATE_STATE_COUNT);
        assert_int_equal(machine.holds[machine.running], 2);
        assert_int_equal(machine.trial, -1);
    }
}

static void test_rebooting_for_ever_stops(void **state)
{
    struct machine machine = machine_new();

    /* Each time the new slot comes up, the power fails. */
    while (machine.failed == 0) {
        assert_true(machine_run_until(&machine, UPDATE_STATE_TRIAL));
        machine_boot(&machine);
        assert_true(machine.trial_boots <= machine.tries);
    }
    assert_int_equal(machine.trial_boots, machine.tries);
    assert_int_equal(machine.holds[machine.running], 1);
    assert_false(machine_run_until(&machine, UPDATE_STATE_INSTALLING));
    assert_true(machine_run_until(&machine, UPDATE_STATE_HELD));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cell),
        cmocka_unit_test(test_every_cell_with_an_errand),
        cmocka_unit_test(test_judged_without_a_check),
        cmocka_unit_test(test_the_whole_way),
        cmocka_unit_test(test_failed_trial_falls_back),
        cmocka_unit_test(test_falling_back_takes_no_write),
        cmocka_unit_test(test_falling_back_goes_on_after_a_restart),
        cmocka_unit_test(test_newer_release_over_a_pending_one),
        cmocka_unit_test(test_a_newer_release_takes_the_pending_one_back),
        cmocka_unit_test(test_the_other_slot_is_selected),
        cmocka_unit_test(test_plan_before_a_decision),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_requests_that_need_another_slot),
        cmocka_unit_test(test_stop_waits_for_what_is_under_way),
        cmocka_unit_test(test_spontaneous_reboot_in_every_state),
        cmocka_unit_test(test_rebooting_for_ever_stops),
    };

    log_init(LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
