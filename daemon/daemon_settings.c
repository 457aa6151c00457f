/* SPDX-License-Identifier: MIT */
/* What follows from new settings. See daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include "common/base/log.h"
#include "daemon/face/notify.h"

bool daemon_settings_make_http(struct daemon *daemon, const struct config *config, struct http **ret_http,
                               struct error *error)
{
    struct http_settings settings;

    config_get_http(config, &settings);
    return http_new(daemon->base, &settings, ret_http, error);
}

/* Acts only on what changed: some tools reload every minute, which must neither put off the next check nor
 * forget a wait that the server asked for. */
static void take_changes(struct daemon *daemon, const struct config *old)
{
    const struct config *new = daemon->config;
    bool asks_alike = config_asks_alike(old, new);

    /* The known offer is another server's, or was judged by other keys: it has to be fetched again, whole. */
    if (!url_is_equal(old->url, new->url) || !config_trusts_alike(old, new))
        daemon_offer_forget(daemon);
    if (!config_trusts_alike(old, new))
        daemon_trust_log(daemon);
    if (old->interval_ms != new->interval_ms || old->randomized_delay_ms != new->randomized_delay_ms)
        poller_set_interval(daemon->poller, new->interval_ms, new->randomized_delay_ms);
    if (!asks_alike)
        poller_look_anew(daemon->poller);
    if (!asks_alike || !config_permits_alike(old, new))
        daemon_judge_anew(daemon, asks_alike);
}

void daemon_settings_take(struct daemon *daemon)
{
    const struct config *old = daemon->config, *new = settings_next(daemon->settings);
    struct http *http;
    struct error error;

    if (!daemon_settings_make_http(daemon, new, &http, &error)) {
        log_error("the new settings cannot be used, the old ones stay: %s", error.message);
        settings_drop(daemon->settings);
        notify_ready(NULL);
        return;
    }
    http_free(daemon->http);
    daemon->http = http;
    if (settings_next_needs_restart(daemon->settings))
        log_warning("slots, boot selection, socket and StateDirectory= change with the next start only");
    log_notice("new settings are in use");
    notify_ready(NULL);
    daemon->config = new;
    take_changes(daemon, old);
    settings_take(daemon->settings);
    if (daemon->update.state == UPDATE_STATE_REBOOT_PENDING)
        daemon_judge_reboot(daemon);
    daemon_report_publish(daemon, true);
}

static void on_read(void *owner, bool loaded)
{
    struct daemon *daemon = owner;
    enum update_state state = daemon->update.state;

    if (state == UPDATE_STATE_STOPPING) {
        settings_drop(daemon->settings);
    } else if (!loaded) {
        log_error("the settings were not taken; the old ones stay in use");
        notify_ready(NULL);
    } else if (state == UPDATE_STATE_CHECKING || state == UPDATE_STATE_INSTALLING ||
               trial_runner_is_checking(daemon->trial_runner)) {
        /* That may take hours, and the service manager waits only a minute and a half for the reload. */
        log_notice("the new settings are taken when the work under way is over");
        notify_ready(NULL);
    }
    daemon_settle(daemon);
}

void daemon_settings_init(struct daemon *daemon, const struct config_request *request, struct config *config)
{
    static const struct settings_events events = {.read = on_read};
    struct settings_deps deps = {.pool = daemon->pool, .request = request};

    daemon->settings = settings_new(&deps, &events, daemon, config);
}

void daemon_settings_reload(struct daemon *daemon)
{
    notify_reloading();
    settings_reload(daemon->settings);
}

/* Nobody needs the connections until the next check: they cost the server something, and their end would wake
 * this device. */
void daemon_settings_close_connections(struct daemon *daemon)
{
    struct http *http;
    struct error error;

    if (!daemon_settings_make_http(daemon, daemon->config, &http, &error))
        return;
    http_free(daemon->http);
    daemon->http = http;
}
