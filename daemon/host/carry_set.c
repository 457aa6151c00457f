/* SPDX-License-Identifier: MIT */
#include "daemon/host/carry_set.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/container.h"

struct member {
    struct carry_set *set;
    struct carry *carry; /* NULL before its turn to be compared */
    bool is_over;        /* its `done` was called */
    struct carry_progress progress;
};

struct carry_set {
    struct pool *pool;
    struct carry_set_settings settings;
    const struct carry_set_events *events;
    void *owner;
    struct member members[MANIFEST_PARTS_MAX];
    struct targets *targets; /* those that are whole */
    unsigned running;        /* parts whose `done` is to come */
    bool stopping;           /* cancelled, or one failed */
    struct error error;
    struct pool_job job;
};

/* Targets that are whole do not count without the others. Closing a block device may take long. */
static void run_close(struct pool_job *job)
{
    struct carry_set *set = container_of(job, struct carry_set, job);

    set->targets = targets_close(set->targets);
}

static void closed(struct pool_job *job)
{
    struct carry_set *set = container_of(job, struct carry_set, job);

    set->events->done(set->owner, &set->error);
}

/* The first error counts. What else is under way, or waits, ends too. */
static void stop(struct carry_set *set, const struct error *error)
{
    if (set->stopping)
        return;
    set->stopping = true;
    set->error = *error;
    for (unsigned i = 0; i < set->settings.count; i++)
        if (set->members[i].carry && !set->members[i].is_over)
            carry_cancel(set->members[i].carry);
}

static void start_member(struct carry_set *set, unsigned number);

static bool is_last(const struct member *member)
{
    return member == &member->set->members[member->set->settings.count - 1];
}

static void on_ready(void *owner)
{
    struct member *member = owner;
    struct carry_set *set = member->set;

    if (is_last(member))
        set->events->ready(set->owner);
    else
        start_member(set, (unsigned)(member - set->members) + 1);
}

static void on_progress(void *owner, const struct carry_progress *progress)
{
    struct member *member = owner;

    member->progress = *progress;
}

static void on_read_back_cached(void *owner, const struct error *why)
{
    struct member *member = owner;

    member->set->events->read_back_cached(member->set->owner, why);
}

static void on_done(void *owner, const struct error *error)
{
    struct member *member = owner;
    struct carry_set *set = member->set;

    member->is_over = true;
    set->running--;
    if (error) {
        stop(set, error);
    } else {
        const struct carry_settings *settings = &set->settings.parts[member - set->members];
        targets_add(set->targets, settings->name, carry_take_target(member->carry), settings->bytes);
    }
    if (set->running && set->stopping)
        return;
    if (!error && is_last(member)) {
        set->events->done(set->owner, NULL);
    } else if (set->stopping) {
        set->job = (struct pool_job){.run = run_close, .done = closed};
        pool_submit(set->pool, &set->job);
    } else {
        carry_go_on((member + 1)->carry);
    }
}

static void start_member(struct carry_set *set, unsigned number)
{
    static const struct carry_events events = {
        .ready = on_ready,
        .progress = on_progress,
        .read_back_cached = on_read_back_cached,
        .done = on_done,
    };
    struct member *member = &set->members[number];

    member->set = set;
    member->carry = carry_start(set->pool, &set->settings.parts[number], &events, member);
    set->running++;
}

struct carry_set *carry_set_start(struct pool *pool, const struct carry_set_settings *settings,
                                  const struct carry_set_events *events, void *owner)
{
    struct carry_set *set = alloc_zeroed(sizeof(*set));

    assert(settings->count > 0 && settings->count <= MANIFEST_PARTS_MAX);
    set->pool = pool;
    set->settings = *settings;
    set->events = events;
    set->owner = owner;
    set->targets = targets_new();
    start_member(set, 0);
    return set;
}

void carry_set_go_on(struct carry_set *set)
{
    carry_go_on(set->members[0].carry);
}

void carry_set_cancel(struct carry_set *set)
{
    struct error error;

    error_set(&error, ERROR_CANCELLED, "the update was cancelled");
    stop(set, &error);
}

uint64_t carry_set_moved(const struct carry_set *set)
{
    uint64_t moved = 0;

    for (unsigned i = 0; i < set->settings.count; i++) {
        const struct carry_progress *progress = &set->members[i].progress;
        moved += progress->bytes_checked + progress->bytes_copied + progress->bytes_verified;
    }
    return moved;
}

struct targets *carry_set_take_targets(struct carry_set *set)
{
    struct targets *targets = set->targets;

    set->targets = NULL;
    return targets;
}

struct carry_set *carry_set_free(struct carry_set *set)
{
    if (!set)
        return NULL;
    targets_close(set->targets);
    for (unsigned i = 0; i < set->settings.count; i++)
        carry_free(set->members[i].carry);
    free(set);
    return NULL;
}
