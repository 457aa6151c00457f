/* SPDX-License-Identifier: MIT */
#include "daemon/host/process.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

struct scene {
    struct event_base *base;
    struct processes *processes;
    struct process *process;
    unsigned ends;
    int status, signal;
    char output[PROCESS_OUTPUT_SIZE];
};

static int scene_setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct error error;

    scene->base = event_base_new();
    scene->processes = processes_new(scene->base, &error);
    *state = scene;
    return scene->processes ? 0 : -1;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;

    processes_free(scene->processes);
    event_base_free(scene->base);
    free(scene);
    return 0;
}

static void on_end(void *owner, const struct process_end *end)
{
    struct scene *scene = owner;

    scene->ends++;
    scene->status = end->status;
    scene->signal = end->signal;
    snprintf(scene->output, sizeof(scene->output), "%s", end->output);
    event_base_loopbreak(scene->base);
}

static void start(struct scene *scene, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct error error;

    assert_true(process_start(scene->processes, argv, on_end, scene, &scene->process, &error));
}

static void run(struct scene *scene, const char *script)
{
    start(scene, script);
    event_base_dispatch(scene->base);
    assert_int_equal(scene->ends, 1);
    scene->ends = 0;
}

/* Turns the loop until `file` is there, or for some seconds. */
static bool wait_for_file(struct scene *scene, const char *file)
{
    for (int i = 0; i < 3000 && access(file, F_OK) < 0; i++) {
        event_base_loop(scene->base, EVLOOP_NONBLOCK);
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    return access(file, F_OK) == 0;
}

static void test_status_and_output(void **state)
{
    struct scene *scene = *state;

    run(scene, "echo out; echo err >&2; exit 3");
    assert_int_equal(scene->status, 3);
    assert_string_equal(scene->output, "out\nerr\n");
    run(scene, "printf unfinished");
    assert_int_equal(scene->status, 0);
    assert_string_equal(scene->output, "unfinished");
    run(scene, "kill -USR1 $$");
    assert_true(scene->status == -1 && scene->signal == SIGUSR1);
    run(scene, "printf 'a\\0b'");
    assert_string_equal(scene->output, "a?b");
    /* It has nothing to read, nothing of ours open, and no signal that we ignore. */
    signal(SIGPIPE, SIG_IGN);
    run(scene, "cat; ls /proc/self/fd | wc -l; grep SigIgn /proc/self/status");
    assert_string_equal(scene->output, "4\nSigIgn:\t0000000000000000\n");
}

static void test_what_cannot_be_executed(void **state)
{
    struct scene *scene = *state;
    const char *const argv[] = {"/nowhere/program", NULL};
    struct error error;

    assert_true(process_start(scene->processes, argv, on_end, scene, &scene->process, &error));
    event_base_dispatch(scene->base);
    assert_int_equal(scene->status, 127);
    assert_string_equal(scene->output, "cannot be executed: No such file or directory");
}

static void test_the_service_managers_words_are_not_passed_on(void **state)
{
    struct scene *scene = *state;

    setenv("NOTIFY_SOCKET", "/run/notify", 1);
    setenv("WATCHDOG_USEC", "1", 1);
    setenv("MOONSINTER_TEST", "kept", 1);
    run(scene, "env | grep -c -e NOTIFY -e WATCHDOG; echo $MOONSINTER_TEST");
    assert_string_equal(scene->output, "0\nkept\n");
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
}

/* Megabytes cost no memory, and the loop turns meanwhile. */
static void test_a_flood_keeps_its_last_lines(void **state)
{
    struct scene *scene = *state;
    struct rusage before, after;

    getrusage(RUSAGE_SELF, &before);
    run(scene, "head -c 3000000 /dev/zero | tr '\\0' x; seq 1 100000; echo the end");
    getrusage(RUSAGE_SELF, &after);
    size_t length = strlen(scene->output);
    assert_true(length > PROCESS_OUTPUT_SIZE - 20);
    assert_string_equal(scene->output + length - strlen("99999\n100000\nthe end\n"),
                        "99999\n100000\nthe end\n");
    /* The first line is a whole one. */
    assert_int_equal(strcspn(scene->output, "\n"), 5);
    run(scene, "head -c 100000 /dev/zero | tr '\\0' x");
    assert_int_equal(strlen(scene->output), PROCESS_OUTPUT_SIZE - 1);
    assert_true(after.ru_maxrss - before.ru_maxrss < 4096);
}

static void count_turns(evutil_socket_t fd, short events, void *owner)
{
    ++*(unsigned *)owner;
}

static void test_a_flood_leaves_the_loop_its_time(void **state)
{
    struct scene *scene = *state;
    unsigned turns = 0;
    struct event *timer = event_new(scene->base, -1, EV_PERSIST, count_turns, &turns);
    clock_t begin = clock();

    event_add(timer, &(struct timeval){.tv_usec = 10 * 1000});
    start(scene, "exec 3>&1; yes >&3 & sleep 0.5; kill $!");
    event_base_dispatch(scene->base);
    event_free(timer);
    assert_true(turns >= 10);
    assert_true(clock() - begin < CLOCKS_PER_SEC / 4);
}

static void test_what_it_leaves_behind_is_ended(void **state)
{
    struct scene *scene = *state;

    /* The sleeper holds the pipe open; nobody waits for it. */
    run(scene, "sleep 1000 & echo $!");
    pid_t sleeper = (pid_t)strtol(scene->output, NULL, 10);
    assert_true(sleeper > 1);
    for (int i = 0; i < 300 && kill(sleeper, 0) == 0; i++) {
        char path[64], text[256] = "";
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)sleeper);
        FILE *stat = fopen(path, "r");
        bool gone = !stat || !fgets(text, sizeof(text), stat) || strstr(text, ") Z ");
        if (stat)
            fclose(stat);
        if (gone)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    assert_int_equal(kill(sleeper, 0), -1);
}

