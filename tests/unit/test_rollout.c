/* SPDX-License-Identifier: MIT */
/* Whose turn comes when: the published layout, and fleets of 10,000 devices that follow the curve. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/image/rollout.h"

enum { FLEET = 10000, ONE_PERCENT = FLEET / 100 };

#define START UINT64_C(1800000000)

static void make_image(unsigned number, uint8_t ret_sha256[DIGEST_SHA256_SIZE])
{
    uint32_t bytes = htole32(number); /* the same fleets on every machine */

    digest_sha256(&bytes, sizeof(bytes), ret_sha256);
}

/* Machine-ids that differ in nothing but their last digits: the least random fleet there can be. */
static uint32_t position_of(unsigned device, const uint8_t image[DIGEST_SHA256_SIZE])
{
    char machine_id[ROLLOUT_MACHINE_ID_SIZE + 1];

    snprintf(machine_id, sizeof(machine_id), "00000000000040008000%012x", device);
    assert_true(rollout_is_machine_id(machine_id));
    return rollout_position(machine_id, image);
}

/* The places of a whole fleet. */
static void place_fleet(unsigned image_number, uint32_t ret_positions[FLEET])
{
    uint8_t image[DIGEST_SHA256_SIZE];

    make_image(image_number, image);
    for (unsigned i = 0; i < FLEET; i++)
        ret_positions[i] = position_of(i, image);
}

static unsigned count_updated(const struct manifest_rollout *rollout, const uint32_t positions[FLEET],
                              uint64_t now_s)
{
    unsigned count = 0;
    uint64_t turn_s;

    for (unsigned i = 0; i < FLEET; i++)
        count += rollout_judge(rollout, START - 1, positions[i], now_s, &turn_s) == ROLLOUT_ANSWER_NOW;
    return count;
}

static void expect_within(unsigned count, unsigned percent, unsigned tolerance)
{
    if (count + tolerance * ONE_PERCENT < percent * ONE_PERCENT ||
        count > (percent + tolerance) * ONE_PERCENT)
        fail_msg("%u of %d devices instead of %u %%", count, FLEET, percent);
}

static void expect_about(unsigned count, unsigned percent)
{
    expect_within(count, percent, 1);
}

static void test_ten_thousand_devices_follow_the_curve(void **state)
{
    struct manifest_rollout rollout = {
        .present = true, .start_s = START, .duration_s = UINT64_C(100) * 3600, .percent = 100};

    static uint32_t fleet[FLEET];

    for (unsigned image = 0; image < 5; image++) {
        place_fleet(image, fleet);
        assert_int_equal(count_updated(&rollout, fleet, START - 1), 0);
        for (unsigned percent = 0; percent <= 100; percent += 5)
            expect_about(count_updated(&rollout, fleet, START + UINT64_C(3600) * percent), percent);
        assert_int_equal(count_updated(&rollout, fleet, START + rollout.duration_s), FLEET);
    }
    /* Chance is what it is: of 10,000 devices, half a percent is one standard deviation at half time. */
    for (unsigned image = 5; image < 25; image++) {
        place_fleet(image, fleet);
        expect_within(count_updated(&rollout, fleet, START + rollout.duration_s / 2), 50, 2);
    }
}

static void test_a_share_stops_there_and_grows_by_the_same_devices(void **state)
{
    struct manifest_rollout rollout = {.present = true, .start_s = START, .duration_s = UINT64_C(100) * 3600};
    static uint32_t fleet[FLEET];
    uint64_t turn_s;

    place_fleet(0, fleet);
    for (rollout.percent = 0; rollout.percent <= 100; rollout.percent += 20) {
        /* The curve is the same up to there. */
        unsigned half = rollout.percent / 2;
        expect_about(count_updated(&rollout, fleet, START + UINT64_C(3600) * half), half);
        expect_about(count_updated(&rollout, fleet, START + UINT64_C(3600) * rollout.percent),
                     rollout.percent);
        expect_about(count_updated(&rollout, fleet, START + 1000000), rollout.percent);
    }
    for (unsigned i = 0; i < FLEET; i++) {
        bool before = false;
        for (rollout.percent = 0; rollout.percent <= 100; rollout.percent += 10) {
            bool in = rollout_judge(&rollout, 0, fleet[i], START + 1000000, &turn_s) == ROLLOUT_ANSWER_NOW;
            assert_true(in || !before);
            before = in;
        }
        assert_true(before);
    }
}

static void test_each_release_has_another_order(void **state)
{
    uint8_t first[DIGEST_SHA256_SIZE], second[DIGEST_SHA256_SIZE];
    unsigned both = 0;

    make_image(1, first);
    make_image(2, second);
    for (unsigned i = 0; i < FLEET; i++)
        both += position_of(i, first) < UINT32_MAX / 10 && position_of(i, second) < UINT32_MAX / 10;
    /* Of the first tenth of one, about a tenth is in the first tenth of the other. */
    expect_about(both, 1);
}

