/* SPDX-License-Identifier: MIT */
#include "daemon/parts/trial_runner.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/io/retry.h"
#include "common/io/timer.h"

struct trial_runner {
    struct trial_runner_deps deps;
    const struct trial_runner_events *events;
    void *owner;
    struct health *health; /* the checks under way */
    struct timer *retry_timer;
    struct trial_verdict verdict;
};

static void on_checked(void *owner, const struct health_verdict *verdict)
{
    struct trial_runner *runner = owner;

    runner->verdict.good = verdict->good;
    record_copy_text(runner->verdict.reason, sizeof(runner->verdict.reason), verdict->reason);
    record_copy_lines(runner->verdict.output, sizeof(runner->verdict.output), verdict->output);
    runner->health = health_free(runner->health);
    runner->events->judged(runner->owner);
}

/* Whether the system's service manager started this very process; then the checks run as its units, outside
 * of moonsinterd's sandbox. A user's manager, or a shell, does not count. */
static bool is_system_service(void)
{
    return getppid() == 1 && access("/run/systemd/system", F_OK) == 0;
}

void trial_runner_check(struct trial_runner *runner, const struct health_options *options)
{
    struct health_options own = *options;

    trial_runner_cancel(runner);
    own.base = runner->deps.base;
    own.pool = runner->deps.pool;
    own.processes = runner->deps.processes;
    own.as_units = is_system_service();
    runner->health = health_start(&own, on_checked, runner);
}

void trial_runner_cancel(struct trial_runner *runner)
{
    runner->health = health_free(runner->health);
}

bool trial_runner_is_checking(const struct trial_runner *runner)
{
    return runner->health;
}

const char *trial_runner_describe(const struct trial_runner *runner)
{
    return runner->health ? health_describe(runner->health) : NULL;
}

void trial_runner_decide(struct trial_runner *runner, const char *reason)
{
    runner->verdict = (struct trial_verdict){.good = !reason};
    record_copy_text(runner->verdict.reason, sizeof(runner->verdict.reason), reason);
}

void trial_runner_retry_later(struct trial_runner *runner)
{
    timer_start(runner->retry_timer, RETRY_VERDICT_MS);
}

const struct trial_verdict *trial_runner_verdict(const struct trial_runner *runner)
{
    return &runner->verdict;
}

struct trial_runner *trial_runner_new(const struct trial_runner_deps *deps,
                                      const struct trial_runner_events *events, void *owner)
{
    struct trial_runner *runner = alloc_zeroed(sizeof(*runner));

    runner->deps = *deps;
    runner->events = events;
    runner->owner = owner;
    runner->retry_timer = timer_new(deps->base, events->again, owner);
    return runner;
}

struct trial_runner *trial_runner_free(struct trial_runner *runner)
{
    if (!runner)
        return NULL;
    health_free(runner->health);
    timer_free(runner->retry_timer);
    free(runner);
    return NULL;
}
