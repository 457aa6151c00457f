/* SPDX-License-Identifier: MIT */
#include "daemon/parts/boot_selection.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/log.h"
#include "common/base/wall_clock.h"
#include "common/io/timer.h"
#include "daemon/decide/record.h"

enum {
    /* What is late, such as a link by udev, mostly comes within seconds; else somebody has to bring it. */
    LATE_WAIT_MIN_MS = 1000,
    LATE_WAIT_MAX_MS = 64 * 1000,
    PENDING_WAIT_MS = 60 * 1000,
};

/* Belongs to the pool while `busy`. */
struct job {
    struct pool_job pool;
    struct boot_task task;
};

/* A task that waits until the look under way is over. */
struct waiting {
    bool waits;
    enum boot_task_kind kind;
    enum slot slot;
    struct targets *held;
    boot_selection_done_fn then;
};

struct boot_selection {
    struct boot_selection_deps deps;
    const struct boot_selection_events *events;
    void *owner;
    struct boot *boot;
    struct boot_view view;
    struct job job;
    bool busy;                   /* the job belongs to the pool */
    boot_selection_done_fn then; /* NULL = a look by boot_selection_look(), for which tasks wait */
    struct waiting next;
    bool start_due;                 /* boot_start() failed so far */
    uint64_t look_ms, look_wait_ms; /* when the last look was; the last pause while something was late */
    struct timer *timer;
};

/* --- tasks --- */

static void job_run(struct pool_job *pool_job)
{
    boot_task_run(&container_of(pool_job, struct job, pool)->task);
}

/* Puts what the job saw into the view, or, if its look failed, only the reason. Returns whether that reason
 * is another one than before. */
static bool take_view(struct boot_selection *selection)
{
    struct boot_task *task = &selection->job.task;
    const struct boot_state *before = &selection->view.boot, *now = &task->view.boot;
    char why[sizeof(selection->view.look_why)] = "";

    selection->look_ms = wall_clock_boot_ms();
    selection->start_due = task->start;
    if (!task->view.slots)
        record_copy_text(why, sizeof(why), task->look_error.message);
    bool changed = strcmp(why, selection->view.look_why) != 0;
    if (*why && changed)
        log_warning("%s", why);
    memcpy(selection->view.look_why, why, sizeof(why));
    if (!task->view.slots)
        return changed;
    const char *name_why = task->view.slots->name_why, *old_why = selection->view.slots->name_why;
    if (name_why && (!old_why || strcmp(name_why, old_why) != 0))
        log_warning("nothing is installed: %s", name_why);
    if (task->kind == BOOT_TASK_LOOK && before->next != now->next)
        log_warning("another program changed the boot selection: slot %s boots next, and it was slot %s",
                    slot_name(now->next), slot_name(before->next));
    boot_view_finish(&selection->view);
    selection->view = task->view;
    memset(&task->view, 0, sizeof(task->view));
    return changed;
}

static void begin(struct boot_selection *selection, const struct waiting *task);

static void job_done(struct pool_job *pool_job)
{
    struct job *job = container_of(pool_job, struct job, pool);
    struct boot_selection *selection = container_of(job, struct boot_selection, job);
    boot_selection_done_fn then = selection->then;
    struct waiting next = selection->next;
    struct error error = job->task.error;
    bool failed = job->task.failed;

    selection->busy = false;
    selection->next.waits = false;
    selection->events->ended(selection->owner);
    bool changed = take_view(selection);
    /* `looked` is not sent if a task waits: that task looks again and reports its own end. */
    if (next.waits)
        begin(selection, &next);
    else if (then)
        then(selection->owner, failed ? &error : NULL);
    else
        selection->events->looked(selection->owner, changed);
}

static void begin(struct boot_selection *selection, const struct waiting *task)
{
    selection->busy = true;
    selection->then = task->then;
    selection->job.pool = (struct pool_job){.run = job_run, .done = job_done};
    selection->job.task = (struct boot_task){
        .kind = task->kind,
        .slot = task->slot,
        .boot = selection->boot,
        .config = selection->deps.config,
        .held = task->held,
        .start = selection->start_due,
    };
    /* Only a look takes fingerprints: the result of a task must not depend on whether a slot can be read. */
    if (task->kind == BOOT_TASK_LOOK)
        selection->events->ask_prints(selection->owner, &selection->job.task.prints);
    pool_submit(selection->deps.pool, &selection->job.pool);
    selection->events->began(selection->owner);
}

