/* SPDX-License-Identifier: MIT */
#include "daemon/decide/record.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/alloc.h"

static struct record_release release_of(const char *version, uint64_t serial, char digit)
{
    struct record_release release = {.has_serial = true, .serial = serial};

    snprintf(release.version, sizeof(release.version), "%s", version);
    memset(release.sha256, digit, sizeof(release.sha256) - 1);
    memset(release.manifest_sha256, digit, sizeof(release.manifest_sha256) - 1);
    return release;
}

/* A record with something in every member. */
static struct record *full_record(void)
{
    struct record *record = alloc_zeroed(sizeof(*record));
    struct record_release one = release_of("1.0", 1, '1'), two = release_of("2.0 \"ü\"", 2, '2');
    struct error error;

    two.is_signed = true;
    two.created_s = 98765;
    one.lent = true;

    record_init(record);
    record_set_arming(record, SLOT_A, &one, 100);
    record_set_good(record, SLOT_A, 101);
    record_set_arming(record, SLOT_B, &two, 102);
    record->slots[SLOT_B].print = (struct slot_print){
        .bytes = 4096, .is_fixed = true, .identity = UINT64_MAX - 1, .blocks = {1, UINT64_MAX}};
    record->trial.reboot_asked = true;
    record->trial.reboots = 2;
    strcpy(record->trial.reboot_boot_id, "0a1b2c3d-9a12-4de0-a9d1-8e49da1b1e5f");
    record->trial.starts = 2;
    strcpy(record->trial.boot_id, "8d2f3a2e-9a12-4de0-a9d1-8e49da1b1e5f");
    record->cancelled = two;
    record_add_failed(record, &two, "its health checks failed", 103);
    record_add_history(record, &(struct record_entry){.result = RECORD_RESULT_FELL_BACK,
                                                      .time_s = 104,
                                                      .slot = SLOT_B,
                                                      .reason = "no verdict",
                                                      .output = "one\n\"two\"",
                                                      .from = "2.0",
                                                      .to = "1.0",
                                                      .bytes_downloaded = 5,
                                                      .bytes_written = 6,
                                                      .seconds = 7});
    record->check_time_s = 105;
    strcpy(record->check_result, "held");
    error_set(&error, ERROR_REMOTE, "the server answered 404");
    record_set_error(record, &error, 106);
    memset(record->manifest.url_sha256, '4', sizeof(record->manifest.url_sha256) - 1);
    strcpy(record->manifest.etag, "\"abc\"");
    memset(record->manifest.sha256, '3', sizeof(record->manifest.sha256) - 1);
    return record;
}

static void test_text_and_back(void **state)
{
    CLEANUP_FREE struct record *record = full_record();
    CLEANUP_FREE struct record *again = alloc_zeroed(sizeof(*again));
    CLEANUP_FREE char *text = record_format(record);
    struct error error;

    assert_true(record_parse(text, strlen(text), again, &error));
    assert_memory_equal(record, again, sizeof(*record));
    CLEANUP_FREE char *text_again = record_format(again);
    assert_string_equal(text, text_again);
}

static void test_every_truncation_is_an_error(void **state)
{
    CLEANUP_FREE struct record *record = full_record();
    CLEANUP_FREE struct record *again = alloc_zeroed(sizeof(*again));
    CLEANUP_FREE char *text = record_format(record);
    struct error error;

    memset(again, 0x55, sizeof(*again));
    for (size_t size = 0; size + 2 < strlen(text); size++)
        assert_false(record_parse(text, size, again, &error));
    for (size_t i = 0; i < sizeof(*again); i++)
        assert_int_equal(((unsigned char *)again)[i], 0x55);
}

static void expect_refused(const char *text)
{
    CLEANUP_FREE struct record *record = alloc_zeroed(sizeof(*record));
    struct error error = {0};

    assert_false(record_parse(text, strlen(text), record, &error));
    assert_int_equal(error.kind, ERROR_FORMAT);
}

static void test_hostile_members(void **state)
{
    expect_refused("{}");
    expect_refused("{\"format\":2}");
    expect_refused("{\"format\":1,\"floor_serial\":-1}");
    expect_refused("{\"format\":1,\"slots\":{\"a\":{\"state\":\"splendid\"}}}");
    expect_refused("{\"format\":1,\"trial\":{\"stage\":\"armed\",\"slot\":\"c\"}}");
    expect_refused("{\"format\":1,\"trial\":{\"stage\":\"armed\"}}");
    expect_refused("{\"format\":1,\"failed\":{}}");
    expect_refused("{\"format\":1,\"history\":[1]}");
    expect_refused("{\"format\":1,\"last_error\":{\"kind\":99}}");

    char text[16384] = "{\"format\":1,\"failed\":[{}";
    for (int i = 0; i < RECORD_FAILED_MAX; i++)
        strcat(text, ",{}");
    strcat(text, "]}");
    expect_refused(text);
    snprintf(text, sizeof(text), "{\"format\":1,\"slots\":{\"a\":{\"release\":{\"version\":\"%0300d\"}}}}",
             0);
    expect_refused(text);
}

