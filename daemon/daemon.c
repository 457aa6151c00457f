/* SPDX-License-Identifier: MIT */
/* The loop, its signals and timers, and the daemon's beginning and end: see daemon/daemon_private.h. */
#include "daemon/daemon.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/version.h"
#include "common/base/wall_clock.h"
#include "common/io/later.h"
#include "common/io/loop.h"
#include "common/io/timer.h"
#include "common/io/watch.h"
#include "daemon/daemon_private.h"
#include "daemon/face/notify.h"
#include "daemon/host/os_release.h"

enum {
    /* With two threads one can hash while the other waits for the medium; more help only with more cores. */
    POOL_THREADS_MIN = 2,
    POOL_THREADS_MAX = 4,
    /* Only a medium that hangs in the kernel can keep the daemon from ending in time. Nothing is lost by
     * leaving then: every state of the medium is one that a power cut could leave, too. */
    STOP_TIMEOUT_MS = 10 * 1000, /* less than the unit's TimeoutStopSec=, so that the daemon ends by itself */
};

void daemon_watch_jobs(struct daemon *daemon)
{
    job_watch_set(daemon->job_watch, boot_selection_is_busy(daemon->boot)
                                         ? "reading or writing the boot selection"
                                     : record_store_is_busy(daemon->record_store) ? "saving the record"
                                                                                  : NULL);
}

/* --- signals and timers --- */

static void on_stop_timer(void *owner)
{
    log_error("leaving although a job on the medium does not return");
    _exit(1);
}

static void on_signal_stop(void *owner, int signal_number)
{
    struct daemon *daemon = owner;

    if (daemon->update.state == UPDATE_STATE_STOPPING)
        return;
    notify_stopping(NULL);
    timer_start(daemon->stop_timer, STOP_TIMEOUT_MS);
    settings_stop(daemon->settings);
    daemon_reboot_note_others(daemon);
    daemon_trial_note_end(daemon);
    daemon_post(daemon, &(struct update_event){.kind = UPDATE_EVENT_STOP},
                signal_number == SIGTERM ? "SIGTERM" : "SIGINT");
    daemon_settle(daemon);
}

static void on_signal_reload(void *owner, int signal_number)
{
    struct daemon *daemon = owner;

    if (daemon->update.state != UPDATE_STATE_STOPPING)
        daemon_settings_reload(daemon);
}

static void on_poll_due(void *owner)
{
    daemon_post(owner, &(struct update_event){.kind = UPDATE_EVENT_POLL_DUE}, NULL);
}

/* Certificates, expiry dates, rollouts and windows depend on the clock. */
static void on_clock_set(void *owner)
{
    struct daemon *daemon = owner;

    daemon_judge_clock_was_set(daemon);
    if (daemon->update.state == UPDATE_STATE_REBOOT_PENDING && !daemon->update.at_once)
        daemon_judge_reboot_again(daemon);
    daemon_report_publish(daemon, false);
}

static void on_stall(void *owner)
{
    daemon_report_publish(owner, true);
}

/* --- life --- */

static bool open_loop(struct daemon *daemon, struct error *error)
{
    static const struct {
        int number;
        watch_fn handle;
    } signals[] = {
        {SIGTERM, on_signal_stop},
        {SIGINT, on_signal_stop},
        {SIGHUP, on_signal_reload},
    };
    static const struct poller_events poller_events = {.due = on_poll_due, .clock_set = on_clock_set};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (!loop_new(&daemon->base, error))
        return false;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* writing past a size limit is then an error like any other */
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        daemon->signals[i] =
            watch_new(daemon->base, WATCH_SIGNAL, signals[i].number, signals[i].handle, daemon);
        watch_start(daemon->signals[i]);
    }
    struct poller_settings poller_settings = {
        .base = daemon->base,
        .interval_ms = daemon->config->interval_ms,
        .random_delay_ms = daemon->config->randomized_delay_ms,
    };
    if (!poller_new(&poller_settings, &poller_events, daemon, &daemon->poller, error))
        return false;
    daemon->service_manager = service_manager_new(daemon->base, daemon_report_send_status, daemon);
    daemon->job_watch = job_watch_new(daemon->base, DAEMON_SILENCE_MS, on_stall, daemon);
    daemon->stop_timer = timer_new(daemon->base, on_stop_timer, daemon);
    daemon->settling = later_new(daemon->base, daemon_on_settle, daemon);
    daemon->processes = processes_new(daemon->base, error);
    if (!daemon->processes || !pool_new(daemon->base,
                                        cores < POOL_THREADS_MIN   ? POOL_THREADS_MIN
                                        : cores > POOL_THREADS_MAX ? POOL_THREADS_MAX
                                                                   : (unsigned)cores,
                                        &daemon->pool, error))
        return false;
    daemon_check_init(daemon);
    daemon_install_init(daemon);
    return true;
}

