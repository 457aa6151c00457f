/* SPDX-License-Identifier: MIT */
#include "daemon/decide/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A release that nothing speaks against. */
static struct policy_input welcome(void)
{
    return (struct policy_input){
        .mode = POLICY_MODE_INSTALL,
        .now_s = 1000,
        .running_known = true,
        .running_good = true,
        .slot_bytes = 500,
        .image_bytes = 500,
    };
}

static bool blocks(const struct policy_verdict *verdict, const char *what)
{
    for (size_t i = 0; i < verdict->count; i++)
        if (strcmp(verdict->blocks[i].what, what) == 0)
            return strlen(verdict->blocks[i].why) > 10;
    return false;
}

/* Exactly this rule objects; with NULL none does. */
static void expect(const struct policy_input *input, const char *what)
{
    struct policy_verdict verdict;

    policy_judge_install(input, &verdict);
    if (what) {
        assert_int_equal(verdict.count, 1);
        assert_true(blocks(&verdict, what));
    } else if (verdict.count) {
        fail_msg("%s: %s", verdict.blocks[0].what, verdict.blocks[0].why);
    }
}

static void test_each_rule_alone(void **state)
{
    struct policy_input input = welcome();

    expect(&input, NULL);
    input = welcome();
    input.running_known = false;
    expect(&input, "running-slot-unknown");
    input = welcome();
    input.running_good = false;
    expect(&input, "running-slot-not-good");
    input = welcome();
    input.storage_why = "it is a tmpfs";
    expect(&input, "state-not-shared");
    input = welcome();
    input.mode = POLICY_MODE_CHECK;
    expect(&input, "mode");
    input = welcome();
    input.failed_why = "its health checks failed";
    expect(&input, "failed-before");
    input = welcome();
    input.cancelled = true;
    expect(&input, "cancelled");
    input = welcome();
    input.image_bytes = 501;
    expect(&input, "slot-too-small");
    struct policy_verdict verdict;
    policy_judge_install(&input, &verdict);
    assert_true(policy_verdict_has(&verdict, "slot-too-small"));
    assert_false(policy_verdict_has(&verdict, "mode"));
    input = welcome();
    input.is_empty = true;
    expect(&input, "empty-image");
    input = welcome();
    input.name_why = "two disks bear the name of slot b";
    expect(&input, "slot-name");
    input.operator_asked = true;
    expect(&input, "slot-name");
    input = welcome();
    input.part_unknown = "boot";
    expect(&input, "part-unknown");
    input.operator_asked = true;
    expect(&input, "part-unknown");
    for (int how = POLICY_MISSING_REFUSED; how <= POLICY_MISSING_OF_ONE_SLOT; how++) {
        input = welcome();
        input.part_missing = "boot";
        input.part_missing_how = (enum policy_missing)how;
        expect(&input, "part-missing");
        input.operator_asked = true;
        expect(&input, "part-missing");
        policy_judge_install(&input, &verdict);
        assert_non_null(strstr(verdict.blocks[0].why, "part boot"));
    }
    input = welcome();
    input.parts_why = "the loader started the boot part of slot b";
    expect(&input, "parts-mixed");
    input.operator_asked = true;
    expect(&input, "parts-mixed");
    policy_judge_release(&input, &verdict);
    assert_true(policy_verdict_has(&verdict, "parts-mixed") && !policy_verdict_refuses(&verdict));
    input = welcome();
    strcpy(input.room_why, "the part boot has no room");
    expect(&input, "slot-too-small");
    input = welcome();
    input.keys_why = "others may write the keys";
    expect(&input, "unsafe-keys");
    input.operator_asked = true;
    expect(&input, "unsafe-keys");
    input = welcome();
    input.slot_bytes = 0;
    expect(&input, NULL);
    input = welcome();
    input.expires_s = 1000;
    expect(&input, "expired");
    input = welcome();
    input.expires_s = 1001;
    expect(&input, NULL);
}

