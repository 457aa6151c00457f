/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "daemon/boot/boot.h"

struct scene {
    char root[64];
    char *path;
    struct config config;
    struct boot *boot;
    struct error error;
};

static int scene_setup(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));

    snprintf(scene->root, sizeof(scene->root), "/tmp/test_boot_file.XXXXXX");
    assert_non_null(mkdtemp(scene->root));
    scene->config.backend = CONFIG_BACKEND_FILE;
    scene->config.tries = 2;
    scene->config.selection_file = alloc_string("/state/sel.json");
    scene->path = alloc_printf("%s/state/sel.json", scene->root);
    assert_true(boot_new(&scene->config, scene->root, &scene->boot, &scene->error));
    *state = scene;
    return 0;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -rf '%s'", scene->root);

    boot_free(scene->boot);
    assert_int_equal(system(command), 0);
    free(scene->config.selection_file);
    free(scene->path);
    free(scene);
    return 0;
}

static void put_selection(const struct scene *scene, const char *text)
{
    CLEANUP_FREE char *folder = alloc_printf("%s/state", scene->root);

    assert_int_equal(file_make_folders(folder), 0);
    FILE *stream = fopen(scene->path, "we");
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
}

static struct boot_state read_state(struct scene *scene)
{
    struct boot_state state;

    if (!boot_read(scene->boot, &state, &scene->error))
        fail_msg("%s", scene->error.message);
    return state;
}

static void assert_state(struct scene *scene, enum slot running, enum slot next, enum slot trial,
                         unsigned tries, const char *a, const char *b)
{
    struct boot_state state = read_state(scene);

    assert_int_equal(state.running, running);
    assert_int_equal(state.next, next);
    assert_int_equal(state.trial, trial);
    assert_int_equal(state.tries_left, tries);
    assert_string_equal(boot_health_name(state.health[SLOT_A]), a);
    assert_string_equal(boot_health_name(state.health[SLOT_B]), b);
}

static void start(struct scene *scene)
{
    if (!boot_start(scene->boot, &scene->error))
        fail_msg("%s", scene->error.message);
}

static void test_first_start(void **state)
{
    struct scene *scene = *state;

    assert_state(scene, SLOT_A, SLOT_A, SLOT_NONE, 0, "good", "unknown");
    assert_int_not_equal(access(scene->path, F_OK), 0);
    start(scene);
    assert_int_equal(access(scene->path, F_OK), 0);
    assert_state(scene, SLOT_A, SLOT_A, SLOT_NONE, 0, "good", "unknown");
}

static void test_update_marked_good(void **state)
{
    struct scene *scene = *state;

    start(scene);
    assert_true(boot_invalidate(scene->boot, SLOT_B, &scene->error));
    assert_state(scene, SLOT_A, SLOT_A, SLOT_NONE, 0, "good", "invalid");
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_state(scene, SLOT_A, SLOT_B, SLOT_B, 2, "good", "trial");
    start(scene);
    assert_state(scene, SLOT_B, SLOT_B, SLOT_B, 1, "good", "trial");
    assert_true(boot_good(scene->boot, SLOT_B, &scene->error));
    assert_state(scene, SLOT_B, SLOT_B, SLOT_NONE, 0, "good", "good");
    start(scene);
    assert_state(scene, SLOT_B, SLOT_B, SLOT_NONE, 0, "good", "good");
    /* And the other way round. */
    assert_true(boot_invalidate(scene->boot, SLOT_A, &scene->error));
    assert_true(boot_arm(scene->boot, SLOT_A, &scene->error));
    start(scene);
    assert_state(scene, SLOT_A, SLOT_A, SLOT_A, 1, "trial", "good");
}

static void test_trial_runs_out(void **state)
{
    struct scene *scene = *state;

    start(scene);
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    start(scene);
    start(scene);
    assert_state(scene, SLOT_B, SLOT_A, SLOT_B, 0, "good", "trial");
    start(scene);
    assert_state(scene, SLOT_A, SLOT_A, SLOT_NONE, 0, "good", "bad");
}

static void test_trial_rejected(void **state)
{
    struct scene *scene = *state;

    start(scene);
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    start(scene);
    assert_true(boot_reject(scene->boot, SLOT_B, &scene->error));
    assert_state(scene, SLOT_B, SLOT_A, SLOT_NONE, 0, "good", "bad");
    start(scene);
    assert_state(scene, SLOT_A, SLOT_A, SLOT_NONE, 0, "good", "bad");
}

static void test_refusals(void **state)
{
    struct scene *scene = *state;

    start(scene);
    assert_false(boot_invalidate(scene->boot, SLOT_A, &scene->error));
    assert_non_null(strstr(scene->error.message, "slot a is running"));
    assert_int_equal(scene->error.kind, ERROR_REFUSED);
    assert_false(boot_arm(scene->boot, SLOT_A, &scene->error));
    assert_false(boot_good(scene->boot, SLOT_B, &scene->error));
    assert_false(boot_reject(scene->boot, SLOT_A, &scene->error));
    assert_non_null(strstr(scene->error.message, "slot b is not known to be good"));
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    start(scene);
    /* On trial, the other slot is what there is to fall back to. */
    assert_false(boot_invalidate(scene->boot, SLOT_A, &scene->error));
    assert_non_null(strstr(scene->error.message, "runs on trial"));
}

