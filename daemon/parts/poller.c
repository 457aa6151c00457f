/* SPDX-License-Identifier: MIT */
#include "daemon/parts/poller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wall_clock.h"
#include "common/io/timer.h"
#include "common/io/watch.h"
#include "daemon/host/route_watch.h"

/* A link that comes up brings several addresses and routes, one after another; wait for all of them. */
enum { WAKE_DELAY_MS = 1000 };

/* What poller_note() was told. */
struct outcome {
    bool is_new; /* poller_plan() has not used it yet */
    enum schedule_result result;
    uint64_t retry_after_ms;
    enum error_kind failure;
};

struct poller {
    const struct poller_events *events;
    void *owner;
    struct schedule schedule;
    struct outcome outcome;
    struct schedule_next next;
    uint64_t next_s; /* Unix time of the next check; 0 = the timer is not set */
    bool woken;      /* there was a new route, or the clock was set, since the last check began */
    int timer_fd;    /* timerfd of CLOCK_BOOTTIME: libevent's timers stand still while the machine sleeps */
    struct watch *timer_watch;
    int clock_fd; /* timerfd that tells when the clock is set */
    struct watch *clock_watch;
    struct route_watch *routes; /* NULL = the kernel does not report routes */
    struct timer *wake_timer;
};

/* --- the timer --- */

static void set_timer(struct poller *poller, uint64_t at_ms)
{
    /* All zeroes disarm; a moment that has passed fires at once. */
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000 * 1000000)},
    };

    if (timerfd_settime(poller->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) < 0)
        log_error("the timer of the next check cannot be set: %s", strerror(errno));
}

/* Sets the timer to the planned time, and computes its Unix time again, as the clock may have been set. */
static void set_next(struct poller *poller, uint64_t now_ms)
{
    const struct schedule_next *next = &poller->next;

    poller->next_s = wall_clock_now_s() + (next->at_ms > now_ms ? (next->at_ms - now_ms) / 1000 : 0);
    set_timer(poller, next->at_ms ? next->at_ms : 1);
}

static void on_timer(void *owner, int fd)
{
    struct poller *poller = owner;
    uint64_t expirations;

    if (read(fd, &expirations, sizeof(expirations)) == sizeof(expirations))
        poller->events->due(poller->owner);
}

/* --- the plan --- */

/* A random number of 32 bits; a poor one if the kernel has none yet. */
static uint32_t draw_random(uint64_t now_ms)
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        random = (uint32_t)now_ms * 2654435761u;
    return random;
}

void poller_begin(struct poller *poller)
{
    poller->woken = false;
}

void poller_note(struct poller *poller, enum schedule_result result, uint64_t retry_after_ms,
                 enum error_kind failure)
{
    poller->outcome = (struct outcome){
        .is_new = true, .result = result, .retry_after_ms = retry_after_ms, .failure = failure};
}

static void plan(struct poller *poller, uint64_t now_ms, uint64_t hold_ms)
{
    struct schedule_next *next = &poller->next;
    const struct outcome *outcome = &poller->outcome;

    schedule_plan(&poller->schedule, outcome->result, now_ms, outcome->retry_after_ms, draw_random(now_ms),
                  next);
    /* An installation that failed for want of a network may also succeed as soon as there is a route. */
    next->may_wake |= next->why == SCHEDULE_WHY_BACKOFF && outcome->failure == ERROR_NETWORK;
    if (poller->woken)
        schedule_wake(&poller->schedule, next, now_ms, draw_random(now_ms));
    schedule_bring_forward(next, now_ms, now_ms + hold_ms);
    poller->outcome = (struct outcome){.result = SCHEDULE_RESULT_ANSWERED};
    log_info("next check %s", next->sentence);
}

void poller_plan(struct poller *poller, uint64_t hold_ms)
{
    uint64_t now_ms = wall_clock_boot_ms();

    /* Without a new note the old plan stands, unless its time has passed without a check. */
    if (poller->outcome.is_new || poller->next.at_ms <= now_ms)
        plan(poller, now_ms, hold_ms);
    set_next(poller, now_ms);
}

void poller_stop(struct poller *poller)
{
    poller->next_s = 0;
    set_timer(poller, 0);
}

void poller_set_interval(struct poller *poller, uint64_t interval_ms, uint64_t random_delay_ms)
{
    uint64_t now_ms = wall_clock_boot_ms();

    schedule_set(&poller->schedule, interval_ms, random_delay_ms);
    if (!poller->next_s || !schedule_shorten(&poller->schedule, &poller->next, now_ms, draw_random(now_ms)))
        return;
    log_info("next check %s", poller->next.sentence);
    set_next(poller, now_ms);
}

