/* The loop: events into the state machine, its orders out. See daemon/daemon_private.h. */
#include "daemon/daemon.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "daemon/daemon_private.h"
#include "daemon/notify.h"

enum {
    /* Two threads read and hash while one waits for the medium; more only help where there are more cores. */
    POOL_THREADS_MIN = 2,
    POOL_THREADS_MAX = 4,
    TRIAL_RETRY_MS = 30 * 1000,
    /* A medium that hangs in the kernel is the only thing that keeps a stopping daemon; nothing is lost by
     * leaving, as every state on the medium is one that a power cut may leave. */
    STOP_TIMEOUT_MS = 15 * 1000,
};

uint64_t daemon_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t daemon_now_s(void)
{
    return (uint64_t)time(NULL);
}

void daemon_watch_jobs(struct daemon *daemon)
{
    daemon->stall_why[0] = 0;
    if (daemon->save.busy || daemon->boot_work.busy)
        daemon_arm_timer(daemon->stall_timer, daemon->config->stall_timeout_ms);
    else
        event_del(daemon->stall_timer);
}

void daemon_arm_timer(struct event *timer, uint64_t delay_ms)
{
    struct timeval delay = {.tv_sec = (time_t)(delay_ms / 1000),
                            .tv_usec = (suseconds_t)(delay_ms % 1000 * 1000)};

    event_add(timer, &delay);
}

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

static void arm_poll(struct daemon *daemon)
{
    uint64_t now_ms = daemon_now_ms();
    uint32_t random = 0;

    /* Without anything new to schedule by, what was planned stands; where that has passed, it was not made
     * use of. */
    if (daemon->has_result || daemon->next.at_ms <= now_ms) {
        if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
            random = (uint32_t)now_ms * 2654435761u;
        schedule_plan(&daemon->schedule, daemon->schedule_result, now_ms, daemon->retry_after_ms, random,
                      &daemon->next);
        daemon->has_result = false;
        daemon->schedule_result = SCHEDULE_RESULT_ANSWERED;
        daemon->retry_after_ms = 0;
        log_info("next check %s", daemon->next.sentence);
    }
    daemon->next_s =
        daemon_now_s() + (daemon->next.at_ms > now_ms ? (daemon->next.at_ms - now_ms) / 1000 : 0);
    set_poll_timer(daemon, daemon->next.at_ms ? daemon->next.at_ms : 1);
}

static void disarm_poll(struct daemon *daemon)
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

/* --- orders --- */

static void judge_reboot(struct daemon *daemon)
{
    struct policy_input input;

    daemon_policy_input(daemon, &input);
    /* Who asked for the installation did not ask for the reboot. */
    input.operator_asked = false;
    policy_judge_reboot(&input, &daemon->reboot_verdict);
    if (policy_wants_reboot(&input) && daemon->reboot_verdict.count == 0)
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_REBOOT_DUE}, NULL);
}

static void post_verdict(struct daemon *daemon)
{
    if (daemon->trial_good)
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_VERDICT_GOOD}, NULL);
    else
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_VERDICT_BAD}, daemon->trial_reason);
}

/* Without health checks there is nothing that could speak against the slot that runs this. */
static void judge_trial(struct daemon *daemon)
{
    daemon->trial_good = true;
    post_verdict(daemon);
}

static void cancel_work(struct daemon *daemon)
{
    daemon_check_cancel(daemon);
    daemon_install_cancel(daemon);
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
        daemon_boot_invalidate(daemon);
        return;
    case UPDATE_ORDER_INSTALL:
        daemon_install_start(daemon, false);
        return;
    case UPDATE_ORDER_CANCEL:
        cancel_work(daemon);
        return;
    case UPDATE_ORDER_ACTIVATE:
        daemon_boot_activate(daemon);
        return;
    case UPDATE_ORDER_JUDGE_REBOOT:
        judge_reboot(daemon);
        return;
    case UPDATE_ORDER_REBOOT:
        daemon_boot_reboot(daemon);
        return;
    case UPDATE_ORDER_JUDGE_TRIAL:
        judge_trial(daemon);
        return;
    case UPDATE_ORDER_RETRY_TRIAL:
        daemon_arm_timer(daemon->trial_timer, TRIAL_RETRY_MS);
        return;
    case UPDATE_ORDER_MARK_GOOD:
        daemon_boot_mark_good(daemon);
        return;
    case UPDATE_ORDER_REJECT:
        daemon_boot_reject(daemon);
        return;
    case UPDATE_ORDER_ARM_TIMER:
        arm_poll(daemon);
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
    }
    for (size_t i = 0; i < ret_orders->count; i++)
        carry_out(daemon, ret_orders->list[i], changed);
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
    daemon_post(daemon, &(struct update_event){.kind = kind, .error = error->kind}, error->message);
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

