/* SPDX-License-Identifier: MIT */
#include "daemon/parts/health.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/base/alloc.h"

struct scene {
    struct event_base *base;
    struct pool *pool;
    struct processes *processes;
    struct health *health;
    struct health_options options;
    char folder[64];   /* of everything */
    char programs[96]; /* the checks */
    unsigned verdicts;
    struct health_verdict verdict;
};

static void put(const char *folder, const char *name, mode_t mode, const char *text)
{
    CLEANUP_FREE char *path = alloc_printf("%s/%s", folder, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void put_check(struct scene *scene, const char *name, const char *script)
{
    CLEANUP_FREE char *text = alloc_printf("#!/bin/sh\ncd %s\n%s\n", scene->folder, script);

    put(scene->programs, name, 0755, text);
}

static int scene_setup(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct error error;

    strcpy(scene->folder, "/tmp/test-health-XXXXXX");
    if (!mkdtemp(scene->folder))
        return -1;
    snprintf(scene->programs, sizeof(scene->programs), "%s/health.d", scene->folder);
    mkdir(scene->programs, 0755);
    scene->base = event_base_new();
    scene->processes = processes_new(scene->base, &error);
    if (!scene->processes || !pool_new(scene->base, 1, &scene->pool, &error))
        return -1;
    scene->options = (struct health_options){
        .base = scene->base,
        .pool = scene->pool,
        .processes = scene->processes,
        .folder = scene->programs,
        .timeout_ms = 30000,
    };
    *state = scene;
    return 0;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -r '%s'", scene->folder);

    health_free(scene->health);
    pool_free(scene->pool);
    processes_free(scene->processes);
    event_base_free(scene->base);
    int status = system(command);
    free(scene);
    return status;
}

static void on_verdict(void *owner, const struct health_verdict *verdict)
{
    struct scene *scene = owner;

    scene->verdicts++;
    scene->verdict = *verdict;
    scene->health = health_free(scene->health);
    event_base_loopbreak(scene->base);
}

static void judge(struct scene *scene)
{
    scene->health = health_start(&scene->options, on_verdict, scene);
    event_base_dispatch(scene->base);
    assert_int_equal(scene->verdicts, 1);
    scene->verdicts = 0;
}

static void expect_good(struct scene *scene)
{
    judge(scene);
    if (!scene->verdict.good)
        fail_msg("not good: %s", scene->verdict.reason);
    assert_string_equal(scene->verdict.reason, "");
}

static void expect_bad(struct scene *scene, const char *part)
{
    judge(scene);
    assert_false(scene->verdict.good);
    if (!strstr(scene->verdict.reason, part))
        fail_msg("\"%s\" is not in: %s", part, scene->verdict.reason);
}

static void expect_trace(const struct scene *scene, const char *expected)
{
    CLEANUP_FREE char *path = alloc_printf("%s/trace", scene->folder);
    char text[256] = "";
    FILE *file = fopen(path, "r");

    if (file) {
        text[fread(text, 1, sizeof(text) - 1, file)] = 0;
        fclose(file);
        unlink(path);
    }
    assert_string_equal(text, expected);
}

static void test_without_any_check_all_is_well(void **state)
{
    struct scene *scene = *state;

    expect_good(scene);
    scene->options.folder = "/nowhere/health.d";
    expect_bad(scene, "/nowhere/health.d cannot be read");
    scene->options.folder_optional = true;
    expect_good(scene);
}

static void test_programs_run_in_order_of_their_names(void **state)
{
    struct scene *scene = *state;

    put_check(scene, "20-b", "echo 20 >>trace");
    put_check(scene, "10-a", "sleep 0.1; echo 10 >>trace");
    put_check(scene, "9-z", "echo 9 >>trace");
    /* What is no program, or hidden. */
    put(scene->programs, "README", 0644, "echo readme");
    put_check(scene, ".hidden", "echo hidden >>trace");
    CLEANUP_FREE char *folder = alloc_printf("%s/folder", scene->programs);
    mkdir(folder, 0755);
    expect_good(scene);
    expect_trace(scene, "10\n20\n9\n");
}

static void test_the_first_failure_ends_it(void **state)
{
    struct scene *scene = *state;

    put_check(scene, "10-ok", "echo 10 >>trace; echo fine");
    put_check(scene, "20-bad", "seq 1 10000; echo the disk is on fire >&2; exit 4");
    put_check(scene, "30-never", "echo 30 >>trace");
    expect_bad(scene, "health check 20-bad failed with exit status 4");
    expect_trace(scene, "10\n");
    size_t length = strlen(scene->verdict.output);
    assert_string_equal(scene->verdict.output + length - strlen("10000\nthe disk is on fire\n"),
                        "10000\nthe disk is on fire\n");
    put_check(scene, "20-bad", "kill -SEGV $$");
    expect_bad(scene, "health check 20-bad was ended by signal 11");
    put(scene->programs, "20-bad", 0755, "#!/no/such/interpreter\n");
    expect_bad(scene, "health check 20-bad failed with exit status 127");
    assert_non_null(strstr(scene->verdict.output, "cannot be executed"));
}

static void test_what_others_may_write_is_not_run(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *path = alloc_printf("%s/10-a", scene->programs);

    put_check(scene, "10-a", "echo 10 >>trace");
    chmod(path, 0777);
    expect_bad(scene, "10-a may be written by others than its owner: chmod go-w");
    chmod(path, 0775);
    expect_bad(scene, "10-a may be written by others");
    chmod(path, 0755);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 0), 0);
        expect_bad(scene, "10-a belongs to user 12345, and must belong to root");
        assert_int_equal(chown(path, 0, 0), 0);
        assert_int_equal(chown(scene->programs, 12345, 0), 0);
        expect_bad(scene, "health.d belongs to user 12345");
        assert_int_equal(chown(scene->programs, 0, 0), 0);
    }
    chmod(scene->programs, 0777);
    expect_bad(scene, "health.d may be written by others");
    chmod(scene->programs, 0755);
    expect_trace(scene, "");
    expect_good(scene);
    expect_trace(scene, "10\n");
    /* A link is as good as what it leads to. */
    put(scene->folder, "elsewhere", 0757, "#!/bin/sh\nexit 0\n");
    CLEANUP_FREE char *target = alloc_printf("%s/elsewhere", scene->folder);
    CLEANUP_FREE char *link = alloc_printf("%s/30-link", scene->programs);
    assert_int_equal(symlink(target, link), 0);
    expect_bad(scene, "30-link may be written by others");
    chmod(target, 0755);
    expect_good(scene);
    unlink(target);
    expect_bad(scene, "30-link cannot be looked at");
}