static void test_idempotent_calls_write_nothing(void **state)
{
    struct scene *scene = *state;
    struct stat before, after;

    start(scene);
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_int_equal(stat(scene->path, &before), 0);
    assert_true(boot_arm(scene->boot, SLOT_B, &scene->error));
    assert_int_equal(stat(scene->path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

static void test_bad_files(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"format\":2,\"running\":\"a\",\"selected\":\"a\",\"tries_left\":0,\"slots\":{\"a\":\"good\",\"b\":\"bad\"}}",
        "{\"format\":1,\"running\":\"c\",\"selected\":\"a\",\"tries_left\":0,\"slots\":{\"a\":\"good\",\"b\":\"bad\"}}",
        "{\"format\":1,\"running\":\"a\",\"selected\":null,\"tries_left\":0,\"slots\":{\"a\":\"good\",\"b\":\"bad\"}}",
        "{\"format\":1,\"running\":\"a\",\"selected\":\"a\",\"tries_left\":10,\"slots\":{\"a\":\"good\",\"b\":\"bad\"}}",
        "{\"format\":1,\"running\":\"a\",\"selected\":\"a\",\"tries_left\":0,\"slots\":{\"a\":\"fine\",\"b\":\"bad\"}}",
        ("{\"format\":1,\"running\":\"a\",\"selected\":\"a\",\"trial\":\"a\",\"tries_left\":1,"
         "\"slots\":{\"a\":\"good\",\"b\":\"bad\"}}"),
    };
    struct scene *scene = *state;
    struct boot_state boot_state;
    struct boot *boot = NULL;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put_selection(scene, texts[i]);
        if (boot_read(scene->boot, &boot_state, &scene->error))
            fail_msg("accepted: %s", texts[i]);
        assert_int_equal(scene->error.kind, ERROR_FORMAT);
        assert_false(boot_start(scene->boot, &scene->error));
        assert_false(boot_new(&scene->config, scene->root, &boot, &scene->error));
        assert_null(boot);
        assert_non_null(strstr(scene->error.message, "remove the file"));
    }
    CLEANUP_FREE char *large = alloc_printf("{%*s}", 5000, "");
    put_selection(scene, large);
    assert_false(boot_read(scene->boot, &boot_state, &scene->error));
}

enum { STATES_MAX = 2000 };

/* Every state that any order of calls can lead to: the slot that runs next is never one that is known to be
 * unfit, a slot that runs is never invalid, and starting over and over without a verdict ends on the other
 * slot. */
static void test_all_reachable_states(void **state)
{
    typedef bool (*call_fn)(struct boot *, enum slot, struct error *);
    static const call_fn calls[] = {boot_invalidate, boot_arm, boot_good, boot_reject};
    struct scene *scene = *state;
    char **texts = alloc_array(STATES_MAX, sizeof(*texts));
    size_t count = 0, size;

    start(scene);
    assert_true(file_read(scene->path, 4096, &texts[count++], &size, &scene->error));
    for (size_t at = 0; at < count; at++) {
        for (size_t call = 0; call < 9; call++) {
            put_selection(scene, texts[at]);
            enum slot slot = (enum slot)(call & 1);
            if (call == 8)
                start(scene);
            else if (!calls[call / 2](scene->boot, slot, &scene->error))
                assert_int_equal(scene->error.kind, ERROR_REFUSED);
            struct boot_state now = read_state(scene);
            if (now.health[now.next] == BOOT_HEALTH_INVALID || now.health[now.next] == BOOT_HEALTH_BAD ||
                now.health[now.running] == BOOT_HEALTH_INVALID)
                fail_msg("call %zu for slot %s on %s", call / 2, slot_name(slot), texts[at]);
            CLEANUP_FREE char *text = NULL;
            assert_true(file_read(scene->path, 4096, &text, &size, &scene->error));
            size_t i = 0;
            while (i < count && strcmp(texts[i], text) != 0)
                i++;
            if (i == count) {
                assert_true(count < STATES_MAX);
                texts[count++] = alloc_string(text);
            }
            for (int starts = 0; starts < 3; starts++)
                start(scene);
            struct boot_state end = read_state(scene);
            assert_int_equal(end.trial, SLOT_NONE);
            assert_int_equal(end.running, end.next);
        }
    }
    assert_true(count >= 10);
    while (count)
        free(texts[--count]);
    free(texts);
}

static void test_medium_full(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *folder = alloc_printf("%s/state", scene->root);

    /* The folder cannot be made because a file has its name. */
    FILE *stream = fopen(folder, "we");
    assert_non_null(stream);
    fclose(stream);
    assert_false(boot_start(scene->boot, &scene->error));
    assert_int_equal(scene->error.kind, ERROR_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_start, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_update_marked_good, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_trial_runs_out, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_trial_rejected, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_refusals, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_idempotent_calls_write_nothing, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_bad_files, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_all_reachable_states, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_medium_full, scene_setup, scene_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
