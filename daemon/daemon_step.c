/* Events into the state machine, its orders out: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>

#include "common/base/log.h"

enum { TRIAL_RETRY_MS = 30 * 1000 };

/* --- the timer of the next check --- */

static void set_poll_timer(struct daemon *daemon, uint64_t at_ms)
{
    /* All zeroes disarm; a moment that has passed fires at once. */
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000 * 1000000)},
    };

    if (timerfd_settime(daemon->poll_fd, TFD_TIMER_ABSTIME, &when, NULL) < 0)
        log_error("the timer of the next check cannot be set: %s", strerror(errno));
}

/* Milliseconds until the first of what holds the release ends by itself; ages where nothing does. */
static uint64_t release_hold_ms(const struct daemon *daemon)
{
    const struct policy_verdict *verdict = &daemon->install_verdict;
    uint64_t now_s = daemon_now_s(), wait_s = UINT64_MAX / 2000;

    for (size_t i = 0; i < verdict->count; i++)
        if (verdict->blocks[i].until_s > now_s && verdict->blocks[i].until_s - now_s < wait_s)
            wait_s = verdict->blocks[i].until_s - now_s;
    return wait_s * 1000;
}

/* Of all 32 bits. */
static uint32_t draw_random(uint64_t now_ms)
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        random = (uint32_t)now_ms * 2654435761u;
    return random;
}
static void show_next(struct daemon *daemon, uint64_t now_ms)
{
    daemon->next_s =
        daemon_now_s() + (daemon->next.at_ms > now_ms ? (daemon->next.at_ms - now_ms) / 1000 : 0);
    set_poll_timer(daemon, daemon->next.at_ms ? daemon->next.at_ms : 1);
}
void daemon_arm_poll(struct daemon *daemon)
{
    uint64_t now_ms = daemon_now_ms();

    /* Without anything new to schedule by, what was planned stands; where that has passed, it was not made
     * use of. */
    if (daemon->has_result || daemon->next.at_ms <= now_ms) {
        schedule_plan(&daemon->schedule, daemon->schedule_result, now_ms, daemon->retry_after_ms,
                      draw_random(now_ms), &daemon->next);
        schedule_bring_forward(&daemon->next, now_ms, now_ms + release_hold_ms(daemon));
        daemon->has_result = false;
        daemon->schedule_result = SCHEDULE_RESULT_ANSWERED;
        daemon->retry_after_ms = 0;
        log_info("next check %s", daemon->next.sentence);
    }
    show_next(daemon, now_ms);
}

void daemon_set_interval(struct daemon *daemon)
{
    uint64_t now_ms = daemon_now_ms();

    schedule_set(&daemon->schedule, daemon->config->interval_ms, daemon->config->randomized_delay_ms);
    if (!daemon->next_s || !schedule_shorten(&daemon->schedule, &daemon->next, now_ms, draw_random(now_ms)))
        return;
    log_info("next check %s", daemon->next.sentence);
    show_next(daemon, now_ms);
}

void daemon_look_at_once(struct daemon *daemon, bool anew)
{
    if (!anew && (!daemon->next_s || daemon->next.why == SCHEDULE_WHY_RETRY_AFTER))
        return;
    if (anew)
        schedule_init(&daemon->schedule, daemon->config->interval_ms, daemon->config->randomized_delay_ms);
    daemon->has_result = true;
    daemon->schedule_result = SCHEDULE_RESULT_CHANGED;
    daemon->retry_after_ms = 0;
    if (daemon->next_s)
        daemon_arm_poll(daemon);
}

static void disarm_poll(struct daemon *daemon)
{
    daemon->next_s = 0;
    set_poll_timer(daemon, 0);
}

/* --- orders --- */

void daemon_post_verdict(struct daemon *daemon)
{
    if (daemon->trial_good)
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_VERDICT_GOOD}, NULL);
    else
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_VERDICT_BAD}, daemon->trial_reason);
}

static void cancel_work(struct daemon *daemon)
{
    daemon_check_cancel(daemon);
    daemon_install_cancel(daemon);
    daemon_health_cancel(daemon);
}

