/* SPDX-License-Identifier: MIT */
/* Clones that are cancelled at any moment, and killed and run again. */
#include "common/sinter/clone.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/sinter/transfer.h"
#include "tests/unit/clone_fixture.h"

static struct fixture shared;

/* ---- cancelling ---- */

static enum range_fault first_half(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    struct fixture *fixture = owner;

    return fixture->image_file->requests == 2 && offset > 0 ? RANGE_FAULT_HALF : RANGE_FAULT_NONE;
}

/* Something of everything: seeds good, missing and changing, a broken range, hashes. */
static void prepare_everything(struct fixture *fixture)
{
    fixture_set_up(fixture);
    fixture->fault = first_half;
    fixture->watch.on_phase = fixture_change_seed;
    fixture->seed_paths[0] = folder_write(fixture->folder, "seed", fixture->image, IMAGE_SIZE / 2);
    fixture->seed_paths[1] = alloc_printf("%s/missing", fixture->folder);
    fixture->settings.hash_sources = true;
    free(folder_write(fixture->folder, "target", fixture->image + 10000, IMAGE_SIZE / 3));
}

static void check_cancelled_or_whole(struct fixture *fixture)
{
    if (fixture->watch.failed)
        clone_watch_check_failure(&fixture->watch, ERROR_CANCELLED);
    else
        fixture_check_whole(fixture);
}

static void test_cancelled_after_any_turn_of_the_loop(void **state)
{
    bool over = false;

    for (unsigned turns = 0; !over && turns < 5000; turns += 1 + turns / 8) {
        prepare_everything(&shared);
        fixture_start(&shared);
        for (unsigned i = 0; i < turns && shared.watch.dones == 0; i++)
            event_base_loop(shared.bench.base, EVLOOP_ONCE);
        over = shared.watch.dones > 0;
        if (!over) {
            clone_cancel(shared.watch.clone);
            clone_cancel(shared.watch.clone);
            assert_int_equal(shared.watch.dones, 0);
        }
        clone_watch_finish(&shared.watch);
        check_cancelled_or_whole(&shared);
        fixture_tear_down(&shared);
    }
    assert_true(over);
}

static void test_cancelled_within_any_event(void **state)
{
    for (unsigned event = 1; event < 2000; event += 1 + event / 8) {
        prepare_everything(&shared);
        shared.watch.cancel_in_event = event;
        fixture_run(&shared);
        check_cancelled_or_whole(&shared);
        bool over = shared.watch.events < event;
        fixture_tear_down(&shared);
        if (over)
            return;
    }
    fail_msg("it never came to an end");
}

static enum clone_phase cancel_phase;

static void cancel_at_phase(void *owner, enum clone_phase phase)
{
    struct fixture *fixture = owner;

    if (phase == cancel_phase)
        clone_cancel(fixture->watch.clone);
}

/* What is cancelled as a phase begins does nothing of that phase. */
static void test_cancelled_as_a_phase_begins(void **state)
{
    for (cancel_phase = CLONE_PHASE_PREPARING; cancel_phase <= CLONE_PHASE_VERIFYING; cancel_phase++) {
        fixture_set_up(&shared);
        shared.watch.on_phase = cancel_at_phase;
        fixture_run(&shared);
        clone_watch_check_failure(&shared.watch, ERROR_CANCELLED);
        if (cancel_phase < CLONE_PHASE_SCANNING)
            assert_int_equal(shared.table_file->requests, 0);
        if (cancel_phase <= CLONE_PHASE_TRANSFERRING)
            assert_int_equal(shared.image_file->requests, 0);
        assert_int_equal(shared.watch.progress.bytes_verified, 0);
        assert_int_equal(shared.watch.phase, CLONE_PHASE_CLOSING);
        fixture_tear_down(&shared);
    }
}

/* Cancelled while seeds are reported as unusable: the table is not even asked for. */
static void test_cancelled_before_the_table(void **state)
{
    fixture_set_up(&shared);
    shared.seed_paths[0] = alloc_printf("%s/missing", shared.folder);
    shared.watch.cancel_in_event = 2; /* after the phase */
    fixture_run(&shared);
    clone_watch_check_failure(&shared.watch, ERROR_CANCELLED);
    assert_int_equal(shared.watch.told[TOLD_SEED_SKIPPED], 1);
    assert_int_equal(shared.table_file->requests, 0);
    fixture_tear_down(&shared);
}

/* ---- killed ---- */

static void on_child_done(void *owner, const struct error *error)
{
    if (error)
        fprintf(stderr, "%s\n", error->message);
    _exit(error ? 1 : 0);
}