/* A check that is due at once needs no hold time: UINT64_MAX / 2 = never. */
static void note_change(struct poller *poller)
{
    poller_note(poller, SCHEDULE_RESULT_CHANGED, 0, ERROR_NONE);
    if (poller->next_s)
        poller_plan(poller, UINT64_MAX / 2);
}

void poller_look_at_once(struct poller *poller)
{
    if (poller->next_s && poller->next.why != SCHEDULE_WHY_RETRY_AFTER)
        note_change(poller);
}

void poller_look_anew(struct poller *poller)
{
    schedule_init(&poller->schedule, poller->schedule.interval_ms, poller->schedule.random_delay_ms);
    note_change(poller);
}

void poller_follow_hold(struct poller *poller, uint64_t hold_ms)
{
    uint64_t now_ms = wall_clock_boot_ms();

    if (!poller->next_s)
        return;
    schedule_bring_forward(&poller->next, now_ms, now_ms + hold_ms);
    set_next(poller, now_ms);
}

uint64_t poller_next_s(const struct poller *poller)
{
    return poller->next_s;
}

const char *poller_next_why(const struct poller *poller)
{
    return poller->next.sentence;
}

/* --- a route or the clock came --- */

/* Brings a check after a failure forward. During a check it only notes that; the next plan uses it. */
static void wake(struct poller *poller)
{
    uint64_t now_ms = wall_clock_boot_ms();

    poller->woken = true;
    if (!poller->next_s || !schedule_wake(&poller->schedule, &poller->next, now_ms, draw_random(now_ms)))
        return;
    log_info("next check %s", poller->next.sentence);
    set_next(poller, now_ms);
}

static void on_wake_timer(void *owner)
{
    wake(owner);
}

/* More routes do not put the timer off, else a flapping route would do so for ever. */
static void on_routes_came(void *owner)
{
    struct poller *poller = owner;

    if (!timer_is_running(poller->wake_timer))
        timer_start(poller->wake_timer, WAKE_DELAY_MS);
}

/* Sets a timer that never expires, only to be cancelled when somebody sets the clock, see
 * timerfd_create(2). */
static bool arm_clock(const struct poller *poller)
{
    struct itimerspec never = {
        .it_value = {.tv_sec = sizeof(time_t) > sizeof(int32_t) ? (time_t)INT64_MAX : (time_t)INT32_MAX}};

    return timerfd_settime(poller->clock_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) == 0;
}

/* A check may have failed because of a certificate's dates, so it may succeed now. */
static void on_clock_set(void *owner, int fd)
{
    struct poller *poller = owner;
    uint64_t expirations;

    if (read(fd, &expirations, sizeof(expirations)) >= 0 || errno != ECANCELED)
        return;
    arm_clock(poller);
    log_info("the clock was set");
    wake(poller);
    if (poller->next_s)
        set_next(poller, wall_clock_boot_ms());
    poller->events->clock_set(poller->owner);
}

/* --- life --- */

bool poller_new(const struct poller_settings *settings, const struct poller_events *events, void *owner,
                struct poller **ret_poller, struct error *error)
{
    struct poller *poller = alloc_zeroed(sizeof(*poller));
    struct error missing;

    *poller = (struct poller){.events = events, .owner = owner};
    schedule_init(&poller->schedule, settings->interval_ms, settings->random_delay_ms);
    poller_note(poller, SCHEDULE_RESULT_STARTED, 0, ERROR_NONE);
    poller->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    poller->clock_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (poller->timer_fd < 0 || poller->clock_fd < 0 || !arm_clock(poller)) {
        error_set_errno(error, errno, "the timer of the next check cannot be made");
        poller_free(poller);
        return false;
    }
    poller->timer_watch = watch_new(settings->base, WATCH_READABLE, poller->timer_fd, on_timer, poller);
    poller->clock_watch = watch_new(settings->base, WATCH_READABLE, poller->clock_fd, on_clock_set, poller);
    watch_start(poller->timer_watch);
    watch_start(poller->clock_watch);
    poller->wake_timer = timer_new(settings->base, on_wake_timer, poller);
    /* No error: the watch only saves some waiting. */
    if (!route_watch_new(settings->base, on_routes_came, poller, &poller->routes, &missing))
        log_warning("%s, so a look that failed waits for its time: see RestrictAddressFamilies= in the unit",
                    missing.message);
    *ret_poller = poller;
    return true;
}

struct poller *poller_free(struct poller *poller)
{
    if (!poller)
        return NULL;
    route_watch_free(poller->routes);
    watch_free(poller->timer_watch);
    watch_free(poller->clock_watch);
    timer_free(poller->wake_timer);
    file_close_pointer(&poller->timer_fd);
    file_close_pointer(&poller->clock_fd);
    free(poller);
    return NULL;
}