static void begin_or_wait(struct boot_selection *selection, const struct waiting *task)
{
    if (!selection->busy) {
        begin(selection, task);
        return;
    }
    assert(!selection->then && !selection->next.waits);
    selection->next = *task;
    selection->next.waits = true;
}

void boot_selection_submit(struct boot_selection *selection, enum boot_task_kind kind, enum slot slot,
                           struct targets *held, boot_selection_done_fn then)
{
    assert(kind != BOOT_TASK_ARM && then);
    begin_or_wait(selection, &(struct waiting){.kind = kind, .slot = slot, .held = held, .then = then});
}

void boot_selection_arm(struct boot_selection *selection, enum slot slot, struct targets *held,
                        boot_selection_done_fn then)
{
    begin_or_wait(selection,
                  &(struct waiting){.kind = BOOT_TASK_ARM, .slot = slot, .held = held, .then = then});
}

void boot_selection_look(struct boot_selection *selection)
{
    assert(!selection->busy);
    begin(selection, &(struct waiting){.kind = BOOT_TASK_LOOK, .slot = SLOT_NONE});
}

/* --- when to look --- */

static void on_timer(void *owner)
{
    struct boot_selection *selection = owner;

    selection->events->look_due(selection->owner);
}

void boot_selection_plan_look(struct boot_selection *selection, bool late)
{
    if (timer_is_running(selection->timer))
        return;
    uint64_t wait_ms = selection->look_wait_ms * 2;
    wait_ms = wait_ms < LATE_WAIT_MIN_MS   ? LATE_WAIT_MIN_MS
              : wait_ms > LATE_WAIT_MAX_MS ? LATE_WAIT_MAX_MS
                                           : wait_ms;
    if (late)
        selection->look_wait_ms = wait_ms;
    timer_start(selection->timer, late ? wait_ms : PENDING_WAIT_MS);
}

uint64_t boot_selection_look_age_ms(const struct boot_selection *selection)
{
    return wall_clock_boot_ms() - selection->look_ms;
}

/* --- what others see --- */

const struct boot_view *boot_selection_view(const struct boot_selection *selection)
{
    return &selection->view;
}

const struct boot_abilities *boot_selection_abilities(const struct boot_selection *selection)
{
    return boot_get_abilities(selection->boot);
}

const struct boot_armed *boot_selection_armed(const struct boot_selection *selection)
{
    return &selection->job.task.armed;
}

const struct boot_prints *boot_selection_prints(const struct boot_selection *selection)
{
    return &selection->job.task.prints;
}

void boot_selection_take_prints(const struct boot_selection *selection, struct boot_prints *prints)
{
    boot_prints_take(selection->view.slots, prints);
}

bool boot_selection_is_busy(const struct boot_selection *selection)
{
    return selection->busy;
}

/* --- life --- */

static void log_failure(void *owner, enum boot_level level, const char *sentence)
{
    if (level == BOOT_LEVEL_FAILURE)
        log_warning("%s", sentence);
}

/* With a real loader boot_start() can wait: a boot state that cannot be written now must not keep a slot from
 * its verdict. */
static bool start(struct boot_selection *selection, struct error *error)
{
    if (boot_start(selection->boot, error))
        return true;
    if (boot_get_abilities(selection->boot)->in_place_reboot)
        return false;
    log_warning("%s; it is tried again with the next look", error->message);
    selection->start_due = true;
    return true;
}

bool boot_selection_new(const struct boot_selection_deps *deps, const struct boot_selection_events *events,
                        void *owner, struct boot_selection **ret_selection, struct error *error)
{
    struct boot_selection *selection = alloc_zeroed(sizeof(*selection));

    selection->deps = *deps;
    selection->events = events;
    selection->owner = owner;
    selection->timer = timer_new(deps->base, on_timer, selection);
    if (!boot_new(deps->config, NULL, &selection->boot, error) || !start(selection, error) ||
        !boot_view_look(&selection->view, selection->boot, deps->config, error)) {
        boot_selection_free(selection);
        return false;
    }
    /* Probed here too, and not only by doctor, because doctor does not run in the service's sandbox. */
    boot_probe(selection->boot, log_failure, NULL);
    *ret_selection = selection;
    return true;
}

struct boot_selection *boot_selection_free(struct boot_selection *selection)
{
    if (!selection)
        return NULL;
    timer_free(selection->timer);
    boot_view_finish(&selection->view);
    boot_free(selection->boot);
    free(selection);
    return NULL;
}
