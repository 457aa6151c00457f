/* SPDX-License-Identifier: MIT */
#include "daemon/face/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"

struct fixture {
    struct record record;
    struct record_release release;
    struct policy_verdict verdict;
    struct status_snapshot snapshot;
};

static struct fixture *fixture_new(void)
{
    struct fixture *fixture = alloc_zeroed(sizeof(*fixture));

    record_init(&fixture->record);
    strcpy(fixture->release.version, "2.0");
    fixture->release.has_serial = true;
    fixture->release.serial = 2;
    memset(fixture->release.sha256, 'a', 64);
    policy_add_block(&fixture->verdict, "mode", "Mode=check installs only when asked");
    fixture->snapshot = (struct status_snapshot){
        .daemon_version = "0.1",
        .pid = 7,
        .started_s = 1700000000,
        .state = UPDATE_STATE_HELD,
        .since_s = 1700000001,
        .blocked_by = &fixture->verdict,
        .slots = {{.device = "/dev/a", .active = true, .state = BOOT_HEALTH_GOOD}, {.device = "/dev/b"}},
        .boot_backend = "file",
        .boot_next = SLOT_A,
        .shown_url = "http://127.0.0.1/image",
        .update = &fixture->release,
        .update_size_bytes = 1234,
        .progress = {.percent = 12.34},
        .record = &fixture->record,
    };
    return fixture;
}

/* The member at a path of names, separated by '/'. */
static struct json_object *at(struct json_object *object, const char *path)
{
    CLEANUP_FREE char *copy = alloc_string(path);
    char *rest = copy;

    for (char *name = strsep(&rest, "/"); name; name = strsep(&rest, "/"))
        if (!json_object_object_get_ex(object, name, &object))
            fail_msg("no member %s of %s", name, path);
    return object;
}

/* Told only where there are any. */
static void test_the_parts_of_a_set(void **state)
{
    struct fixture *fixture = fixture_new();
    struct status_snapshot *snapshot = &fixture->snapshot;
    struct json_object *object = status_json(snapshot), *none;

    assert_false(json_object_object_get_ex(at(object, "slots/a"), "parts", &none));
    assert_false(json_object_object_get_ex(at(object, "update"), "parts", &none));
    json_object_put(object);
    snapshot->slots[0].parts.count = 2;
    snapshot->slots[0].parts.list[0] = (struct status_part){.name = "boot", .path = "/dev/boot-a"};
    memset(snapshot->slots[0].parts.list[0].sha256, 'b', 64);
    snapshot->slots[0].parts.list[1] = (struct status_part){.name = "dtb", .path = "/dev/dtb-a"};
    snapshot->update_parts.count = 1;
    snapshot->update_parts.list[0] = (struct status_part){.name = "boot", .sha256 = "cc", .bytes = 77};
    object = status_json(snapshot);
    assert_string_equal(json_object_get_string(at(object, "slots/a/parts/boot/path")), "/dev/boot-a");
    assert_memory_equal(json_object_get_string(at(object, "slots/a/parts/boot/sha256")), "bbbb", 4);
    assert_null(at(object, "slots/a/parts/dtb/sha256"));
    assert_string_equal(json_object_get_string(at(object, "update/parts/boot/sha256")), "cc");
    assert_int_equal(json_object_get_int64(at(object, "update/parts/boot/bytes")), 77);
    json_object_put(object);
    free(fixture);
}

