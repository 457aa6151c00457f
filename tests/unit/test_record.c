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

static struct record_part part_of(const char *name, char digit, uint64_t print_bytes)
{
    struct record_part part = {.bytes = 4711, .print = {.bytes = print_bytes}};

    snprintf(part.name, sizeof(part.name), "%s", name);
    memset(part.sha256, digit, sizeof(part.sha256) - 1);
    if (print_bytes)
        part.print.blocks[3] = 7;
    return part;
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
    memset(two.parts_sha256, '5', sizeof(two.parts_sha256) - 1);
    record_set_arming(record, SLOT_B, &two, 102);
    record->slots[SLOT_B].parts[0] = part_of("boot", '6', 8192);
    record->slots[SLOT_B].parts[1] = part_of("uki", '7', 0);
    record->slots[SLOT_B].parts[1].per_slot = true;
    record->slots[SLOT_B].part_count = 2;
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

#define PART(name, digits) "{\"name\":\"" name "\",\"sha256\":\"" DIGITS_##digits "\"}"
#define DIGITS_63          "000000000000000000000000000000000000000000000000000000000000000"
#define DIGITS_64          DIGITS_63 "0"

static void expect_parts(const char *parts, unsigned count)
{
    CLEANUP_FREE char *text = alloc_printf("{\"format\":1,\"slots\":{\"a\":{\"parts\":%s}}}", parts);
    CLEANUP_FREE struct record *record = alloc_zeroed(sizeof(*record));

    assert_true(record_parse(text, strlen(text), record, NULL));
    assert_int_equal(record->slots[SLOT_A].part_count, count);
}

static void expect_refused_parts(const char *parts)
{
    CLEANUP_FREE char *text = alloc_printf("{\"format\":1,\"slots\":{\"a\":{\"parts\":%s}}}", parts);

    expect_refused(text);
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

    static const char *const parts[] = {
        "{}",
        "[{}]",
        "[1]",
        "[" PART("boot", 64) "," PART("boot", 64) "]",
        "[" PART("Boot", 64) "]",
        "[" PART("../x", 64) "]",
        "[" PART("root", 64) "]",
        "[" PART("boot", 63) "]",
        "[{\"name\":\"boot\",\"sha256\":\"\"}]",
        "[{\"name\":\"boot\",\"sha256\":\"" DIGITS_63 "z\"}]",
        "[{\"name\":\"boot\",\"per_slot\":1}]",
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        expect_refused_parts(parts[i]);
    expect_parts("[" PART("boot", 64) "," PART("boot-2", 64) "]", 2);
    char many[8192] = "[";
    for (int i = 0; i <= MANIFEST_PARTS_MAX; i++)
        sprintf(many + strlen(many), "%s{\"name\":\"p%d\",\"sha256\":\"%064d\"}", i ? "," : "", i, 0);
    strcat(many, "]");
    expect_refused_parts(many);

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

/* The main image alone does not make the release: another kernel is another one. */
static void test_same_set(void **state)
{
    struct record_release a = release_of("1", 1, '1'), b;

    memset(a.parts_sha256, '5', 64);
    b = a;
    assert_true(record_release_is_same(&a, &b));
    memset(b.manifest_sha256, '2', 64);
    assert_true(record_release_is_same(&a, &b));
    memset(b.parts_sha256, '6', 64);
    assert_false(record_release_is_same(&a, &b));
    b.parts_sha256[0] = 0;
    assert_false(record_release_is_same(&a, &b));
    assert_false(record_release_is_same(&b, &a));
    /* As an older daemon writes it: the manifest names all parts. */
    memset(b.manifest_sha256, '1', 64);
    assert_true(record_release_is_same(&a, &b));
}

/* A set of a part for both slots and one for each; the images are told apart by a byte of their SHA-256. */
struct set {
    struct manifest manifest, images[3];
    struct manifest_part parts[2];
    struct release releases[3], release;
};

static void make_set(struct set *set)
{
    memset(set, 0, sizeof(*set));
    for (int i = 0; i < 3; i++) {
        set->images[i].sha256[0] = (uint8_t)(0xa0 + i);
        set->images[i].file_size = 1000 + (uint64_t)i;
        set->releases[i].manifest = &set->images[i];
    }
    strcpy(set->parts[0].name, "uki");
    set->parts[0].per_slot = true;
    strcpy(set->parts[1].name, "boot");
    set->manifest.has_sha256 = true;
    set->manifest.parts = (struct manifest_parts){.list = set->parts, .count = 2};
    set->release = (struct release){
        .manifest = &set->manifest,
        .parts = {{&set->releases[0], &set->releases[1]}, {&set->releases[2]}},
    };
}

static void test_what_a_set_is_recognised_by(void **state)
{
    struct set set;
    struct record_release release, other;
    uint8_t digest[DIGEST_SHA256_SIZE];
    char hex[DIGEST_SHA256_HEX_SIZE], lines[512], other_text[] = "made anew";

    make_set(&set);
    set.release.manifest_text = other_text;
    record_release_from(&release, &set.release);
    snprintf(lines, sizeof(lines), "boot - a2%062d 1002\nuki a a0%062d 1000\nuki b a1%062d 1001\n", 0, 0, 0);
    digest_sha256(lines, strlen(lines), digest);
    digest_sha256_to_hex(digest, hex);
    assert_string_equal(release.parts_sha256, hex);

    /* Neither their order nor their own manifests matter; each image does, that of the other slot, too. */
    struct manifest_part first = set.parts[0];
    set.parts[0] = set.parts[1];
    set.parts[1] = first;
    memcpy(set.release.parts[0], (struct release *[2]){&set.releases[2]}, sizeof(set.release.parts[0]));
    memcpy(set.release.parts[1], (struct release *[2]){&set.releases[0], &set.releases[1]},
           sizeof(set.release.parts[1]));
    set.release.manifest_text = other_text;
    set.release.manifest_size = 5;
    record_release_from(&other, &set.release);
    assert_string_not_equal(other.manifest_sha256, release.manifest_sha256);
    assert_true(record_release_is_same(&release, &other));
    for (int i = 0; i < 3; i++) {
        set.images[i].sha256[31] ^= 1;
        record_release_from(&other, &set.release);
        assert_false(record_release_is_same(&release, &other));
        set.images[i].sha256[31] ^= 1;
    }
    set.manifest.parts.count = 0;
    record_release_from(&other, &set.release);
    assert_string_equal(other.parts_sha256, "");
}

static void test_which_parts_a_slot_holds(void **state)
{
    CLEANUP_FREE struct record *record = alloc_zeroed(sizeof(*record));
    struct record_release release = release_of("1", 1, '1');
    struct record_slot *a = &record->slots[SLOT_A], *b = &record->slots[SLOT_B];
    struct set set;

    record_init(record);
    make_set(&set);
    record_slot_set_parts(record, SLOT_A, &set.release);
    record_slot_set_parts(record, SLOT_B, &set.release);
    assert_int_equal(b->part_count, 2);
    assert_string_equal(b->parts[0].name, "uki");
    assert_true(b->parts[0].per_slot && !b->parts[1].per_slot);
    assert_memory_equal(a->parts[0].sha256, "a0", 2);
    assert_memory_equal(b->parts[0].sha256, "a1", 2);
    assert_ptr_equal(record_slot_find_part(b, "boot"), &b->parts[1]);
    assert_memory_equal(record_slot_find_part(b, "boot")->sha256, "a2", 2);
    assert_null(record_slot_find_part(b, "boo"));
    b->parts[1].print.bytes = 1002;

    /* Another release that lacks them, and one is carried over. */
    record_set_arming(record, SLOT_A, &release, 5);
    assert_int_equal(a->part_count, 0);
    record_slot_carry_part(record, SLOT_A, "boot");
    assert_int_equal(a->part_count, 1);
    assert_string_equal(record_slot_find_part(a, "boot")->sha256, b->parts[1].sha256);
    assert_int_equal(a->parts[0].print.bytes, 0);
    record_set_invalid(record, SLOT_A, 6);
    assert_null(record_slot_find_part(a, "boot"));
    record_forget_slot(record, SLOT_B, 7);
    assert_int_equal(b->part_count, 0);
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
        cmocka_unit_test(test_same_set),
        cmocka_unit_test(test_what_a_set_is_recognised_by),
        cmocka_unit_test(test_which_parts_a_slot_holds),
        cmocka_unit_test(test_text_is_made_clean),
        cmocka_unit_test(test_trust_and_time_do_not_go_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
