/* SPDX-License-Identifier: MIT */
/* When the server is asked next: the timer, and what comes between: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/base/log.h"

/* A link that comes up brings a handful of addresses and routes, one after another. */
enum { WAKE_DELAY_MS = 1000 };

/* --- the timer --- */

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
        daemon->next.may_wake |=
            daemon->next.why == SCHEDULE_WHY_BACKOFF && daemon->failure_kind == ERROR_NETWORK;
        if (daemon->woken)
            schedule_wake(&daemon->schedule, &daemon->next, now_ms, draw_random(now_ms));
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

void daemon_follow_hold(struct daemon *daemon)
{
    uint64_t now_ms = daemon_now_ms();

    if (!daemon->next_s)
        return;
    schedule_bring_forward(&daemon->next, now_ms, now_ms + release_hold_ms(daemon));
    show_next(daemon, now_ms);
}

void daemon_disarm_poll(struct daemon *daemon)
{
    daemon->next_s = 0;
    set_poll_timer(daemon, 0);
}

static void on_poll(evutil_socket_t fd, short events, void *owner)
{
    struct daemon *daemon = owner;
    uint64_t expirations;

    if (read(fd, &expirations, sizeof(expirations)) != sizeof(expirations))
        return;
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_POLL_DUE}, NULL);
}

/* --- a route or the clock came --- */

/* What failed may go now. A look that is under way is told when it ends. */
static void wake(struct daemon *daemon)
{
    uint64_t now_ms = daemon_now_ms();

    daemon->woken = true;
    if (!daemon->next_s || !schedule_wake(&daemon->schedule, &daemon->next, now_ms, draw_random(now_ms)))
        return;
    log_info("next check %s", daemon->next.sentence);
    show_next(daemon, now_ms);
}

static void on_wake_timer(evutil_socket_t fd, short events, void *owner)
{
    wake(owner);
}

/* Not put off by more of them, or a route that flaps would do that for ever. */
static void on_routes_came(void *owner)
{
    struct daemon *daemon = owner;

    if (!event_pending(daemon->wake_timer, EV_TIMEOUT, NULL))
        daemon_arm_timer(daemon->wake_timer, WAKE_DELAY_MS);
}

/* A timer that is never due, and that is cancelled whenever somebody sets the clock: timerfd_create(2). */
static bool arm_clock(struct daemon *daemon)
{
    struct itimerspec never = {
        .it_value = {.tv_sec = sizeof(time_t) > sizeof(int32_t) ? (time_t)INT64_MAX : (time_t)INT32_MAX}};

    return timerfd_settime(daemon->clock_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) == 0;
}

/* Certificates, expiry, rollouts and windows go by it. */
static void on_clock_set(evutil_socket_t fd, short events, void *owner)
{
    struct daemon *daemon = owner;
    uint64_t expirations;

    if (read(fd, &expirations, sizeof(expirations)) >= 0 || errno != ECANCELED)
        return;
    arm_clock(daemon);
    log_info("the clock was set");
    wake(daemon);
    daemon_judge_clock_was_set(daemon);
    if (daemon->next_s)
        show_next(daemon, daemon_now_ms());
    if (daemon->update.state == UPDATE_STATE_REBOOT_PENDING && !daemon->update.at_once)
        daemon_reboot_on_judge_timer(-1, 0, daemon);
    daemon_report_publish(daemon, false);
}

/* --- life --- */

bool daemon_poll_init(struct daemon *daemon, struct error *error)
{
    struct error missing;

    daemon->poll_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    daemon->clock_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (daemon->poll_fd < 0 || daemon->clock_fd < 0 || !arm_clock(daemon))
        return error_set_errno(error, errno, "the timer of the next check cannot be made");
    daemon->poll_event = event_new(daemon->base, daemon->poll_fd, EV_READ | EV_PERSIST, on_poll, daemon);
    daemon->clock_event =
        event_new(daemon->base, daemon->clock_fd, EV_READ | EV_PERSIST, on_clock_set, daemon);
    event_add(daemon->poll_event, NULL);
    event_add(daemon->clock_event, NULL);
    daemon->wake_timer = evtimer_new(daemon->base, on_wake_timer, daemon);
    /* It only saves waiting. */
    if (!route_watch_new(daemon->base, on_routes_came, daemon, &daemon->routes, &missing))
        log_warning("%s, so a look that failed waits for its time: see RestrictAddressFamilies= in the unit",
                    missing.message);
    return true;
}

void daemon_poll_finish(struct daemon *daemon)
{
    daemon->routes = route_watch_free(daemon->routes);
    daemon_free_event(daemon->poll_event);
    daemon_free_event(daemon->clock_event);
    daemon_free_event(daemon->wake_timer);
    if (daemon->poll_fd >= 0)
        close(daemon->poll_fd);
    if (daemon->clock_fd >= 0)
        close(daemon->clock_fd);
}