/* Every key of the contract's object, at every level. */
static void test_every_key_is_there(void **state)
{
    static const char *const paths[] = {
        "daemon/version",
        "daemon/pid",
        "daemon/started",
        "state",
        "phase",
        "since",
        "blocked_by",
        "slots/a/device",
        "slots/a/role",
        "slots/a/state",
        "slots/a/version",
        "slots/a/version_from",
        "slots/a/serial",
        "slots/a/sha256",
        "slots/b/device",
        "slots/b/role",
        "slots/b/state",
        "boot/backend",
        "boot/next",
        "boot/trial",
        "boot/tries_left",
        "update/url",
        "update/version",
        "update/serial",
        "update/sha256",
        "update/size_bytes",
        "update/table_skipped",
        "update/pack_skipped",
        "update/progress/percent",
        "update/progress/bytes_kept",
        "update/progress/bytes_copied",
        "update/progress/bytes_downloaded",
        "update/progress/bytes_to_download",
        "update/progress/bytes_written",
        "update/progress/bytes_verified",
        "update/progress/rate_bytes_per_s",
        "update/progress/eta_s",
        "update/progress/requests",
        "update/progress/retries",
        "update/waiting",
        "last_check/time",
        "last_check/result",
        "last_check/next",
        "last_error",
        "last_update",
    };
    struct fixture *fixture = fixture_new();
    struct json_object *status = status_json(&fixture->snapshot);

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        at(status, paths[i]);
    assert_string_equal(json_object_get_string(at(status, "state")), "held");
    assert_string_equal(json_object_get_string(at(status, "daemon/started")), "2023-11-14T22:13:20Z");
    assert_null(at(status, "phase"));
    assert_string_equal(json_object_get_string(at(status, "slots/a/role")), "active");
    assert_string_equal(json_object_get_string(at(status, "slots/b/state")), "unknown");
    assert_string_equal(json_object_get_string(at(status, "update/progress/percent")), "12.3");
    struct json_object *block = json_object_array_get_idx(at(status, "blocked_by"), 0);
    assert_string_equal(json_object_get_string(at(block, "what")), "mode");
    assert_null(at(block, "until"));
    assert_non_null(at(block, "why"));
    json_object_put(status);
    free(fixture);
}

static void test_waiting(void **state)
{
    static const struct status_waiting waiting = {
        .since_s = 1700000000, .until_s = 1700000030, .kind = ERROR_REMOTE, .why = "the server is busy"};
    struct fixture *fixture = fixture_new();
    char sentence[512];

    struct json_object *status = status_json(&fixture->snapshot);
    assert_null(at(status, "update/waiting"));
    json_object_put(status);
    fixture->snapshot.waiting = &waiting;
    fixture->snapshot.state = UPDATE_STATE_INSTALLING;
    status = status_json(&fixture->snapshot);
    assert_string_equal(json_object_get_string(at(status, "update/waiting/since")), "2023-11-14T22:13:20Z");
    assert_string_equal(json_object_get_string(at(status, "update/waiting/until")), "2023-11-14T22:13:50Z");
    assert_string_equal(json_object_get_string(at(status, "update/waiting/kind")), "remote");
    assert_string_equal(json_object_get_string(at(status, "update/waiting/why")), "the server is busy");
    json_object_put(status);
    assert_non_null(
        strstr(status_sentence(sentence, sizeof(sentence), &fixture->snapshot), "the server is busy"));
    CLEANUP_FREE char *metrics = status_metrics(&fixture->snapshot);
    assert_non_null(strstr(metrics, "\nmoonsinter_update_waiting 1\n"));
    free(fixture);
}

static void test_last_update_and_error(void **state)
{
    struct fixture *fixture = fixture_new();
    struct error error;

    record_add_history(&fixture->record, &(struct record_entry){.result = RECORD_RESULT_FAILED,
                                                                .time_s = 1700000000,
                                                                .slot = SLOT_B,
                                                                .reason = "the medium",
                                                                .from = "1.0",
                                                                .to = "2.0",
                                                                .bytes_downloaded = 10});
    error_set(&error, ERROR_MISMATCH, "bad byte \xff here");
    record_set_error(&fixture->record, &error, 1700000000);
    struct json_object *status = status_json(&fixture->snapshot);
    assert_string_equal(json_object_get_string(at(status, "last_update/result")), "failed");
    assert_string_equal(json_object_get_string(at(status, "last_update/from")), "1.0");
    at(status, "last_update/time");
    at(status, "last_update/reason");
    at(status, "last_update/bytes_written");
    at(status, "last_update/seconds");
    assert_string_equal(json_object_get_string(at(status, "last_error/kind")), "mismatch");
    assert_string_equal(json_object_get_string(at(status, "last_error/message")), "bad byte ? here");
    json_object_put(status);
    free(fixture);
}