static void test_floor_rises_and_never_sinks(void **state)
{
    CLEANUP_FREE struct record *record = alloc_zeroed(sizeof(*record));
    struct record_release old = release_of("1", 1, '1'), new = release_of("9", 9, '9');

    record_init(record);
    record_set_arming(record, SLOT_A, &new, 1);
    assert_false(record->has_floor);
    record_add_failed(record, &new, "first try", 1);
    record_set_good(record, SLOT_A, 2);
    assert_int_equal(record->floor_serial, 9);
    assert_null(record_find_failed(record, &new));
    assert_int_equal(record->trial.stage, RECORD_STAGE_NONE);
    record_set_arming(record, SLOT_B, &old, 3);
    record_set_good(record, SLOT_B, 4);
    assert_int_equal(record->floor_serial, 9);
}

static void test_floor_rises_by_what_is_published(void **state)
{
    CLEANUP_FREE struct record *record = alloc_zeroed(sizeof(*record));
    struct record_release five = release_of("5", 5, '5'), eight = release_of("8", 8, '5');

    record_init(record);
    five.is_signed = eight.is_signed = true;
    record->slots[SLOT_A].release = five;
    record_set_good(record, SLOT_A, 1);
    assert_true(record_lend(record, SLOT_A, &eight, true));
    assert_string_equal(record->slots[SLOT_A].release.version, "8");
    assert_int_equal(record->floor_serial, 8);
    /* Never lower, never without a serial, never by what is not signed. */
    assert_false(record_lend(record, SLOT_A, &five, true));
    eight.serial = 9;
    eight.is_signed = false;
    assert_false(record_lend(record, SLOT_A, &eight, true));
    eight.is_signed = true;
    eight.has_serial = false;
    assert_false(record_lend(record, SLOT_A, &eight, true));
    assert_int_equal(record->slots[SLOT_A].release.serial, 8);
    assert_int_equal(record->floor_serial, 8);

    /* What waits for its boot is no floor before it is good. */
    struct record_release armed = release_of("9", 9, '9'), anew = release_of("10", 10, '9');
    armed.is_signed = anew.is_signed = true;
    record_set_arming(record, SLOT_B, &armed, 2);
    assert_true(record_lend(record, SLOT_B, &anew, false));
    assert_int_equal(record->trial.release.serial, 10);
    assert_int_equal(record->floor_serial, 8);
    record_set_good(record, SLOT_B, 3);
    assert_int_equal(record->floor_serial, 10);
}

static void test_a_serial_that_nobody_vouches_for(void **state)
{
    CLEANUP_FREE struct record *record = alloc_zeroed(sizeof(*record));
    struct record_release five = release_of("5", 5, '5'), huge = release_of("5", INT64_MAX, '5');

    record_init(record);
    record->slots[SLOT_A].release = five;
    record_set_good(record, SLOT_A, 1);
    /* The same again leaves it what was installed. */
    assert_false(record_lend(record, SLOT_A, &five, true));
    assert_false(record->slots[SLOT_A].release.lent);
    assert_true(record_lend(record, SLOT_A, &huge, true));
    assert_int_equal(record->floor_serial, 5);
    /* Nor does the next start raise it. */
    record_set_good(record, SLOT_A, 2);
    assert_int_equal(record->floor_serial, 5);
    /* And it keeps no signed one out. */
    struct record_release eight = release_of("8", 8, '5');
    eight.is_signed = true;
    assert_true(record_lend(record, SLOT_A, &eight, true));
    assert_string_equal(record->slots[SLOT_A].release.version, "8");
    assert_int_equal(record->floor_serial, 8);
    /* A signature does raise it. */
    huge.is_signed = true;
    assert_true(record_lend(record, SLOT_A, &huge, true));
    assert_int_equal(record->floor_serial, INT64_MAX);
}

static void test_arms_are_counted_in_a_row(void **state)
{
    CLEANUP_FREE struct record *record = alloc_zeroed(sizeof(*record));
    struct record_release one = release_of("1", 1, '1'), two = release_of("2", 2, '2');

    record_init(record);
    record_set_arming(record, SLOT_B, &one, 1);
    record_set_invalid(record, SLOT_B, 2);
    assert_int_equal(record->trial.stage, RECORD_STAGE_NONE);
    record->trial.reboot_asked = true;
    record_set_arming(record, SLOT_B, &one, 3);
    assert_false(record->trial.reboot_asked);
    assert_int_equal(record->trial.arms, 2);
    record_set_arming(record, SLOT_B, &two, 4);
    assert_int_equal(record->trial.arms, 1);
}

