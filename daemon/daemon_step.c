/* SPDX-License-Identifier: MIT */
/* Feeds events to the state machine and carries out its orders. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <assert.h>

#include "common/base/log.h"
#include "common/base/wall_clock.h"
#include "common/io/later.h"
#include "common/io/loop.h"

/* --- orders --- */

static void cancel_work(struct daemon *daemon)
{
    daemon_check_cancel(daemon);
    installer_cancel(daemon->installer);
    trial_runner_cancel(daemon->trial_runner);
}

static void begin_check(struct daemon *daemon)
{
    poller_begin(daemon->poller);
    daemon->cancelled = false;
    daemon_check_start(daemon);
}

static void carry_out(struct daemon *daemon, enum update_order order, bool state_changed)
{
    switch (order) {
    case UPDATE_ORDER_CHECK:
        begin_check(daemon);
        return;
    case UPDATE_ORDER_PLAN:
    case UPDATE_ORDER_INSTALL:
        daemon_install_start(daemon, order == UPDATE_ORDER_PLAN);
        return;
    case UPDATE_ORDER_INVALIDATE:
        daemon_arm_invalidate(daemon);
        return;
    case UPDATE_ORDER_CANCEL:
        cancel_work(daemon);
        return;
    case UPDATE_ORDER_ARM:
        daemon_arm_target(daemon);
        return;
    case UPDATE_ORDER_JUDGE_REBOOT:
        daemon_judge_reboot(daemon);
        return;
    case UPDATE_ORDER_RETRY_REBOOT:
        rebooter_retry_later(daemon->rebooter);
        return;
    case UPDATE_ORDER_REBOOT:
        daemon_reboot(daemon);
        return;
    case UPDATE_ORDER_JUDGE_TRIAL:
        daemon_trial_check(daemon);
        return;
    case UPDATE_ORDER_RETRY_TRIAL:
        trial_runner_retry_later(daemon->trial_runner);
        return;
    case UPDATE_ORDER_MARK_GOOD:
        trial_runner_cancel(daemon->trial_runner);
        daemon_trial_mark_good(daemon);
        return;
    case UPDATE_ORDER_REJECT:
        trial_runner_cancel(daemon->trial_runner);
        daemon_trial_reject(daemon);
        return;
    case UPDATE_ORDER_SET_TIMER:
        poller_plan(daemon->poller, policy_verdict_wait_ms(&daemon->install_verdict, wall_clock_now_s()));
        return;
    case UPDATE_ORDER_STOP_TIMER:
        poller_stop(daemon->poller);
        return;
    case UPDATE_ORDER_SAVE_RECORD:
        record_store_save(daemon->record_store);
        return;
    case UPDATE_ORDER_PUBLISH:
        daemon_report_publish(daemon, state_changed);
        return;
    case UPDATE_ORDER_EXIT:
        loop_end(daemon->base);
        return;
    }
}

/* Steps one event and carries out its orders; false if it was refused. */
static bool step(struct daemon *daemon, const struct update_event *event, struct update_orders *ret_orders)
{
    enum update_state before = daemon->update.state;

    update_step(&daemon->update, event, ret_orders);
    if (ret_orders->refusal)
        return false;
    bool changed = daemon->update.state != before;
    if (changed)
        daemon->since_s = wall_clock_now_s();
    if (event->kind == UPDATE_EVENT_CANCEL_REQUESTED)
        daemon->cancelled = true;
    /* Only if it became an errand: a slot that was good already gets no verdict. */
    if (event->kind == UPDATE_EVENT_MARK_GOOD_REQUESTED && daemon->update.errand == UPDATE_ERRAND_MARK_GOOD)
        trial_runner_decide(daemon->trial_runner, NULL);
    if (event->kind == UPDATE_EVENT_MARK_BAD_REQUESTED)
        trial_runner_decide(daemon->trial_runner, "marked bad by an operator");
    if (event->kind == UPDATE_EVENT_ROLLBACK_REQUESTED)
        trial_runner_decide(daemon->trial_runner, "rolled back by an operator");
    for (size_t i = 0; i < ret_orders->count; i++)
        carry_out(daemon, ret_orders->list[i], changed);
    daemon_boot_plan_look(daemon);
    return true;
}

/* Steps everything that is queued, including what the steps themselves queue. */
static void drain(struct daemon *daemon)
{
    struct daemon_queue *queue = &daemon->queue;
    struct update_orders orders;

    if (queue->stepping)
        return;
    queue->stepping = true;
    while (queue->count) {
        struct daemon_event posted = queue->events[queue->first];
        queue->first = (queue->first + 1) % DAEMON_EVENTS_MAX;
        queue->count--;
        posted.event.reason = *posted.reason ? posted.reason : NULL;
        step(daemon, &posted.event, &orders);
    }
    queue->stepping = false;
}

void daemon_post(struct daemon *daemon, const struct update_event *event, const char *reason)
{
    struct daemon_queue *queue = &daemon->queue;

    /* Each order posts at most one event, so the queue cannot fill up. */
    assert(queue->count < DAEMON_EVENTS_MAX);
    struct daemon_event *posted = &queue->events[(queue->first + queue->count++) % DAEMON_EVENTS_MAX];
    posted->event = *event;
    record_copy_text(posted->reason, sizeof(posted->reason), reason);
    drain(daemon);
}

void daemon_post_failure(struct daemon *daemon, enum update_event_kind kind, const struct error *error)
{
    if (error->kind == ERROR_CANCELLED) {
        log_notice("%s", error->message);
    } else {
        log_error("%s: %s", update_event_name(kind), error->message);
        record_set_error(daemon->record, error, wall_clock_now_s());
    }
    daemon_post(daemon,
                &(struct update_event){.kind = kind,
                                       .error = error->kind,
                                       .other_selected = daemon_boot_other_is_next(daemon),
                                       .loader_leaves = boot_selection_abilities(daemon->boot)->trial},
                error->message);
}

bool daemon_request(struct daemon *daemon, const struct update_event *event, struct update_orders *ret_orders)
{
    /* The API's callbacks come from the loop, never from within a step. */
    assert(!daemon->queue.stepping);
    daemon->queue.stepping = true;
    bool accepted = step(daemon, event, ret_orders);
    daemon->queue.stepping = false;
    drain(daemon);
    return accepted;
}

/* --- when work ended --- */

static bool is_working(const struct daemon *daemon)
{
    return checker_state(daemon->checker) != CHECKER_IDLE || installer_is_running(daemon->installer) ||
           record_store_is_busy(daemon->record_store) || boot_selection_is_busy(daemon->boot) ||
           settings_is_busy(daemon->settings) || rebooter_is_busy(daemon->rebooter);
}

void daemon_on_settle(void *owner)
{
    struct daemon *daemon = owner;
    enum update_state state = daemon->update.state;

    if (state == UPDATE_STATE_STOPPING && !is_working(daemon)) {
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_QUIET}, NULL);
        return;
    }
    if (checker_state(daemon->checker) != CHECKER_IDLE || installer_is_running(daemon->installer) ||
        trial_runner_is_checking(daemon->trial_runner) || state == UPDATE_STATE_INSTALLING ||
        state == UPDATE_STATE_CHECKING || state == UPDATE_STATE_STOPPING)
        return;
    if (settings_next(daemon->settings))
        daemon_settings_take(daemon);
    else if (http_was_used(daemon->http))
        daemon_settings_close_connections(daemon);
}

void daemon_settle(struct daemon *daemon)
{
    later_call(daemon->settling);
}