static void test_rollout(void **state)
{
    struct policy_input input = welcome();
    struct policy_verdict verdict;

    input.rollout = (struct manifest_rollout){.present = true, .percent = 100};
    expect(&input, NULL);
    input.rollout.hold = true;
    expect(&input, "rollout");
    input.rollout = (struct manifest_rollout){.present = true, .percent = 50};
    input.rollout_position = UINT32_C(0x80000000);
    expect(&input, "rollout");
    input.rollout_position--;
    expect(&input, NULL);

    input.rollout =
        (struct manifest_rollout){.present = true, .percent = 100, .start_s = 990, .duration_s = 21};
    policy_judge_install(&input, &verdict);
    assert_int_equal(verdict.count, 0);
    input.rollout.duration_s = 40;
    policy_judge_install(&input, &verdict);
    assert_int_equal(verdict.count, 1);
    assert_int_equal(verdict.blocks[0].until_s, 990 + 19);
    assert_non_null(strstr(verdict.blocks[0].why, "comes at 1970-01-01T00:16:49Z"));
    input.created_s = 1001;
    policy_judge_install(&input, &verdict);
    assert_non_null(strstr(verdict.blocks[0].why, "before 1970-01-01T00:16:41Z"));
    input.created_s = 0;

    /* A machine without an id has no turn, but needs none where all have the same. */
    input.rollout_why = "there is no machine-id";
    policy_judge_install(&input, &verdict);
    assert_non_null(strstr(verdict.blocks[0].why, "there is no machine-id"));
    input.rollout = (struct manifest_rollout){.present = true, .percent = 100, .start_s = 990};
    expect(&input, NULL);

    /* An operator asks for this one device. */
    input.operator_asked = true;
    input.rollout = (struct manifest_rollout){.present = true, .hold = true};
    expect(&input, NULL);
    input.rollout.hold = false;
    expect(&input, NULL);
}

static void test_compatible(void **state)
{
    struct policy_input input = welcome();

    input.release_compatible = "board-1";
    expect(&input, NULL);
    input.compatible = "board-1";
    expect(&input, NULL);
    input.compatible = "board-2";
    expect(&input, "compatible");
    input.release_compatible = NULL;
    expect(&input, "compatible");
    input.compatible = "";
    expect(&input, NULL);
}

static void test_serial_floor(void **state)
{
    struct policy_input input = welcome();

    input.has_floor = true;
    input.floor_serial = 7;
    expect(&input, "downgrade");
    input.has_serial = true;
    input.serial = 6;
    expect(&input, "downgrade");
    input.serial = 7;
    expect(&input, NULL);
    input.serial = 6;
    input.allow_downgrade = true;
    expect(&input, NULL);
}

/* A replay of what was published before it does not keep a fix from its boot. */
static void test_serial_of_what_is_armed(void **state)
{
    struct policy_input input = welcome();
    struct policy_verdict verdict;

    input.has_floor = true;
    input.floor_serial = 5;
    input.has_serial = true;
    input.serial = 6;
    input.has_armed_serial = true;
    input.armed_serial = 7;
    input.operator_asked = true;
    expect(&input, "downgrade");
    input.serial = 7;
    expect(&input, NULL);
    input.has_serial = input.has_floor = false;
    expect(&input, "downgrade");
    input.allow_downgrade = true;
    expect(&input, NULL);

    /* What is against the release itself, and nothing else. */
    input = welcome();
    input.mode = POLICY_MODE_CHECK;
    input.running_good = false;
    policy_judge_release(&input, &verdict);
    assert_int_equal(verdict.count, 0);
    policy_judge_install(&input, &verdict);
    assert_false(policy_verdict_refuses(&verdict));
    input.has_armed_serial = true;
    input.compatible = "board-1";
    input.expires_s = 1000;
    policy_judge_release(&input, &verdict);
    assert_int_equal(verdict.count, 3);
    assert_true(blocks(&verdict, "compatible") && blocks(&verdict, "downgrade") &&
                blocks(&verdict, "expired"));
    assert_true(policy_verdict_refuses(&verdict));
}