static void test_failed_releases_are_bounded_and_found(void **state)
{
    CLEANUP_FREE struct record *record = alloc_zeroed(sizeof(*record));
    struct record_release release;

    record_init(record);
    for (int i = 0; i < 3 * RECORD_FAILED_MAX; i++) {
        release = release_of("x", 1, (char)('0' + i));
        record_add_failed(record, &release, "reason", 1);
        record_add_failed(record, &release, "other reason", 2);
    }
    assert_int_equal(record->failed_count, RECORD_FAILED_MAX);
    assert_string_equal(record_find_failed(record, &release), "other reason");
    release = release_of("x", 1, '0');
    assert_null(record_find_failed(record, &release));
    for (int i = 0; i < 2 * RECORD_HISTORY_MAX; i++)
        record_add_history(record,
                           &(struct record_entry){.time_s = (uint64_t)i, .result = RECORD_RESULT_INSTALLED});
    record_add_history(record, &(struct record_entry){.time_s = 1000, .result = RECORD_RESULT_GOOD});
    assert_int_equal(record->history_count, RECORD_HISTORY_MAX);
    assert_int_equal(record_last_update(record)->time_s, 2 * RECORD_HISTORY_MAX - 1);
}

static void test_same_release(void **state)
{
    struct record_release a = release_of("1", 1, '1'), b = a, none = {0};

    assert_true(record_release_is_same(&a, &b));
    memset(b.manifest_sha256, '2', 64);
    assert_true(record_release_is_same(&a, &b));
    b.sha256[0] = 0;
    assert_false(record_release_is_same(&a, &b));
    memset(b.manifest_sha256, '1', 64);
    assert_true(record_release_is_same(&a, &b));
    assert_false(record_release_is_same(&none, &none));
}

static void test_text_is_made_clean(void **state)
{
    char text[16];

    record_copy_text(text, sizeof(text),
                     "a\nb\x7f"
                     "c\xff\xc3\xbc");
    assert_string_equal(text, "a b c?\xc3\xbc");
    record_copy_text(text, 4, "ab\xc3\xbc");
    assert_string_equal(text, "ab");
    record_copy_text(text, sizeof(text), "\xed\xa0\x80\xc0\x80");
    assert_string_equal(text, "?????");
    record_copy_text(text, sizeof(text), NULL);
    assert_string_equal(text, "");
    record_copy_lines(text, sizeof(text), "\na\n\tb\x1b\n\xff\n\n");
    assert_string_equal(text, "\na\n b \n?");
    record_copy_lines(text, 4, "\n\n\n\n\n");
    assert_string_equal(text, "");
}

static void test_trust_and_time_do_not_go_back(void **state)
{
    CLEANUP_FREE struct record *record = alloc_zeroed(sizeof(*record));
    struct record_release release = release_of("1", 1, '1');

    record_init(record);
    release.created_s = 500;
    record_set_arming(record, SLOT_A, &release, 1);
    assert_true(!record->signed_accepted && record->floor_s == 0); /* anybody could say so */
    release.is_signed = true;
    record_set_arming(record, SLOT_A, &release, 1);
    assert_true(record->signed_accepted && record->floor_s == 500);
    release.created_s = 400;
    record_accept(record, &release, UINT64_MAX);
    assert_int_equal(record->floor_s, 500);
    release.is_signed = false;
    release.created_s = 900;
    record_accept(record, &release, UINT64_MAX);
    assert_true(record->signed_accepted && record->floor_s == 500);
    /* An offer does not lead time past what the clock says. */
    release.is_signed = true;
    record_accept(record, &release, 899);
    assert_int_equal(record->floor_s, 500);
    record_accept(record, &release, 900);
    assert_int_equal(record->floor_s, 900);
    expect_refused("{\"format\":1,\"signed_accepted\":1}");
    expect_refused("{\"format\":1,\"floor_s\":-1}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_and_back),
        cmocka_unit_test(test_every_truncation_is_an_error),
        cmocka_unit_test(test_hostile_members),
        cmocka_unit_test(test_floor_rises_and_never_sinks),
        cmocka_unit_test(test_floor_rises_by_what_is_published),
        cmocka_unit_test(test_a_serial_that_nobody_vouches_for),
        cmocka_unit_test(test_arms_are_counted_in_a_row),
        cmocka_unit_test(test_failed_releases_are_bounded_and_found),
        cmocka_unit_test(test_same_release),
        cmocka_unit_test(test_text_is_made_clean),
        cmocka_unit_test(test_trust_and_time_do_not_go_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
