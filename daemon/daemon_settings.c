/* SPDX-License-Identifier: MIT */
/* Settings in use, and what is made of them: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/log.h"
#include "daemon/face/notify.h"

bool daemon_settings_make_http(struct daemon *daemon, struct http **ret_http, struct error *error)
{
    struct http_settings settings;

    config_get_http(daemon->config, &settings);
    return http_new(daemon->base, &settings, ret_http, error);
}

/* A line of what takes a restart, for it is what the running daemon stands on. */
static void put_fixed(void *owner, const struct config_setting *setting)
{
    static const char *const sections[] = {"Slots", "Boot", "Api", "Storage"};

    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
        if (strcmp(setting->section, sections[i]) == 0 && strcmp(setting->key, "AllowNoFallback") != 0)
            fprintf(owner, "%s=%s\n", setting->key, setting->value);
}

/* Freed by the caller. */
static char *list_fixed(const struct config *config)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    if (!stream)
        abort();
    config_each_setting(config, put_fixed, stream);
    fclose(stream);
    return text;
}

static bool needs_restart(const struct config *old, const struct config *new)
{
    CLEANUP_FREE char *before = list_fixed(old);
    CLEANUP_FREE char *after = list_fixed(new);

    return strcmp(before, after) != 0;
}

/* What follows from what is new, and nothing where nothing is: a reload every minute, as some tools do it,
 * must not put off the next look, nor forget what the server asked for. */
static void take_changes(struct daemon *daemon, const struct config *old)
{
    const struct config *new = daemon->config;
    bool asks_alike = config_asks_alike(old, new);

    /* What is known of the server is of another one, or was judged by other keys: it has to come again,
     * whole. */
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

/* Takes the settings that were read, when nothing stands on the old ones any more. */
void daemon_settings_take(struct daemon *daemon)
{
    struct config *old = daemon->config;
    struct http *http;
    struct error error;

    daemon->config = daemon->config_next;
    daemon->config_next = NULL;
    if (!daemon_settings_make_http(daemon, &http, &error)) {
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
    log_notice("new settings are in use");
    notify_ready(NULL);
    take_changes(daemon, old);
    if (old != daemon->fixed)
        config_free(old);
    if (daemon->update.state == UPDATE_STATE_REBOOT_PENDING)
        daemon_judge_reboot(daemon);
    daemon_report_publish(daemon, true);
}

/* On a thread: the files may lie on the medium that hangs. */
static void reload_run(struct pool_job *job)
{
    struct daemon_reload *reload = container_of(job, struct daemon_reload, job);

    reload->loaded = config_load(reload->request, &reload->config, &reload->problems);
}

static void reload_submit(struct daemon *daemon);

static void reload_done(struct pool_job *job)
{
    struct daemon_reload *reload = container_of(job, struct daemon_reload, job);
    struct daemon *daemon = container_of(reload, struct daemon, reload);
    enum update_state state = daemon->update.state;

    reload->busy = false;
    for (size_t i = 0; i < reload->problems.count; i++)
        log_write(reload->problems.items[i].is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, "%s",
                  reload->problems.items[i].message);
    config_problems_finish(&reload->problems);
    if (state == UPDATE_STATE_STOPPING) {
        config_free(reload->config);
    } else if (reload->again) {
        config_free(reload->config);
        reload_submit(daemon);
        return;
    } else if (!reload->loaded) {
        log_error("the settings were not taken; the old ones stay in use");
        notify_ready(NULL);
    } else {
        config_free(daemon->config_next);
        daemon->config_next = reload->config;
        if (state == UPDATE_STATE_CHECKING || state == UPDATE_STATE_INSTALLING ||
            trial_runner_is_checking(daemon->trial_runner)) {
            /* That may take hours, and the manager waits a minute and a half. */
            log_notice("the new settings are taken when the work under way is over");
            notify_ready(NULL);
        }
    }
    daemon_settle(daemon);
}

static void reload_submit(struct daemon *daemon)
{
    daemon->reload = (struct daemon_reload){
        .job = {.run = reload_run, .done = reload_done}, .busy = true, .request = daemon->request};
    pool_submit(daemon->pool, &daemon->reload.job);
}

void daemon_settings_reload(struct daemon *daemon)
{
    notify_reloading();
    if (daemon->reload.busy)
        daemon->reload.again = true;
    else
        reload_submit(daemon);
}

/* Connections that nobody needs until the next check are closed: a server has better uses for them, and their
 * end would wake us. */
void daemon_settings_close_connections(struct daemon *daemon)
{
    struct http *http;
    struct error error;

    daemon->http_used = false;
    if (!daemon_settings_make_http(daemon, &http, &error))
        return;
    http_free(daemon->http);
    daemon->http = http;
}