static void test_metrics_are_well_formed(void **state)
{
    struct fixture *fixture = fixture_new();

    strcpy(fixture->release.version, "2\"0\\\n");
    fixture->snapshot.slots[SLOT_B].release = &fixture->release;
    char *text = status_metrics(&fixture->snapshot), *rest = text;
    assert_non_null(strstr(text, "moonsinter_state{state=\"held\"} 1\n"));
    assert_non_null(strstr(text, "moonsinter_state{state=\"idle\"} 0\n"));
    assert_non_null(strstr(text, "version=\"2\\\"0\\\\ \"} 1\n"));
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (char *line = strsep(&rest, "\n"); line && *line; line = strsep(&rest, "\n")) {
        if (strncmp(line, "# HELP moonsinter_", 18) == 0 || strncmp(line, "# TYPE moonsinter_", 18) == 0)
            continue;
        assert_int_equal(strncmp(line, "moonsinter_", 11), 0);
        char *value = strrchr(line, ' '), *end;
        assert_non_null(value);
        strtod(value + 1, &end);
        assert_true(end != value + 1 && !*end);
    }
    free(text);
    free(fixture);
}

static void test_a_version_by_the_systems_own_word(void **state)
{
    struct fixture *fixture = fixture_new();

    fixture->snapshot.slots[0].os_version = "12";
    fixture->snapshot.slots[1].release = &fixture->release;
    CLEANUP_JSON struct json_object *status = status_json(&fixture->snapshot);
    assert_string_equal(json_object_get_string(at(status, "slots/a/version")), "12");
    assert_string_equal(json_object_get_string(at(status, "slots/a/version_from")), "os-release");
    assert_string_equal(json_object_get_string(at(status, "slots/b/version")), "2.0");
    assert_string_equal(json_object_get_string(at(status, "slots/b/version_from")), "release");
    CLEANUP_FREE char *metrics = status_metrics(&fixture->snapshot);
    assert_non_null(strstr(metrics, "slot=\"a\",role=\"active\",state=\"good\",version=\"12\""));
    free(fixture);
}

static void test_sentence_in_every_state(void **state)
{
    struct fixture *fixture = fixture_new();
    char text[512];

    for (int i = 0; i < UPDATE_STATE_COUNT; i++) {
        fixture->snapshot.state = (enum update_state)i;
        status_sentence(text, sizeof(text), &fixture->snapshot);
        assert_true(strlen(text) > 3);
        assert_null(strchr(text, '\n'));
    }
    fixture->snapshot.state = UPDATE_STATE_HELD;
    assert_string_equal(status_sentence(text, sizeof(text), &fixture->snapshot),
                        "Held: Mode=check installs only when asked");
    /* Up to date is what runs the release on offer, and nothing else. */
    fixture->snapshot.state = UPDATE_STATE_IDLE;
    strcpy(fixture->record.check_result, "up-to-date");
    assert_string_equal(status_sentence(text, sizeof(text), &fixture->snapshot), "Up to date");
    strcpy(fixture->record.check_result, "update");
    assert_string_equal(status_sentence(text, sizeof(text), &fixture->snapshot), "Idle; on offer: 2.0");
    strcpy(fixture->record.check_result, "failed");
    assert_string_equal(status_sentence(text, sizeof(text), &fixture->snapshot),
                        "Idle; the last attempt failed");
    fixture->record.check_result[0] = 0;
    assert_string_equal(status_sentence(text, sizeof(text), &fixture->snapshot), "Idle");
    fixture->snapshot.stall_why = "/dev/b has not answered for 30 s";
    assert_string_equal(status_sentence(text, sizeof(text), &fixture->snapshot),
                        "Stalled: /dev/b has not answered for 30 s");
    free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_is_there),
        cmocka_unit_test(test_the_parts_of_a_set),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_last_update_and_error),
        cmocka_unit_test(test_metrics_are_well_formed),
        cmocka_unit_test(test_a_version_by_the_systems_own_word),
        cmocka_unit_test(test_sentence_in_every_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