static void test_abandoning(void **state)
{
    struct scene *scene = *state;
    char folder[] = "/tmp/test-process-XXXXXX", file[64], ready[64], script[256];

    assert_non_null(mkdtemp(folder));
    /* Asked kindly, it has time to say so. */
    snprintf(file, sizeof(file), "%s/ended", folder);
    snprintf(ready, sizeof(ready), "%s/ready", folder);
    snprintf(script, sizeof(script), "trap 'touch %s; exit' TERM; touch %s; sleep 1000 & wait", file, ready);
    start(scene, script);
    assert_true(wait_for_file(scene, ready));
    assert_null(process_abandon(scene->process));
    assert_true(wait_for_file(scene, file));
    /* One that does not listen is killed. */
    unlink(ready);
    snprintf(script, sizeof(script), "trap '' TERM; echo $$; touch %s; while :; do sleep 0.05; done", ready);
    start(scene, script);
    assert_true(wait_for_file(scene, ready));
    pid_t pid = (pid_t)strtol(process_get_output(scene->process), NULL, 10);
    assert_int_equal(kill(pid, 0), 0);
    process_abandon(scene->process);
    for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++) {
        event_base_loop(scene->base, EVLOOP_NONBLOCK);
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(scene->ends, 0);
    assert_null(process_abandon(NULL));
    unlink(file);
    unlink(ready);
    rmdir(folder);
}

static void test_the_end_of_all_does_not_wait(void **state)
{
    struct scene *scene = *state;

    start(scene, "trap '' TERM; while :; do sleep 0.05; done");
    start(scene, "sleep 1000");
    scene->processes = processes_free(scene->processes);
    assert_int_equal(scene->ends, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status_and_output, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_executed, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_the_service_managers_words_are_not_passed_on, scene_setup,
                                        scene_teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_keeps_its_last_lines, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_leaves_the_loop_its_time, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_what_it_leaves_behind_is_ended, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_abandoning, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_the_end_of_all_does_not_wait, scene_setup, scene_teardown),
    };

    /* What whoever started us has open is not what is counted. */
    close_range(3, ~0u, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