static void test_byte_budget_needs_the_plan(void **state)
{
    struct policy_input input = welcome();

    assert_false(policy_needs_plan(&input));
    input.max_bytes = 100;
    assert_true(policy_needs_plan(&input));
    expect(&input, NULL);
    input.planned = true;
    input.plan_bytes = 101;
    assert_false(policy_needs_plan(&input));
    expect(&input, "max-bytes");
    input.plan_bytes = 100;
    expect(&input, NULL);
}

static void test_an_operator_overrides_memory_but_not_safety(void **state)
{
    struct policy_input input = welcome();
    struct policy_verdict verdict;

    input.operator_asked = true;
    input.mode = POLICY_MODE_CHECK;
    input.cancelled = true;
    input.failed_why = "it failed";
    expect(&input, NULL);
    input.running_good = false;
    input.storage_why = "tmpfs";
    input.has_floor = true;
    policy_judge_install(&input, &verdict);
    assert_int_equal(verdict.count, 3);
    assert_true(blocks(&verdict, "running-slot-not-good"));
    assert_true(blocks(&verdict, "state-not-shared"));
    assert_true(blocks(&verdict, "downgrade"));
}

static void test_reboot(void **state)
{
    struct policy_input input = welcome();
    struct policy_verdict verdict;

    input.can_fall_back = true;
    assert_false(policy_wants_reboot(&input));
    input.mode = POLICY_MODE_REBOOT;
    assert_true(policy_wants_reboot(&input));
    policy_judge_reboot(&input, &verdict);
    assert_int_equal(verdict.count, 0);
    input.can_fall_back = false;
    policy_judge_reboot(&input, &verdict);
    assert_true(verdict.count == 1 && blocks(&verdict, "no-fallback"));
    input.allow_no_fallback = true;
    policy_judge_reboot(&input, &verdict);
    assert_int_equal(verdict.count, 0);
    /* What was given up boots next: not gone to on its own, and told also where others make the reboot. */
    input.next_invalid = true;
    policy_judge_reboot(&input, &verdict);
    assert_true(verdict.count == 1 && blocks(&verdict, "next-slot-invalid"));
    input.mode = POLICY_MODE_INSTALL;
    policy_judge_reboot(&input, &verdict);
    assert_true(verdict.count == 1 && blocks(&verdict, "next-slot-invalid"));
    input.mode = POLICY_MODE_REBOOT;
    input.falling_back = true;
    policy_judge_reboot(&input, &verdict);
    assert_int_equal(verdict.count, 0);
}

/* It lacks our script, say: rebooted on and on, the machine would be good for nothing. */
static void test_a_loader_that_starts_the_same_slot_again(void **state)
{
    struct policy_input input = welcome();
    struct policy_verdict verdict;

    input.mode = POLICY_MODE_REBOOT;
    input.can_fall_back = true;
    input.reboots_in_vain = 2;
    policy_judge_reboot(&input, &verdict);
    assert_int_equal(verdict.count, 0);
    input.reboots_in_vain = 3;
    policy_judge_reboot(&input, &verdict);
    assert_true(verdict.count == 1 && blocks(&verdict, "loader-stays"));
    assert_non_null(strstr(verdict.blocks[0].why, "3 times"));
    input.falling_back = true;
    policy_judge_reboot(&input, &verdict);
    assert_true(verdict.count == 1 && blocks(&verdict, "loader-stays"));
    input.mode = POLICY_MODE_INSTALL;
    policy_judge_reboot(&input, &verdict);
    assert_int_equal(verdict.count, 0);
}