/* --- settings --- */

static bool make_http(struct daemon *daemon, struct http **ret_http, struct error *error)
{
    const struct config *config = daemon->config;
    struct http_settings settings = {
        .connections = config->connections,
        .rate_limit_bytes_s = config->rate_limit_bytes_s,
        .stall_timeout_ms = config->stall_timeout_ms,
        .proxy = config->proxy,
        .ca_file = config->ca_file,
        .client_certificate = config->client_certificate,
        .client_key = config->client_key,
        .headers = (const char *const *)config->headers,
    };

    return http_new(daemon->base, &settings, ret_http, error);
}

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Slots, boot selection, socket and storage are what the running daemon stands on. */
static bool needs_restart(const struct config *old, const struct config *new)
{
    return !is_same_text(old->slot_names[SLOT_A], new->slot_names[SLOT_A]) ||
           !is_same_text(old->slot_names[SLOT_B], new->slot_names[SLOT_B]) || old->backend != new->backend ||
           old->tries != new->tries || !is_same_text(old->selection_file, new->selection_file) ||
           !is_same_text(old->cmdline_file, new->cmdline_file) || !is_same_text(old->socket, new->socket) ||
           !is_same_text(old->group, new->group) || !is_same_text(old->state_directory, new->state_directory);
}

/* Takes the settings that were read, when nothing stands on the old ones any more. */
static void take_config(struct daemon *daemon)
{
    struct config *old = daemon->config;
    struct http *http;
    struct error error;

    daemon->config = daemon->config_next;
    daemon->config_next = NULL;
    if (!make_http(daemon, &http, &error)) {
        log_error("the new settings cannot be used, the old ones stay: %s", error.message);
        config_free(daemon->config);
        daemon->config = old;
        notify_ready(NULL);
        return;
    }
    http_free(daemon->http);
    daemon->http = http;
    daemon->http_used = false;
    if (needs_restart(daemon->fixed, daemon->config))
        log_warning("slots, boot selection, socket and StateDirectory= change with the next start only");
    if (strcmp(old->url, daemon->config->url) != 0)
        daemon_check_forget(daemon);
    schedule_set(&daemon->schedule, daemon->config->interval_ms, daemon->config->randomized_delay_ms);
    if (old != daemon->fixed)
        config_free(old);
    log_notice("new settings are in use");
    notify_ready(NULL);
    if (daemon->next_s) {
        /* By the new interval from now on, not when the old one ends. */
        daemon->next.at_ms = 0;
        arm_poll(daemon);
    }
    if (daemon->update.state == UPDATE_STATE_REBOOT_PENDING)
        judge_reboot(daemon);
    daemon_report_publish(daemon, true);
}

static void reload(struct daemon *daemon)
{
    struct config_problems problems = {0};
    struct config *config = NULL;
    bool loaded;

    notify_reloading();
    loaded = config_load(daemon->request, &config, &problems);
    for (size_t i = 0; i < problems.count; i++)
        log_write(problems.items[i].is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%s",
                  problems.items[i].message);
    config_problems_finish(&problems);
    if (!loaded) {
        log_error("the settings were not taken; the old ones stay in use");
        notify_ready(NULL);
        return;
    }
    config_free(daemon->config_next);
    daemon->config_next = config;
    daemon_settle(daemon);
}

static bool is_working(const struct daemon *daemon)
{
    return daemon->fetch || daemon->identify || daemon->clone || daemon->save.busy ||
           daemon->boot_work.busy || daemon->save.then;
}

/* Connections that nobody needs until the next check are closed: a server has better uses for them, and their
 * end would wake us. */
static void close_connections(struct daemon *daemon)
{
    struct http *http;
    struct error error;

    daemon->http_used = false;
    if (!make_http(daemon, &http, &error))
        return;
    http_free(daemon->http);
    daemon->http = http;
}

static void on_settle(evutil_socket_t fd, short events, void *owner)
{
    struct daemon *daemon = owner;
    enum update_state state = daemon->update.state;

    if (state == UPDATE_STATE_STOPPING && !is_working(daemon)) {
        daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_QUIET}, NULL);
        return;
    }
    if (daemon->fetch || daemon->clone || daemon->identify || state == UPDATE_STATE_INSTALLING ||
        state == UPDATE_STATE_CHECKING || state == UPDATE_STATE_STOPPING)
        return;
    if (daemon->config_next)
        take_config(daemon);
    else if (daemon->http_used)
        close_connections(daemon);
}