static void test_the_layout_is_the_published_one(void **state)
{
    /* printf 'moonsinter rollout 1\nMACHINE_ID\nSHA256\n' | sha256sum | cut -c 1-8 */
    uint8_t image[DIGEST_SHA256_SIZE];

    assert_int_equal(
        digest_sha256_from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", image), 0);
    assert_int_equal(rollout_position("0123456789abcdef0123456789abcdef", image), UINT32_C(0x7499124c));
}

static void test_machine_ids(void **state)
{
    static const char *const bad[] = {"",
                                      "uninitialized",
                                      "0123456789abcdef0123456789abcde",
                                      "0123456789abcdef0123456789abcdef0",
                                      "0123456789ABCDEF0123456789ABCDEF",
                                      "0123456789abcdef0123456789abcdeg",
                                      "01234567-89ab-cdef-0123-456789ab",
                                      "00000000000000000000000000000000"};

    assert_true(rollout_is_machine_id("0123456789abcdef0123456789abcdef"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(rollout_is_machine_id(bad[i]));
}

static void expect(struct manifest_rollout rollout, uint64_t created_s, uint32_t position, uint64_t now_s,
                   enum rollout_answer answer, uint64_t turn_s)
{
    uint64_t told_s = 0;
    enum rollout_answer told = rollout_judge(&rollout, created_s, position, now_s, &told_s);

    if (told != answer || told_s != turn_s)
        fail_msg("%d at %" PRIu64 " instead of %d at %" PRIu64, (int)told, told_s, (int)answer, turn_s);
}

static void test_answers(void **state)
{
    const struct manifest_rollout all = {.present = true, .percent = 100};
    struct manifest_rollout rollout = {.percent = 0, .hold = true, .duration_s = 5};

    expect(rollout, 0, 0, 0, ROLLOUT_ANSWER_NOW, 0); /* none at all */
    expect(all, 1000, UINT32_MAX, 0, ROLLOUT_ANSWER_NOW, 0);
    rollout = all;
    rollout.hold = true;
    expect(rollout, 1000, 0, 5000, ROLLOUT_ANSWER_HOLD, 0);

    /* Shares begin at 0 and exclude their end. */
    rollout = all;
    rollout.percent = 0;
    expect(rollout, 0, 0, 5000, ROLLOUT_ANSWER_EXCLUDED, 0);
    rollout.percent = 50;
    expect(rollout, 0, UINT32_C(0x7fffffff), 5000, ROLLOUT_ANSWER_NOW, 0);
    expect(rollout, 0, UINT32_C(0x80000000), 5000, ROLLOUT_ANSWER_EXCLUDED, 0);

    rollout = all;
    rollout.start_s = 1000;
    expect(rollout, 0, 5, 999, ROLLOUT_ANSWER_LATER, 1000);
    expect(rollout, 0, 5, 1000, ROLLOUT_ANSWER_NOW, 0);
    rollout.duration_s = 100;
    expect(rollout, 0, UINT32_C(0x80000000), 1049, ROLLOUT_ANSWER_LATER, 1050);
    expect(rollout, 0, UINT32_C(0x80000000), 1050, ROLLOUT_ANSWER_NOW, 0);
    expect(rollout, 0, UINT32_MAX, 1000, ROLLOUT_ANSWER_LATER, 1099);

    /* Without a start it is the release's time; and a clock before that one is wrong. */
    rollout.start_s = 0;
    expect(rollout, 2000, UINT32_C(0x80000000), 2049, ROLLOUT_ANSWER_LATER, 2050);
    expect(rollout, 2000, 0, 2000, ROLLOUT_ANSWER_NOW, 0);
    expect(rollout, 2000, 0, 1999, ROLLOUT_ANSWER_NO_CLOCK, 0);
    rollout.start_s = 500;
    expect(rollout, 2000, 0, 1999, ROLLOUT_ANSWER_NO_CLOCK, 0);
    /* A device that is excluded at any time is told so even then. */
    rollout.percent = 10;
    expect(rollout, 2000, UINT32_MAX, 1999, ROLLOUT_ANSWER_EXCLUDED, 0);

    /* The largest of everything. */
    rollout = (struct manifest_rollout){.present = true,
                                        .percent = 100,
                                        .start_s = UINT64_C(253402300799),
                                        .duration_s = MANIFEST_ROLLOUT_DURATION_MAX};
    expect(rollout, 0, UINT32_MAX, 0, ROLLOUT_ANSWER_LATER,
           UINT64_C(253402300799) + ((UINT64_C(0xffffffff) * UINT32_MAX) >> 32));
}

static void test_what_needs_a_place(void **state)
{
    struct manifest_rollout rollout = {.present = true, .percent = 100, .start_s = 5};

    assert_false(rollout_needs_position(&rollout));
    rollout.duration_s = 1;
    assert_true(rollout_needs_position(&rollout));
    rollout.hold = true;
    assert_false(rollout_needs_position(&rollout));
    rollout = (struct manifest_rollout){.present = true, .percent = 99};
    assert_true(rollout_needs_position(&rollout));
    rollout.present = false;
    assert_false(rollout_needs_position(&rollout));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_thousand_devices_follow_the_curve),
        cmocka_unit_test(test_a_share_stops_there_and_grows_by_the_same_devices),
        cmocka_unit_test(test_each_release_has_another_order),
        cmocka_unit_test(test_the_layout_is_the_published_one),
        cmocka_unit_test(test_machine_ids),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_what_needs_a_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