static void test_too_many_programs(void **state)
{
    struct scene *scene = *state;

    for (int i = 0; i <= HEALTH_PROGRAMS_MAX; i++) {
        CLEANUP_FREE char *name = alloc_printf("%03d", i);
        put(scene->programs, name, 0755, "#!/bin/sh\n");
    }
    expect_bad(scene, "holds more than 64 programs");
}

static void lift_limit(evutil_socket_t fd, short events, void *owner)
{
    setrlimit(RLIMIT_NOFILE, owner);
}

/* The folder can be read, and there is no pipe for the program: that is not the program's word. */
static void test_a_shortage_that_passes(void **state)
{
    struct scene *scene = *state;
    struct timeval moment = {.tv_usec = 300 * 1000};
    struct rlimit before, tight;
    struct event *lift = evtimer_new(scene->base, lift_limit, &before);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);

    put_check(scene, "10-fine", "echo fine >>trace");
    getrlimit(RLIMIT_NOFILE, &before);
    tight = before;
    tight.rlim_cur = (rlim_t)next + 1;
    close(next);
    event_add(lift, &moment);
    setrlimit(RLIMIT_NOFILE, &tight);
    expect_good(scene);
    expect_trace(scene, "fine\n");
    event_free(lift);
}

static void test_the_deadline(void **state)
{
    struct scene *scene = *state;
    time_t begin = time(NULL);

    put_check(scene, "10-hangs", "echo waiting for something; trap '' TERM; while :; do sleep 0.1; done");
    scene->options.timeout_ms = 500;
    expect_bad(scene, "after 0.5s health check 10-hangs had not ended");
    assert_string_equal(scene->verdict.output, "waiting for something\n");
    assert_true(time(NULL) - begin < 10);
    /* Freed in the middle, nothing is heard of it any more. */
    scene->options.timeout_ms = 30000;
    scene->health = health_start(&scene->options, on_verdict, scene);
    for (int i = 0; i < 20; i++) {
        event_base_loop(scene->base, EVLOOP_NONBLOCK);
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
    assert_non_null(strstr(health_describe(scene->health), "10-hangs"));
    scene->health = health_free(scene->health);
    scene->health = health_start(&scene->options, on_verdict, scene);
    scene->health = health_free(scene->health);
    assert_null(health_free(NULL));
    assert_int_equal(scene->verdicts, 0);
}

/* What this machine's service manager would say is not ours to choose, so another systemctl says it. */
static void put_systemctl(struct scene *scene, const char *script)
{
    CLEANUP_FREE char *text =
        alloc_printf("#!/bin/sh\ncd %s\necho \"$@\" >>trace\n[ \"$1\" = is-active ] || exit 9\n%s\n",
                     scene->folder, script);
    CLEANUP_FREE char *path = alloc_printf("%s:/usr/bin:/bin", scene->folder);

    put(scene->folder, "systemctl", 0755, text);
    setenv("PATH", path, 1);
}

static void test_units(void **state)
{
    struct scene *scene = *state;
    const char *const units[] = {"a.service  b.target", "c.service", NULL};

    scene->options.units = units;
    put_check(scene, "10-after", "echo 10 >>trace");
    put_systemctl(scene, "echo active; echo refreshing; echo reloading");
    expect_good(scene);
    /* Before the programs and after them. */
    expect_trace(scene, "is-active -- a.service b.target c.service\n10\n"
                        "is-active -- a.service b.target c.service\n");
    put_systemctl(scene, "echo active; echo failed; echo active; exit 3");
    expect_bad(scene, "the unit b.target has failed");
    expect_trace(scene, "is-active -- a.service b.target c.service\n");
    /* One that is still on its way is waited for. */
    put_systemctl(scene,
                  "echo active; [ -e ready ] && echo active || echo activating; touch ready; echo active");
    expect_good(scene);
    expect_trace(scene,
                 "is-active -- a.service b.target c.service\nis-active -- a.service b.target c.service\n"
                 "10\nis-active -- a.service b.target c.service\n");
    scene->options.timeout_ms = 300;
    put_systemctl(scene, "echo active; echo active; echo inactive; exit 3");
    expect_bad(scene, "after 0.3s the unit c.service is not active but inactive");
    put_systemctl(scene, "echo 'Failed to connect to bus: No such file or directory' >&2; exit 1");
    expect_bad(scene, "systemctl cannot tell which units are active: Failed to connect to bus");
    put_systemctl(scene, "echo active");
    expect_bad(scene, "systemctl did not say whether b.target is active");
    setenv("PATH", "/nowhere", 1);
    expect_bad(scene, "cannot be executed: No such file");
    setenv("PATH", "/usr/bin:/bin", 1);
}

/* One that was active and died while the programs ran. */
static void test_units_have_to_stay_active(void **state)
{
    struct scene *scene = *state;
    const char *const units[] = {"a.service", NULL};

    scene->options.units = units;
    put_check(scene, "10-kills", "touch dead");
    put_systemctl(scene, "[ -e dead ] && echo failed || echo active");
    expect_bad(scene, "the unit a.service has failed");
}

static void test_as_units_of_the_service_manager(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *path = alloc_printf("%s:/usr/bin:/bin", scene->folder);
    CLEANUP_FREE char *text = alloc_printf(
        "#!/bin/sh\nfor last; do echo \"$last\" >>%s/trace; done\nexec \"$last\"\n", scene->folder);

    put(scene->folder, "systemd-run", 0755, text);
    setenv("PATH", path, 1);
    put_check(scene, "10-a", "echo it says so; exit 5");
    scene->options.as_units = true;
    scene->options.timeout_ms = 60900;
    expect_bad(scene, "health check 10-a failed with exit status 5");
    assert_string_equal(scene->verdict.output, "it says so\n");
    CLEANUP_FREE char *expected = alloc_printf(
        "--quiet\n--wait\n--pipe\n--collect\n--service-type=exec\n--description=moonsinter health check\n"
        "--property=RuntimeMaxSec=61\n--property=TimeoutStopSec=5s\n--property=PartOf=moonsinterd.service\n--\n"
        "%s/10-a\n",
        scene->programs);
    expect_trace(scene, expected);
    setenv("PATH", "/usr/bin:/bin", 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_without_any_check_all_is_well),
        TEST(test_programs_run_in_order_of_their_names),
        TEST(test_the_first_failure_ends_it),
        TEST(test_what_others_may_write_is_not_run),
        TEST(test_too_many_programs),
        TEST(test_a_shortage_that_passes),
        TEST(test_the_deadline),
        TEST(test_units),
        TEST(test_units_have_to_stay_active),
        TEST(test_as_units_of_the_service_manager),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