/* Asserts nothing: a failed assertion would go on with the other tests in the child. */
static void run_child(struct fixture *fixture)
{
    static const struct clone_events child_events = {.done = on_child_done};

    signal(SIGSEGV, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    engine_bench_init(&fixture->bench);
    fixture->settings.release = fixture->release;
    fixture->settings.target_path = fixture->target_path;
    fixture->settings.create_target = true;
    fixture->watch.clone = clone_new(fixture->bench.base, fixture->bench.http, fixture->bench.pool,
                                     &fixture->settings, &child_events, fixture);
    clone_start(fixture->watch.clone);
    event_base_dispatch(fixture->bench.base);
    _exit(2);
}

struct kill_plan {
    struct fixture *fixture;
    uint64_t at_bytes; /* of the image, asked for */
    pid_t pid;
};

static enum range_fault kill_when_enough(void *owner, const char *path, uint64_t offset, uint64_t size)
{
    struct kill_plan *plan = owner;

    if (plan->fixture->image_file->asked_bytes >= plan->at_bytes)
        kill(plan->pid, SIGKILL);
    return RANGE_FAULT_NONE;
}

static void on_often(evutil_socket_t fd, short what, void *arg)
{
}

/* Bytes of the image that stand where they belong, by whole chunks. */
static uint64_t bytes_in_place(struct fixture *fixture)
{
    CLEANUP_FREE char *have = NULL;
    struct chunk_table *table = publish_table(fixture->image, fixture->size, AVERAGE, NULL, NULL);
    uint64_t bytes = 0;
    size_t size = 0;

    assert_true(file_read(fixture->target_path, 1 << 30, &have, &size, NULL));
    for (uint32_t i = 0; i < chunk_table_count(table); i++) {
        uint64_t offset = chunk_table_offset(table, i);
        uint32_t length = chunk_table_size(table, i);
        if (offset + length <= size && memcmp(have + offset, fixture->image + offset, length) == 0)
            bytes += length;
    }
    chunk_table_free(table);
    return bytes;
}

enum {
    KILL_IMAGE_SIZE = 12 * 1000 * 1000,
    KILL_CONNECTIONS = 3,
    /* What a kill costs at most: ranges under way, and moves within the target that were overwriting their
       source. */
    KILL_COST_MAX = (KILL_CONNECTIONS + TRANSFER_COPY_LANES) * TRANSFER_RUN_SIZE_MAX,
};

/* Runs a child until it ends or has asked for so many bytes more; true when it was killed. */
static bool run_and_kill(struct event_base *base, struct kill_plan *plan, uint64_t bytes)
{
    int status;

    plan->at_bytes = shared.image_file->asked_bytes + bytes;
    fflush(stdout);
    plan->pid = fork();
    assert_true(plan->pid >= 0);
    if (plan->pid == 0)
        run_child(&shared);
    while (waitpid(plan->pid, &status, WNOHANG) == 0)
        event_base_loop(base, EVLOOP_ONCE);
    /* What the child still asked for is counted to it and not to the next one. */
    for (int turn = 0; turn < 20; turn++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    else
        assert_int_equal(WTERMSIG(status), SIGKILL);
    return !WIFEXITED(status);
}

/* The publisher is this process, the clone a child that is killed again and again: at most `kills_max` times,
 * each at most `step` bytes after the last. `missing` bytes of the image are not in the target at first. */
static void kill_again_and_again(struct event_base *base, uint64_t missing, unsigned kills_max, uint32_t step)
{
    struct kill_plan plan = {.fixture = &shared};
    struct timeval often = {.tv_usec = 10 * 1000};
    struct event *timer = event_new(base, -1, EV_PERSIST, on_often, NULL);
    unsigned kills = 0;
    bool killed = true;

    shared.settings.connections = KILL_CONNECTIONS;
    range_server_set_fault(shared.server, kill_when_enough, &plan);
    evtimer_add(timer, &often);
    while (killed) {
        uint64_t there = access(shared.target_path, F_OK) == 0 ? bytes_in_place(&shared) : 0;
        uint64_t asked = shared.image_file->asked_bytes;
        killed = run_and_kill(base, &plan,
                              kills < kills_max ? 1 + dice_below(&shared.dice, step) : UINT64_MAX / 2);
        kills += killed;
        /* What stands where it belongs is not asked for. */
        assert_true(shared.image_file->asked_bytes - asked <= KILL_IMAGE_SIZE - there);
    }
    assert_true(kills > 0);
    assert_true(shared.image_file->asked_bytes <= missing + (uint64_t)kills * KILL_COST_MAX);
    assert_true(file_holds(shared.target_path, shared.image, KILL_IMAGE_SIZE));
    event_free(timer);
}

static void teardown_killed(struct event_base *base)
{
    engine_bench_init(
        &shared.bench); /* the children had theirs; this one is for fixture_tear_down() to free */
    fixture_tear_down(&shared);
    event_base_free(base);
}

static void test_killed_and_run_again(void **state)
{
    struct event_base *base = event_base_new();

    memset(&shared, 0, sizeof(shared));
    fixture_publish(&shared, base, KILL_IMAGE_SIZE, true);
    kill_again_and_again(base, KILL_IMAGE_SIZE, 5, 4000 * 1000);
    /* Five kills, and the last run fetched what those before it had not: all else would be more than this. */
    assert_true(shared.image_file->asked_bytes <=
                KILL_IMAGE_SIZE + 5 * KILL_CONNECTIONS * TRANSFER_RUN_SIZE_MAX);
    teardown_killed(base);
}

/* The old content lies 1000 bytes further on, so that every move overwrites its own source. */
static void test_killed_while_moving_within_the_target(void **state)
{
    enum { HOLE = 3000 * 1000 };
    struct event_base *base = event_base_new();

    memset(&shared, 0, sizeof(shared));
    fixture_publish(&shared, base, KILL_IMAGE_SIZE, true);
    CLEANUP_FREE uint8_t *old = alloc_zeroed(KILL_IMAGE_SIZE + 1000);
    memcpy(old + 1000, shared.image, KILL_IMAGE_SIZE);
    memset(old + 5000 * 1000, 0, HOLE);
    free(folder_write(shared.folder, "target", old, KILL_IMAGE_SIZE + 1000));
    kill_again_and_again(base, HOLE + 64 * 1024, 5, 1000 * 1000);
    teardown_killed(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first, while there is one thread only to fork */
        cmocka_unit_test(test_killed_and_run_again),
        cmocka_unit_test(test_killed_while_moving_within_the_target),
        cmocka_unit_test(test_cancelled_before_the_table),
        cmocka_unit_test(test_cancelled_as_a_phase_begins),
        cmocka_unit_test(test_cancelled_within_any_event),
        cmocka_unit_test(test_cancelled_after_any_turn_of_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