/* A Raspberry Pi's tryboot: whoever reboots has to know what the firmware is to be told. */
static void test_a_reboot_that_needs_an_argument(void **state)
{
    struct policy_input input = welcome();
    struct policy_verdict verdict;

    input.can_fall_back = true;
    input.reboot_argument = "0 tryboot";
    policy_judge_reboot(&input, &verdict);
    assert_true(verdict.count == 1 && blocks(&verdict, "reboot-argument"));
    assert_non_null(strstr(verdict.blocks[0].why, "moonsinter reboot"));
    assert_non_null(strstr(verdict.blocks[0].why, "systemctl reboot --reboot-argument=\"0 tryboot\""));
    assert_int_equal(verdict.blocks[0].until_s, 0);
    input.mode = POLICY_MODE_REBOOT;
    policy_judge_reboot(&input, &verdict);
    assert_int_equal(verdict.count, 0);
}

static void test_a_window_holds_what_can_wait(void **state)
{
    /* Thursdays from 02:00; the epoch was one. */
    const struct config_window window = {.days = 1u << 3, .begin_min = 120, .end_min = 240};
    struct policy_input input = welcome();
    struct policy_verdict verdict;

    setenv("TZ", "UTC0", 1);
    input.mode = POLICY_MODE_REBOOT;
    input.can_fall_back = true;
    input.windows = &window;
    input.window_count = 1;
    policy_judge_reboot(&input, &verdict);
    assert_true(verdict.count == 1 && blocks(&verdict, "reboot-window"));
    assert_int_equal(verdict.blocks[0].until_s, 7200);
    assert_non_null(strstr(verdict.blocks[0].why, "Thu 02:00"));
    input.now_s = 7200;
    policy_judge_reboot(&input, &verdict);
    assert_int_equal(verdict.count, 0);
    input.now_s = 14400;
    policy_judge_reboot(&input, &verdict);
    assert_true(verdict.count == 1 && verdict.blocks[0].until_s == 7 * 86400 + 7200);

    /* Its clock was not set yet. */
    struct policy_input early = input;
    early.now_s = 7200;
    early.built_s = 7201;
    policy_judge_reboot(&early, &verdict);
    assert_true(verdict.count == 1 && blocks(&verdict, "reboot-window"));
    assert_non_null(strstr(verdict.blocks[0].why, "1970-01-01T02:00:00Z, which cannot be"));
    assert_int_equal(verdict.blocks[0].until_s, 0);

    struct policy_input asked = input, falling = input, others = input;
    asked.operator_asked = true;
    policy_judge_reboot(&asked, &verdict);
    assert_int_equal(verdict.count, 0);
    falling.falling_back = true;
    policy_judge_reboot(&falling, &verdict);
    assert_int_equal(verdict.count, 0);
    others.mode = POLICY_MODE_INSTALL;
    policy_judge_reboot(&others, &verdict);
    assert_int_equal(verdict.count, 0);
}

static void test_verdicts_are_compared_as_they_read(void **state)
{
    struct policy_verdict a = {.count = 0}, b = {.count = 0};

    assert_true(policy_verdict_is_same(&a, &b));
    policy_add_block(&a, "target", "the target is in use");
    assert_false(policy_verdict_is_same(&a, &b));
    policy_add_block(&b, "target", "the target is in use by somebody");
    assert_false(policy_verdict_is_same(&a, &b));
    b = a;
    assert_true(policy_verdict_is_same(&a, &b));
    b.blocks[0].until_s = 5;
    assert_false(policy_verdict_is_same(&a, &b));
}

