/* SPDX-License-Identifier: MIT */
/* The health checks of a slot on trial: see daemon/daemon_private.h. */
#include "daemon/daemon_private.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

/* Each line of what the check printed, for whoever reads the log of the slot that failed. */
static void log_output(const char *output)
{
    for (const char *line = output; *line;) {
        size_t length = strcspn(line, "\n");
        log_error("| %.*s", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static void on_verdict(void *owner, const struct health_verdict *verdict)
{
    struct daemon *daemon = owner;

    daemon->trial_good = verdict->good;
    record_copy_text(daemon->trial_reason, sizeof(daemon->trial_reason), verdict->reason);
    record_copy_lines(daemon->trial_output, sizeof(daemon->trial_output), verdict->output);
    daemon->health = health_free(daemon->health);
    if (!daemon->trial_good) {
        log_error("slot %s is not fit: %s", slot_name(daemon->view.running), daemon->trial_reason);
        log_output(daemon->trial_output);
    }
    daemon_post_verdict(daemon);
    daemon_settle(daemon);
}

/* Whether systemd started this very process: then checks are its units, too, and not ours to run in a sandbox
 * made for us. Its user's manager, or a shell under it, is somebody else. */
static bool is_system_service(void)
{
    return getppid() == 1 && access("/run/systemd/system", F_OK) == 0;
}

void daemon_health_start(struct daemon *daemon)
{
    const struct config *config = daemon->config;
    struct health_options options = {
        .base = daemon->base,
        .pool = daemon->pool,
        .processes = daemon->processes,
        .http = daemon->http,
        .folder = config->health_checks,
        .folder_optional = config->health_checks_optional,
        .units = (const char *const *)config->health_units,
        .server_url = config->health_server ? config->url : NULL,
        .trust = daemon_trust(daemon),
        .as_units = is_system_service(),
        .timeout_ms = config->health_timeout_ms,
    };

    if (trial_restarted_too_often(daemon->record)) {
        on_verdict(daemon,
                   &(struct health_verdict){.reason = "moonsinterd ended again and again during the trial"});
        return;
    }
    daemon->http_used |= config->health_server;
    daemon->health = health_start(&options, on_verdict, daemon);
}

void daemon_health_cancel(struct daemon *daemon)
{
    daemon->health = health_free(daemon->health);
}