static void carry_out(struct daemon *daemon, enum update_order order, bool state_changed)
{
    switch (order) {
    case UPDATE_ORDER_CHECK:
        daemon->cancelled = daemon->over_budget = false;
        daemon_check_start(daemon);
        return;
    case UPDATE_ORDER_PLAN:
        daemon_install_start(daemon, true);
        return;
    case UPDATE_ORDER_INVALIDATE:
        daemon_arm_invalidate(daemon);
        return;
    case UPDATE_ORDER_INSTALL:
        daemon_install_start(daemon, false);
        return;
    case UPDATE_ORDER_CANCEL:
        cancel_work(daemon);
        return;
    case UPDATE_ORDER_ACTIVATE:
        daemon_arm_activate(daemon);
        return;
    case UPDATE_ORDER_JUDGE_REBOOT:
        daemon_judge_reboot(daemon);
        return;
    case UPDATE_ORDER_RETRY_REBOOT:
        daemon_reboot_retry_later(daemon);
        return;
    case UPDATE_ORDER_REBOOT:
        daemon_reboot(daemon);
        return;
    case UPDATE_ORDER_JUDGE_TRIAL:
        daemon_health_start(daemon);
        return;
    case UPDATE_ORDER_RETRY_TRIAL:
        daemon_arm_timer(daemon->trial_timer, TRIAL_RETRY_MS);
        return;
    case UPDATE_ORDER_MARK_GOOD:
        daemon_health_cancel(daemon);
        daemon_trial_mark_good(daemon);
        return;
    case UPDATE_ORDER_REJECT:
        daemon_health_cancel(daemon);
        daemon_trial_reject(daemon);
        return;
    case UPDATE_ORDER_ARM_TIMER:
        daemon_arm_poll(daemon);
        return;
    case UPDATE_ORDER_DISARM_TIMER:
        disarm_poll(daemon);
        return;
    case UPDATE_ORDER_SAVE_RECORD:
        daemon_save_start(daemon);
        return;
    case UPDATE_ORDER_PUBLISH:
        daemon_report_publish(daemon, state_changed);
        return;
    case UPDATE_ORDER_EXIT:
        event_base_loopbreak(daemon->base);
        return;
    }
}

/* One event, and its orders where it was not refused. */
static bool step(struct daemon *daemon, const struct update_event *event, struct update_orders *ret_orders)
{
    enum update_state before = daemon->update.state;

    update_step(&daemon->update, event, ret_orders);
    if (ret_orders->refusal)
        return false;
    bool changed = daemon->update.state != before;
    if (changed)
        daemon->since_s = daemon_now_s();
    if (event->kind == UPDATE_EVENT_CANCEL_REQUESTED)
        daemon->cancelled = true;
    if (event->kind == UPDATE_EVENT_MARK_GOOD_REQUESTED)
        daemon->trial_good = true;
    if (event->kind == UPDATE_EVENT_MARK_BAD_REQUESTED || event->kind == UPDATE_EVENT_ROLLBACK_REQUESTED) {
        daemon->trial_good = false;
        record_copy_text(daemon->trial_reason, sizeof(daemon->trial_reason),
                         event->kind == UPDATE_EVENT_ROLLBACK_REQUESTED ? "rolled back by an operator"
                                                                        : "marked bad by an operator");
        daemon->trial_output[0] = 0;
    }
    for (size_t i = 0; i < ret_orders->count; i++)
        carry_out(daemon, ret_orders->list[i], changed);
    daemon_boot_plan_look(daemon);
    return true;
}

/* Steps what is posted, and what stepping it posts. */
static void drain(struct daemon *daemon)
{
    struct update_orders orders;

    if (daemon->stepping)
        return;
    daemon->stepping = true;
    while (daemon->event_count) {
        struct daemon_event posted = daemon->events[daemon->event_first];
        daemon->event_first = (daemon->event_first + 1) % DAEMON_EVENTS_MAX;
        daemon->event_count--;
        posted.event.reason = *posted.reason ? posted.reason : NULL;
        step(daemon, &posted.event, &orders);
    }
    daemon->stepping = false;
}

void daemon_post(struct daemon *daemon, const struct update_event *event, const char *reason)
{
    /* A step posts at most one event an order, so the queue cannot fill up. */
    assert(daemon->event_count < DAEMON_EVENTS_MAX);
    struct daemon_event *posted =
        &daemon->events[(daemon->event_first + daemon->event_count++) % DAEMON_EVENTS_MAX];
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
        record_set_error(daemon->record, error, daemon_now_s());
    }
    daemon_post(daemon,
                &(struct update_event){.kind = kind,
                                       .error = error->kind,
                                       .loader_leaves = boot_get_abilities(daemon->boot)->trial},
                error->message);
}

bool daemon_request(struct daemon *daemon, const struct update_event *event, struct update_orders *ret_orders)
{
    /* The API's callbacks come from the loop, never from within a step. */
    assert(!daemon->stepping);
    daemon->stepping = true;
    bool accepted = step(daemon, event, ret_orders);
    daemon->stepping = false;
    drain(daemon);
    return accepted;
}

/* --- when work ended --- */

static bool is_working(const struct daemon *daemon)
{
    return daemon->fetch || daemon->identify || daemon->clone || daemon->save.busy ||
           daemon->boot_work.busy || daemon->save.then || daemon->reload.busy || daemon->reboot_work.busy;
}

void daemon_on_settle(evutil_socket_t fd, short events, void *owner)
{
    struct daemon *daemon = owner;
    enum update_state state = daemon->update.state;

    if (state == UPDATE_STATE_STOPPING && !is_working(daemon)) {
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_QUIET}, NULL);
        return;
    }
    if (daemon->fetch || daemon->clone || daemon->identify || daemon->health ||
        state == UPDATE_STATE_INSTALLING || state == UPDATE_STATE_CHECKING || state == UPDATE_STATE_STOPPING)
        return;
    if (daemon->config_next)
        daemon_settings_take(daemon);
    else if (daemon->http_used)
        daemon_settings_close_connections(daemon);
}

void daemon_settle(struct daemon *daemon)
{
    event_active(daemon->settle_event, EV_TIMEOUT, 0);
}