static void test_what_was_found_elsewhere_is_the_only_reason(void **state)
{
    struct policy_input input = welcome();
    struct policy_verdict verdict, rule;

    input.running_good = false;
    input.mode = POLICY_MODE_CHECK;
    policy_judge_install(&input, &verdict);
    assert_int_equal(verdict.count, 2);
    policy_hold(&verdict, "target", "the target is in use");
    assert_int_equal(verdict.count, 1);
    assert_string_equal(verdict.blocks[0].what, "target");
    assert_string_equal(verdict.blocks[0].why, "the target is in use");
    assert_true(verdict.blocks[0].elsewhere);

    /* The rule that holds it from then on says nothing else. */
    input = welcome();
    input.cancelled = true;
    policy_judge_install(&input, &rule);
    policy_hold_cancelled(&verdict);
    assert_true(policy_verdict_is_same(&verdict, &rule));
    assert_true(verdict.blocks[0].elsewhere && !rule.blocks[0].elsewhere);
}

static void test_the_first_of_the_reasons_that_ends(void **state)
{
    struct policy_verdict verdict = {.count = 0};

    assert_true(policy_verdict_wait_ms(&verdict, 1000) == UINT64_MAX / 2);
    verdict = (struct policy_verdict){
        .blocks = {{.until_s = 999}, {.until_s = 0}, {.until_s = 1090}, {.until_s = 1060}, {.until_s = 1070}},
        .count = 2};
    assert_true(policy_verdict_wait_ms(&verdict, 1000) == UINT64_MAX / 2);
    verdict.count = 5;
    assert_int_equal(policy_verdict_wait_ms(&verdict, 1000), 60 * 1000);
    verdict.blocks[0].until_s = UINT64_MAX;
    verdict.count = 1;
    assert_true(policy_verdict_wait_ms(&verdict, 1000) == UINT64_MAX / 2);
}

static void test_added_reasons_are_bounded(void **state)
{
    struct policy_verdict verdict = {.count = 0};

    for (int i = 0; i < 100; i++)
        policy_add_block(&verdict, "target", "the target is in use by another program");
    assert_int_equal(verdict.count, POLICY_BLOCKS_MAX);
}

/* A clock in 1970 does not bring back what is known to be over, and one in 2099 does not end for good what is
 * not. */
static void test_time_does_not_go_back(void **state)
{
    struct policy_input input = welcome();
    struct policy_verdict verdict;

    input.now_s = 1000;
    input.expires_s = 5000;
    input.floor_s = 4999;
    expect(&input, NULL);
    input.floor_s = 5000;
    expect(&input, "expired");
    policy_judge_install(&input, &verdict);
    assert_true(verdict.blocks[0].refuses);
    assert_non_null(strstr(verdict.blocks[0].why, "1970-01-01T01:23:20Z or later"));
    input.floor_s = 0;
    input.now_s = 5000;
    expect(&input, "expired");
    policy_judge_install(&input, &verdict);
    assert_non_null(strstr(verdict.blocks[0].why, "clock"));
    input.now_s = 4999;
    expect(&input, NULL);
    /* What only has to wait is no refusal. */
    input.running_good = false;
    policy_judge_install(&input, &verdict);
    assert_true(verdict.count == 1 && !verdict.blocks[0].refuses);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_rule_alone),
        cmocka_unit_test(test_rollout),
        cmocka_unit_test(test_compatible),
        cmocka_unit_test(test_serial_floor),
        cmocka_unit_test(test_serial_of_what_is_armed),
        cmocka_unit_test(test_byte_budget_needs_the_plan),
        cmocka_unit_test(test_an_operator_overrides_memory_but_not_safety),
        cmocka_unit_test(test_reboot),
        cmocka_unit_test(test_a_loader_that_starts_the_same_slot_again),
        cmocka_unit_test(test_a_reboot_that_needs_an_argument),
        cmocka_unit_test(test_a_window_holds_what_can_wait),
        cmocka_unit_test(test_verdicts_are_compared_as_they_read),
        cmocka_unit_test(test_what_was_found_elsewhere_is_the_only_reason),
        cmocka_unit_test(test_the_first_of_the_reasons_that_ends),
        cmocka_unit_test(test_added_reasons_are_bounded),
        cmocka_unit_test(test_time_does_not_go_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