void daemon_settle(struct daemon *daemon)
{
    event_active(daemon->settle_event, EV_TIMEOUT, 0);
}

/* --- signals and other timers --- */

static void on_stop_timer(evutil_socket_t fd, short events, void *owner)
{
    log_error("leaving although a job on the medium does not return");
    _exit(1);
}

static void on_signal_stop(evutil_socket_t signal_number, short events, void *owner)
{
    struct daemon *daemon = owner;

    if (daemon->update.state == UPDATE_STATE_STOPPING)
        return;
    notify_stopping(NULL);
    daemon_arm_timer(daemon->stop_timer, STOP_TIMEOUT_MS);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_STOP},
                signal_number == SIGTERM ? "SIGTERM" : "SIGINT");
    daemon_settle(daemon);
}

static void on_signal_reload(evutil_socket_t signal_number, short events, void *owner)
{
    struct daemon *daemon = owner;

    if (daemon->update.state != UPDATE_STATE_STOPPING)
        reload(daemon);
}

/* systemctl reboot ended: where it failed, nobody takes the machine down. */
static void on_signal_child(evutil_socket_t signal_number, short events, void *owner)
{
    struct daemon *daemon = owner;
    struct error error;
    int status;

    if (daemon->reboot_pid <= 0 || waitpid(daemon->reboot_pid, &status, WNOHANG) != daemon->reboot_pid)
        return;
    daemon->reboot_pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    event_del(daemon->reboot_timer);
    error_set(&error, ERROR_SYSTEM, "systemctl reboot failed, so the machine has to be rebooted by hand");
    daemon_post_failure(daemon, UPDATE_EVENT_REBOOT_FAILED, &error);
}

static void on_reboot_timer(evutil_socket_t fd, short events, void *owner)
{
    struct error error;

    error_set(&error, ERROR_SYSTEM, "the machine was told to reboot ten minutes ago and still runs");
    daemon_post_failure(owner, UPDATE_EVENT_REBOOT_FAILED, &error);
}

static void on_trial_timer(evutil_socket_t fd, short events, void *owner)
{
    post_verdict(owner);
}

static void on_stall_timer(evutil_socket_t fd, short events, void *owner)
{
    struct daemon *daemon = owner;
    char waited[32];

    text_format_duration(waited, sizeof(waited), daemon->config->stall_timeout_ms);
    snprintf(daemon->stall_why, sizeof(daemon->stall_why),
             "%s has not returned for %s; its medium does not answer",
             daemon->boot_work.busy ? "reading or writing the boot selection" : "saving the record", waited);
    log_warning("%s", daemon->stall_why);
    daemon_report_publish(daemon, true);
}

static void on_progress_timer(evutil_socket_t fd, short events, void *owner)
{
    daemon_install_tick(owner);
}

static void on_status_timer(evutil_socket_t fd, short events, void *owner)
{
    daemon_report_send_status(owner);
}

static void on_watchdog_timer(evutil_socket_t fd, short events, void *owner)
{
    struct daemon *daemon = owner;

    notify_watchdog();
    daemon_arm_timer(daemon->watchdog_timer, notify_watchdog_interval_ms() / 2);
}

/* --- life --- */

static bool open_loop(struct daemon *daemon, struct error *error)
{
    static const struct {
        int number;
        event_callback_fn handle;
    } signals[] = {
        {SIGTERM, on_signal_stop},
        {SIGINT, on_signal_stop},
        {SIGHUP, on_signal_reload},
        {SIGCHLD, on_signal_child},
    };
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    daemon->base = event_base_new();
    if (!daemon->base)
        return error_set(error, ERROR_SYSTEM, "the event loop cannot be made");
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        daemon->signals[i] = evsignal_new(daemon->base, signals[i].number, signals[i].handle, daemon);
        event_add(daemon->signals[i], NULL);
    }
    daemon->poll_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (daemon->poll_fd < 0)
        return error_set_errno(error, errno, "the timer of the next check cannot be made");
    daemon->poll_event = event_new(daemon->base, daemon->poll_fd, EV_READ | EV_PERSIST, on_poll, daemon);
    event_add(daemon->poll_event, NULL);
    daemon->progress_timer = evtimer_new(daemon->base, on_progress_timer, daemon);
    daemon->status_timer = evtimer_new(daemon->base, on_status_timer, daemon);
    daemon->watchdog_timer = evtimer_new(daemon->base, on_watchdog_timer, daemon);
    daemon->trial_timer = evtimer_new(daemon->base, on_trial_timer, daemon);
    daemon->stop_timer = evtimer_new(daemon->base, on_stop_timer, daemon);
    daemon->reboot_timer = evtimer_new(daemon->base, on_reboot_timer, daemon);
    daemon->stall_timer = evtimer_new(daemon->base, on_stall_timer, daemon);
    daemon->settle_event = event_new(daemon->base, -1, 0, on_settle, daemon);
    return pool_new(daemon->base,
                    cores < POOL_THREADS_MIN   ? POOL_THREADS_MIN
                    : cores > POOL_THREADS_MAX ? POOL_THREADS_MAX
                                               : (unsigned)cores,
                    &daemon->pool, error);
}