static void on_save_began(void *owner)
{
    daemon_watch_jobs(owner);
}

static void on_save_ended(void *owner)
{
    daemon_watch_jobs(owner);
    daemon_settle(owner);
}

static bool open_record(struct daemon *daemon, struct error *error)
{
    static const struct record_store_events events = {.began = on_save_began, .ended = on_save_ended};
    struct record_store_deps deps = {
        .base = daemon->base, .pool = daemon->pool, .folder = daemon->fixed->state_directory};

    if (!record_store_new(&deps, &events, daemon, &daemon->record_store, error))
        return false;
    daemon->record = record_store_record(daemon->record_store);
    return true;
}

static bool open_api(struct daemon *daemon, struct error *error)
{
    struct api_server_options options = {
        .base = daemon->base,
        .backend = daemon_report_backend(daemon),
        .socket_path = daemon->fixed->socket,
        .group = daemon->fixed->group,
        .listen_fd = -1,
    };

    if (!notify_take_listen_fd(&options.listen_fd, error))
        return false;
    if (api_server_new(&options, &daemon->api, error))
        return true;
    if (options.listen_fd >= 0)
        close(options.listen_fd);
    return false;
}

/* Each step needs the ones before it. The API comes last, so that a client always finds everything ready. */
static bool open_all(struct daemon *daemon, struct error *error)
{
    struct boot_prints prints = {0};

    if (!open_record(daemon, error))
        return false;
    daemon_reboot_init(daemon);
    daemon_trial_init(daemon);
    if (!daemon_boot_init(daemon, error))
        return false;
    daemon_trial_read_boot_id(daemon);
    /* With the `file` backend the machine does not run from its slots, so its os-release says nothing of
     * them. */
    if (daemon->fixed->backend != CONFIG_BACKEND_FILE)
        os_release_read_version("", daemon->os_version, sizeof(daemon->os_version));
    daemon_trust_log(daemon);
    daemon_offer_load(daemon);
    daemon_fit_ask(daemon, &prints);
    boot_selection_take_prints(daemon->boot, &prints);
    daemon_fit_judge(daemon, &prints);
    return daemon_settings_make_http(daemon, daemon->config, &daemon->http, error) && open_api(daemon, error);
}

bool daemon_new(const struct config_request *request, struct config *config, struct daemon **ret_daemon,
                struct error *error)
{
    struct daemon *daemon = alloc_zeroed(sizeof(*daemon));

    daemon->config = daemon->fixed = config;
    daemon->started_s = daemon->since_s = wall_clock_now_s();
    daemon->target.slot = SLOT_NONE;
    update_init(&daemon->update);
    bool has_loop = open_loop(daemon, error);
    daemon_settings_init(daemon, request, config);
    if (!has_loop || !open_all(daemon, error)) {
        daemon_free(daemon);
        return false;
    }
    *ret_daemon = daemon;
    return true;
}

void daemon_run(struct daemon *daemon)
{
    log_notice("moonsinterd %s, slot %s runs (%s)", version_text(), slot_name(daemon->view->running),
               daemon->view->slots->why);
    if (daemon->view->slots->name_why)
        log_warning("nothing is installed: %s", daemon->view->slots->name_why);
    daemon_trial_classify(daemon);
    service_manager_ready(daemon->service_manager);
    daemon_report_send_status(daemon);
    loop_run(daemon->base);
}

struct daemon *daemon_free(struct daemon *daemon)
{
    if (!daemon)
        return NULL;
    daemon->api = api_server_free(daemon->api);
    daemon->trial_runner = trial_runner_free(daemon->trial_runner);
    if (daemon->checker)
        checker_stop(daemon->checker);
    daemon->http = http_free(daemon->http);
    /* No job is under way here: the daemon ends only when all are done, and a start that fails has submitted
     * none. */
    daemon->pool = pool_free(daemon->pool);
    daemon->processes = processes_free(daemon->processes);
    daemon->installer = installer_free(daemon->installer);
    daemon->checker = checker_free(daemon->checker);
    boot_selection_free(daemon->boot);
    record_store_free(daemon->record_store);
    for (size_t i = 0; i < sizeof(daemon->signals) / sizeof(daemon->signals[0]); i++)
        watch_free(daemon->signals[i]);
    daemon->poller = poller_free(daemon->poller);
    daemon->rebooter = rebooter_free(daemon->rebooter);
    service_manager_free(daemon->service_manager);
    job_watch_free(daemon->job_watch);
    timer_free(daemon->stop_timer);
    later_free(daemon->settling);
    loop_free(daemon->base);
    settings_free(daemon->settings);
    free(daemon);
    return NULL;
}