static bool open_api(struct daemon *daemon, struct error *error)
{
    struct api_server_options options = {
        .base = daemon->base,
        .backend = &daemon->api_backend,
        .socket_path = daemon->fixed->socket,
        .group = daemon->fixed->group,
        .listen_fd = -1,
    };

    daemon_report_init(daemon);
    if (!notify_take_listen_fd(&options.listen_fd, error))
        return false;
    if (api_server_new(&options, &daemon->api, error))
        return true;
    if (options.listen_fd >= 0)
        close(options.listen_fd);
    return false;
}

/* In the order in which one thing needs another. The API comes last: who reaches it finds everything there.
 */
static bool open_all(struct daemon *daemon, struct error *error)
{
    if (!open_loop(daemon, error) || !daemon_save_init(daemon, error))
        return false;
    if (!boot_new(daemon->fixed, NULL, &daemon->boot, error) || !boot_start(daemon->boot, error) ||
        !daemon_view_look(&daemon->view, daemon->boot, daemon->fixed, error))
        return false;
    daemon_check_load(daemon);
    return make_http(daemon, &daemon->http, error) && open_api(daemon, error);
}

bool daemon_new(const struct config_request *request, struct config *config, struct daemon **ret_daemon,
                struct error *error)
{
    struct daemon *daemon = alloc_zeroed(sizeof(*daemon));

    daemon->request = request;
    daemon->config = daemon->fixed = config;
    daemon->poll_fd = -1;
    daemon->started_s = daemon->since_s = daemon_now_s();
    daemon->target = SLOT_NONE;
    daemon->has_result = true;
    daemon->schedule_result = SCHEDULE_RESULT_STARTED;
    update_init(&daemon->update);
    schedule_init(&daemon->schedule, config->interval_ms, config->randomized_delay_ms);
    if (!open_all(daemon, error)) {
        daemon->config = daemon->fixed = NULL;
        daemon_free(daemon);
        return false;
    }
    *ret_daemon = daemon;
    return true;
}

int daemon_run(struct daemon *daemon)
{
    log_notice("moonsinterd %s, slot %s runs (%s)", MOONSINTER_VERSION, slot_name(daemon->view.running),
               daemon->view.slots->why);
    daemon_boot_classify(daemon);
    notify_ready(NULL);
    daemon_report_send_status(daemon);
    if (notify_watchdog_interval_ms())
        on_watchdog_timer(-1, 0, daemon);
    if (event_base_dispatch(daemon->base) < 0) {
        log_error("the event loop failed");
        daemon->exit_status = 1;
    }
    return daemon->exit_status;
}

static void free_event(struct event *event)
{
    if (event)
        event_free(event);
}

struct daemon *daemon_free(struct daemon *daemon)
{
    if (!daemon)
        return NULL;
    daemon->api = api_server_free(daemon->api);
    release_fetch_cancel(daemon->fetch);
    daemon->http = http_free(daemon->http);
    /* Nothing is under way any more but where the start failed, and then nothing was submitted. */
    daemon->pool = pool_free(daemon->pool);
    device_close(daemon->verified);
    release_free(daemon->release);
    daemon_view_finish(&daemon->view);
    boot_free(daemon->boot);
    daemon_save_finish(daemon);
    for (size_t i = 0; i < sizeof(daemon->signals) / sizeof(daemon->signals[0]); i++)
        free_event(daemon->signals[i]);
    free_event(daemon->poll_event);
    free_event(daemon->progress_timer);
    free_event(daemon->status_timer);
    free_event(daemon->watchdog_timer);
    free_event(daemon->trial_timer);
    free_event(daemon->stop_timer);
    free_event(daemon->reboot_timer);
    free_event(daemon->stall_timer);
    free_event(daemon->settle_event);
    if (daemon->poll_fd >= 0)
        close(daemon->poll_fd);
    if (daemon->base)
        event_base_free(daemon->base);
    config_free(daemon->config_next);
    if (daemon->config != daemon->fixed)
        config_free(daemon->config);
    config_free(daemon->fixed);
    free(daemon);
    return NULL;
}
