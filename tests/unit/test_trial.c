/* SPDX-License-Identifier: MIT */
/* The table of a trial's rules, cell by cell; test_trial_lives.c plays whole lives of machines on it. */
#include "daemon/decide/trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/alloc.h"

static const char this_boot[] = "11111111-1111-1111-1111-111111111111";
static const char boot_before[] = "22222222-2222-2222-2222-222222222222";

static struct record_release release_of(const char *version, char digit)
{
    struct record_release release = {0};

    snprintf(release.version, sizeof(release.version), "%s", version);
    memset(release.sha256, digit, sizeof(release.sha256) - 1);
    return release;
}

/* What is looked at in a case; what is not named is zero, and so has to be what comes of it. */
struct scene {
    enum record_stage stage;
    enum slot slot; /* of the trial */
    unsigned arms, starts, reboots;
    bool reboot_asked;
    const char *boot_id, *reboot_boot_id;
};

/* A good release 1.0 in slot A and 2.0 in slot B. */
static struct record *record_of(const struct scene *scene)
{
    struct record *record = alloc_zeroed(sizeof(*record));

    record_init(record);
    record->slots[SLOT_A] =
        (struct record_slot){.state = BOOT_HEALTH_GOOD, .release = release_of("1.0", '1')};
    record->slots[SLOT_B] =
        (struct record_slot){.state = BOOT_HEALTH_TRIAL, .release = release_of("2.0", '2')};
    record->trial.stage = scene->stage;
    record->trial.slot = scene->stage == RECORD_STAGE_NONE && scene->slot == SLOT_A ? SLOT_NONE : scene->slot;
    if (record->trial.slot != SLOT_NONE)
        record->trial.release = record->slots[record->trial.slot].release;
    record->trial.arms = scene->arms;
    record->trial.starts = scene->starts;
    record->trial.reboots = scene->reboots;
    record->trial.reboot_asked = scene->reboot_asked;
    snprintf(record->trial.boot_id, sizeof(record->trial.boot_id), "%s",
             scene->boot_id ? scene->boot_id : "");
    snprintf(record->trial.reboot_boot_id, sizeof(record->trial.reboot_boot_id), "%s",
             scene->reboot_boot_id ? scene->reboot_boot_id : "");
    return record;
}

static struct trial_machine machine_of(enum slot running, enum slot next, enum slot trial)
{
    return (struct trial_machine){
        .running = running, .next = next, .trial = trial, .boot_id = this_boot, .now_s = 1000};
}

static struct trial_outcome step(struct record *record, const struct trial_machine *machine,
                                 const struct trial_event *event)
{
    struct trial_outcome outcome;

    trial_step(record, machine, event, &outcome);
    return outcome;
}

static struct trial_outcome start(struct record *record, const struct trial_machine *machine)
{
    return step(record, machine, &(struct trial_event){.kind = trial_start_kind(machine)});
}

/* Every stage answers every event, whoever runs and whatever the loader says, and what comes of it can be
 * saved. */
static void test_every_cell(void **state)
{
    struct record_release release = release_of("3.0", '3');
    size_t cells = 0;

    for (int i = 0; i < TRIAL_EVENT_COUNT * RECORD_STAGE_COUNT * 2 * 3 * 3; i++) {
        enum trial_event_kind kind = (enum trial_event_kind)(i % TRIAL_EVENT_COUNT);
        int rest = i / TRIAL_EVENT_COUNT;
        enum record_stage stage = (enum record_stage)(rest % RECORD_STAGE_COUNT);
        rest /= RECORD_STAGE_COUNT;
        static const enum slot choices[] = {SLOT_A, SLOT_B, SLOT_NONE};
        struct trial_machine machine =
            machine_of(choices[rest % 2], choices[rest / 2 % 3], choices[rest / 6]);
        CLEANUP_FREE struct record *record = record_of(&(struct scene){stage, SLOT_B, .arms = 1});
        struct trial_event event = {.kind = kind,
                                    .slot = slot_other(machine.running),
                                    .release = &release,
                                    .reason = "a reason",
                                    .leaves = true};
        bool starts = kind <= TRIAL_EVENT_STARTED_SELECTED;

        if (starts && kind != trial_start_kind(&machine))
            continue;
        struct trial_outcome outcome = step(record, &machine, &event);
        assert_int_equal(outcome.start != TRIAL_START_NONE, starts);
        assert_true(record->trial.stage == RECORD_STAGE_NONE || record->trial.slot != SLOT_NONE);
        CLEANUP_FREE char *text = record_format(record);
        CLEANUP_FREE struct record *back = alloc_zeroed(sizeof(*back));
        assert_true(record_parse(text, strlen(text), back, NULL));
        assert_int_equal(back->trial.stage, record->trial.stage);
        cells++;
    }
    assert_true(cells > 1000);
}

/* --- starts --- */

static void test_a_good_slot_stays_good(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){0});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_A, SLOT_NONE);
    struct trial_outcome outcome = start(record, &machine);

    assert_int_equal(outcome.start, TRIAL_START_GOOD);
    assert_int_equal(record->history_count, 0);
}

static void test_a_trial_begins_and_is_marked_good(void **state)
{
    CLEANUP_FREE struct record *record =
        record_of(&(struct scene){RECORD_STAGE_ARMED, SLOT_B, .arms = 1, .reboots = 1, .reboot_asked = true});
    struct trial_machine machine = machine_of(SLOT_B, SLOT_B, SLOT_B);

    record->slots[SLOT_B].state = BOOT_HEALTH_UNKNOWN;
    assert_int_equal(start(record, &machine).start, TRIAL_START_TRIAL);
    assert_int_equal(record->slots[SLOT_B].state, BOOT_HEALTH_TRIAL);
    assert_int_equal(record->trial.stage, RECORD_STAGE_BOOTED);
    assert_int_equal(record->trial.starts, 1);
    assert_int_equal(record->trial.reboots, 0);
    assert_false(record->trial.reboot_asked);
    assert_string_equal(record->trial.boot_id, this_boot);

    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_MARKED_GOOD});
    assert_int_equal(record->trial.stage, RECORD_STAGE_NONE);
    assert_int_equal(record->slots[SLOT_B].state, BOOT_HEALTH_GOOD);
    assert_int_equal(record->history_count, 1);
    assert_int_equal(record->history[0].result, RECORD_RESULT_GOOD);
    assert_string_equal(record->history[0].from, "1.0");
    assert_string_equal(record->history[0].to, "2.0");
}

/* An operator armed it, or the record was lost: it counts as armed once, so that one more try is left. */
static void test_a_trial_that_the_record_does_not_know(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){0});
    struct trial_machine machine = machine_of(SLOT_B, SLOT_A, SLOT_B);

    assert_int_equal(start(record, &machine).start, TRIAL_START_TRIAL);
    assert_int_equal(record->trial.slot, SLOT_B);
    assert_int_equal(record->trial.arms, 1);
    assert_string_equal(record->trial.release.version, "2.0");
}

/* Whatever the record says of another slot's trial does not count for this one's. */
static void test_a_trial_after_another_slots(void **state)
{
    CLEANUP_FREE struct record *record =
        record_of(&(struct scene){RECORD_STAGE_BOOTED, SLOT_A, .arms = 2, .starts = 3, .boot_id = this_boot});
    struct trial_machine machine = machine_of(SLOT_B, SLOT_A, SLOT_B);

    start(record, &machine);
    assert_int_equal(record->trial.slot, SLOT_B);
    assert_int_equal(record->trial.starts, 1);
}

static void test_starts_in_one_boot_are_counted(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){RECORD_STAGE_ARMED, SLOT_B, .arms = 1});
    struct trial_machine machine = machine_of(SLOT_B, SLOT_B, SLOT_B);

    for (unsigned i = 1; i <= 3; i++) {
        start(record, &machine);
        assert_int_equal(record->trial.starts, i);
        assert_false(trial_restarted_too_often(record));
    }
    /* An end in order takes its start back, */
    assert_true(step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_ENDED}).has_changed);
    start(record, &machine);
    assert_false(trial_restarted_too_often(record));
    /* one that was none does not, */
    start(record, &machine);
    assert_true(trial_restarted_too_often(record));
    /* and another boot begins anew. */
    machine.boot_id = boot_before;
    start(record, &machine);
    assert_int_equal(record->trial.starts, 1);
    assert_false(trial_restarted_too_often(record));
}

static void test_no_start_is_taken_back_twice(void **state)
{
    CLEANUP_FREE struct record *record =
        record_of(&(struct scene){RECORD_STAGE_BOOTED, SLOT_B, .boot_id = this_boot});
    struct trial_machine machine = machine_of(SLOT_B, SLOT_B, SLOT_B);

    assert_false(step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_ENDED}).has_changed);
    assert_int_equal(record->trial.starts, 0);
}

static void test_each_start_is_a_boot_in_place(void **state)
{
    CLEANUP_FREE struct record *record =
        record_of(&(struct scene){RECORD_STAGE_BOOTED, SLOT_B, .arms = 1, .starts = 3, .boot_id = this_boot});
    struct trial_machine machine = machine_of(SLOT_B, SLOT_B, SLOT_B);

    machine.in_place_reboot = true;
    start(record, &machine);
    assert_int_equal(record->trial.starts, 1);
}

/* A kernel that tells no boot id: boots cannot be told apart, so no start counts against the trial. */
static void test_without_a_boot_id(void **state)
{
    CLEANUP_FREE struct record *record =
        record_of(&(struct scene){RECORD_STAGE_BOOTED, SLOT_B, .arms = 1, .starts = 3});
    struct trial_machine machine = machine_of(SLOT_B, SLOT_B, SLOT_B);

    machine.boot_id = "";
    start(record, &machine);
    assert_int_equal(record->trial.starts, 1);
}

/* --- what a start finds --- */

struct ending {
    struct scene scene;
    bool loader_tries_again;
    const char *argument;
    enum slot loaders_trial; /* SLOT_A = none */
    /* What comes of it, with slot A running and selected: */
    bool failed, second_try, told;
    unsigned arms;
    enum boot_health state;
};

static const struct ending endings[] = {
    /* One try: it is armed once more, and then it failed. */
    {{RECORD_STAGE_ARMED, SLOT_B, .arms = 1}, false, NULL, SLOT_A, false, true, true, 1, BOOT_HEALTH_BAD},
    {{RECORD_STAGE_ARMED, SLOT_B, .arms = 2}, false, NULL, SLOT_A, true, false, true, 0, BOOT_HEALTH_BAD},
    {{RECORD_STAGE_BOOTED, SLOT_B, .arms = 1}, false, NULL, SLOT_A, false, true, true, 1, BOOT_HEALTH_BAD},
    {{RECORD_STAGE_BOOTED, SLOT_B, .arms = 2}, false, NULL, SLOT_A, true, false, true, 0, BOOT_HEALTH_BAD},
    /* Several tries, all used by the loader. */
    {{RECORD_STAGE_ARMED, SLOT_B, .arms = 1}, true, NULL, SLOT_B, true, false, true, 0, BOOT_HEALTH_BAD},
    {{RECORD_STAGE_BOOTED, SLOT_B, .arms = 1}, true, NULL, SLOT_B, true, false, true, 0, BOOT_HEALTH_BAD},
    /* The firmware has to be told, and was not: no try. */
    {{RECORD_STAGE_ARMED, SLOT_B, .arms = 1},
     false,
     "0 tryboot",
     SLOT_B,
     false,
     false,
     true,
     0,
     BOOT_HEALTH_UNKNOWN},
    {{RECORD_STAGE_ARMED, SLOT_B, .arms = 2},
     false,
     "0 tryboot",
     SLOT_B,
     false,
     false,
     true,
     1,
     BOOT_HEALTH_UNKNOWN},
    {{RECORD_STAGE_ARMED, SLOT_B, .arms = 1, .reboot_asked = true},
     false,
     "0 tryboot",
     SLOT_B,
     false,
     true,
     true,
     1,
     BOOT_HEALTH_BAD},
    /* It was not armed, as far as can be seen: no try; a loader that counts shows that it was. */
    {{RECORD_STAGE_ARMING, SLOT_B, .arms = 1},
     false,
     NULL,
     SLOT_A,
     false,
     false,
     false,
     0,
     BOOT_HEALTH_UNKNOWN},
    {{RECORD_STAGE_ARMING, SLOT_B, .arms = 2},
     false,
     NULL,
     SLOT_A,
     false,
     false,
     false,
     1,
     BOOT_HEALTH_UNKNOWN},
    {{RECORD_STAGE_ARMING, SLOT_B, .arms = 1}, true, NULL, SLOT_B, true, false, true, 0, BOOT_HEALTH_BAD},
    /* We left it, and said so then. */
    {{RECORD_STAGE_REJECTED, SLOT_B, .arms = 0},
     true,
     NULL,
     SLOT_A,
     false,
     false,
     false,
     0,
     BOOT_HEALTH_TRIAL},
};

static void test_a_trial_that_ended_without_us(void **state)
{
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        const struct ending *ending = &endings[i];
        CLEANUP_FREE struct record *record = record_of(&ending->scene);
        struct trial_machine machine =
            machine_of(SLOT_A, SLOT_A, ending->loaders_trial == SLOT_A ? SLOT_NONE : ending->loaders_trial);

        machine.loader_tries_again = ending->loader_tries_again;
        machine.reboot_argument = ending->argument;
        struct trial_outcome outcome = start(record, &machine);
        assert_int_equal(outcome.start, TRIAL_START_GOOD);
        assert_int_equal(record_find_failed(record, &record->slots[SLOT_B].release) != NULL, ending->failed);
        assert_int_equal(outcome.second_try, ending->second_try);
        assert_int_equal(*outcome.finding != 0, ending->told);
        assert_int_equal(record->trial.arms, ending->arms);
        assert_int_equal(record->trial.stage, RECORD_STAGE_NONE);
        assert_int_equal(record->slots[SLOT_B].state, ending->state);
        assert_int_equal(outcome.finding_is_failure, ending->state == BOOT_HEALTH_BAD);
        if (outcome.finding_is_failure)
            assert_int_equal(record->history[record->history_count - 1].result, RECORD_RESULT_FELL_BACK);
    }
}

/* moonsinterd was not there when somebody selected the running slot: in the boot in which it was armed no
 * loader can have left it, so it is no try that failed, and it is not armed again behind anybody's back. */
static void test_deselected_while_nobody_looked(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){RECORD_STAGE_NONE, SLOT_B, .arms = 0});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_A, SLOT_NONE);
    struct record_release release = record->slots[SLOT_B].release;

    step(record, &machine,
         &(struct trial_event){.kind = TRIAL_EVENT_ARMING, .slot = SLOT_B, .release = &release});
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_ARMED});
    struct trial_outcome outcome = start(record, &machine);
    assert_int_equal(outcome.start, TRIAL_START_GOOD);
    assert_true(*outcome.finding && !outcome.finding_is_failure && !outcome.second_try);
    assert_null(record_find_failed(record, &release));
    assert_true(record_release_is_same(&record->cancelled, &release));
    assert_int_equal(record->history[0].result, RECORD_RESULT_CANCELLED);
    assert_int_equal(record->slots[SLOT_B].state, BOOT_HEALTH_UNKNOWN);

    /* Another boot, or one in place, is the loader's doing. */
    for (int i = 0; i < 2; i++) {
        CLEANUP_FREE struct record *other =
            record_of(&(struct scene){RECORD_STAGE_ARMED, SLOT_B, .arms = 1, .boot_id = this_boot});
        machine.in_place_reboot = i == 0;
        machine.boot_id = i == 0 ? this_boot : boot_before;
        assert_true(start(other, &machine).second_try);
    }
}

/* The power went between the write of boot state and the record's: the release is shown as installed. */
static void test_arming_that_nobody_wrote_down(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){RECORD_STAGE_ARMING, SLOT_B, .arms = 1});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_B, SLOT_B);

    assert_int_equal(start(record, &machine).start, TRIAL_START_PENDING);
    assert_int_equal(record->trial.stage, RECORD_STAGE_ARMED);
    assert_int_equal(record->history[0].result, RECORD_RESULT_INSTALLED);
    assert_int_equal(record->trial.arms, 1);
}

/* --- leaving --- */

static void test_a_new_release_waits(void **state)
{
    CLEANUP_FREE struct record *record =
        record_of(&(struct scene){RECORD_STAGE_ARMED, SLOT_B, .arms = 1, .reboot_asked = true});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_B, SLOT_B);
    struct trial_outcome outcome = start(record, &machine);

    assert_int_equal(outcome.start, TRIAL_START_PENDING);
    assert_false(outcome.falling_back);
    /* The reboot that was asked for did not come to pass: else a plain one would count as a try. */
    assert_false(record->trial.reboot_asked);
    assert_int_equal(record->trial.stage, RECORD_STAGE_ARMED);
}

static void test_a_rejected_slot_is_left_at_once_and_not_for_ever(void **state)
{
    CLEANUP_FREE struct record *record =
        record_of(&(struct scene){RECORD_STAGE_REJECTED, SLOT_B, .boot_id = this_boot});
    struct trial_machine machine = machine_of(SLOT_B, SLOT_A, SLOT_NONE);
    struct trial_outcome outcome;

    machine.running_bad = true;
    for (int i = 0; i < 5; i++) {
        outcome = start(record, &machine);
        assert_true(outcome.falling_back && outcome.at_once);
    }
    machine.boot_id = boot_before;
    outcome = start(record, &machine);
    assert_true(outcome.falling_back && outcome.at_once);
    outcome = start(record, &machine);
    assert_true(outcome.falling_back);
    assert_false(outcome.at_once);
}

/* The loader starts it on trial again, or for good: what was said against it does not hold. */
static void test_a_rejection_that_the_loader_does_not_know(void **state)
{
    static const enum slot trials[] = {SLOT_B, SLOT_NONE};

    for (int i = 0; i < 2; i++) {
        CLEANUP_FREE struct record *record =
            record_of(&(struct scene){RECORD_STAGE_BOOTED, SLOT_B, .arms = 1});
        struct trial_machine machine = machine_of(SLOT_B, SLOT_B, SLOT_B);

        step(record, &machine,
             &(struct trial_event){.kind = TRIAL_EVENT_REJECTING, .leaves = true, .reason = "no answer"});
        assert_non_null(record_find_failed(record, &record->slots[SLOT_B].release));
        machine.trial = trials[i];
        assert_int_equal(start(record, &machine).start, i == 0 ? TRIAL_START_TRIAL : TRIAL_START_GOOD);
        assert_null(record_find_failed(record, &record->slots[SLOT_B].release));
        assert_int_equal(record->slots[SLOT_B].state, i == 0 ? BOOT_HEALTH_TRIAL : BOOT_HEALTH_GOOD);
        /* The rejection is told of no more; what counts against this daemon's own starts does. */
        assert_int_equal(record->history_count, i);
        if (i == 0)
            assert_int_equal(record->trial.starts, 1);
        else
            assert_int_equal(record->history[0].result, RECORD_RESULT_GOOD);
    }
}

/* The record of the rejection was saved, the boot selection was not written, and moonsinterd was killed. */
static void test_starts_count_on_after_a_rejection(void **state)
{
    CLEANUP_FREE struct record *record =
        record_of(&(struct scene){RECORD_STAGE_REJECTED, SLOT_B, .starts = 2, .boot_id = this_boot});
    struct trial_machine machine = machine_of(SLOT_B, SLOT_B, SLOT_B);

    start(record, &machine);
    assert_int_equal(record->trial.starts, 3);
}

static void test_rejecting(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){RECORD_STAGE_BOOTED, SLOT_B, .arms = 1});
    struct trial_machine machine = machine_of(SLOT_B, SLOT_B, SLOT_B);
    struct trial_event event = {
        .kind = TRIAL_EVENT_REJECTING, .leaves = true, .reason = "check failed", .output = "one\ntwo\n"};

    step(record, &machine, &event);
    assert_int_equal(record->trial.stage, RECORD_STAGE_REJECTED);
    assert_int_equal(record->trial.arms, 0);
    assert_string_equal(record->trial.boot_id, this_boot);
    assert_int_equal(record->slots[SLOT_B].state, BOOT_HEALTH_BAD);
    assert_string_equal(record->history[0].reason, "check failed");
    assert_string_equal(record->history[0].output, "one\ntwo");
    assert_int_equal(record->slots[SLOT_B].time_s, machine.now_s);
    /* Tried again, it is told already. */
    step(record, &machine, &event);
    assert_int_equal(record->history_count, 1);
    /* The verdict on a trial stands where the write failed, */
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REJECT_FAILED});
    assert_int_equal(record->trial.stage, RECORD_STAGE_REJECTED);
    assert_int_equal(record->history_count, 1);
}

static void test_an_operators_rejection_that_failed(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){0});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_A, SLOT_NONE);

    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REJECTING, .reason = "marked bad"});
    assert_int_equal(record->trial.stage, RECORD_STAGE_NONE);
    assert_int_equal(record->failed_count, 1);
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REJECT_FAILED});
    assert_int_equal(record->slots[SLOT_A].state, BOOT_HEALTH_GOOD);
    assert_int_equal(record->failed_count, 0);
    assert_int_equal(record->history_count, 0);
}

/* A rollback out of a good slot: it is left at once, and if it cannot be, nothing is held against it. */
static void test_a_rollback(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){0});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_A, SLOT_NONE);
    struct trial_event event = {.kind = TRIAL_EVENT_REJECTING, .leaves = true, .reason = "rolled back"};

    step(record, &machine, &event);
    assert_int_equal(record->trial.stage, RECORD_STAGE_REJECTED);
    assert_int_equal(record->trial.slot, SLOT_A);
    assert_string_equal(record->trial.release.version, "1.0");
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REJECT_FAILED});
    assert_int_equal(record->trial.stage, RECORD_STAGE_NONE);
    assert_int_equal(record->slots[SLOT_A].state, BOOT_HEALTH_GOOD);

    /* What is remembered of another slot's rejection does not stand for this one's. */
    step(record, &machine, &event);
    machine.running = SLOT_B;
    step(record, &machine, &event);
    assert_int_equal(record->trial.slot, SLOT_B);
    assert_int_equal(record->slots[SLOT_B].state, BOOT_HEALTH_BAD);
}

/* --- arming --- */

static void test_arming_that_failed_is_no_try(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){RECORD_STAGE_NONE, SLOT_B, .arms = 1});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_A, SLOT_NONE);
    struct record_release release = record->slots[SLOT_B].release;

    step(record, &machine,
         &(struct trial_event){.kind = TRIAL_EVENT_ARMING, .slot = SLOT_B, .release = &release});
    assert_int_equal(record->trial.stage, RECORD_STAGE_ARMING);
    assert_int_equal(record->trial.arms, 2);
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_ARM_FAILED, .slot = SLOT_B});
    assert_int_equal(record->trial.arms, 1);
    assert_int_equal(record->trial.stage, RECORD_STAGE_NONE);
    assert_int_equal(record->slots[SLOT_B].state, BOOT_HEALTH_INVALID);

    step(record, &machine,
         &(struct trial_event){.kind = TRIAL_EVENT_ARMING, .slot = SLOT_B, .release = &release});
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_ARMED});
    assert_int_equal(record->trial.stage, RECORD_STAGE_ARMED);
    assert_int_equal(record->trial.arms, 2);
}

static void test_another_release_has_all_its_tries(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){RECORD_STAGE_NONE, SLOT_B, .arms = 1});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_A, SLOT_NONE);
    struct record_release release = release_of("3.0", '3');

    step(record, &machine,
         &(struct trial_event){.kind = TRIAL_EVENT_ARMING, .slot = SLOT_B, .release = &release});
    assert_int_equal(record->trial.arms, 1);
}

static void test_giving_up_keeps_count(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){RECORD_STAGE_ARMED, SLOT_B, .arms = 1});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_B, SLOT_B);

    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_GIVEN_UP, .slot = SLOT_B});
    assert_int_equal(record->trial.stage, RECORD_STAGE_NONE);
    assert_int_equal(record->trial.arms, 1);
    assert_int_equal(record->slots[SLOT_B].state, BOOT_HEALTH_INVALID);
}

static void test_another_program_deselects_it(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){RECORD_STAGE_ARMED, SLOT_B, .arms = 2});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_A, SLOT_NONE);
    struct trial_event event = {.kind = TRIAL_EVENT_DESELECTED, .reason = "somebody did"};

    step(record, &machine, &event);
    assert_int_equal(record->trial.stage, RECORD_STAGE_NONE);
    assert_int_equal(record->trial.arms, 1);
    assert_true(record_release_is_same(&record->cancelled, &record->slots[SLOT_B].release));
    assert_int_equal(record->history_count, 1);
    assert_int_equal(record->history[0].result, RECORD_RESULT_CANCELLED);

    /* The slot that runs is nobody's to take back. */
    CLEANUP_FREE struct record *other = record_of(&(struct scene){RECORD_STAGE_ARMED, SLOT_A, .arms = 1});
    step(other, &machine, &event);
    assert_int_equal(other->trial.stage, RECORD_STAGE_ARMED);
}

/* --- reboots --- */

static void test_a_try_has_to_be_asked_for(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){RECORD_STAGE_ARMED, SLOT_B, .arms = 1});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_B, SLOT_B);

    /* Any reboot tries it with other loaders. */
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_ASKED});
    assert_false(record->trial.reboot_asked);

    machine.reboot_argument = "0 tryboot";
    assert_true(step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_SEEN}).has_changed);
    assert_true(record->trial.reboot_asked);
    assert_false(step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_SEEN}).has_changed);
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_FAILED});
    assert_false(record->trial.reboot_asked);
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_ASKED});
    assert_true(record->trial.reboot_asked);
    /* Not for what was armed in a boot before this one: the argument is not what that reboot brings. */
    record->trial.reboot_asked = false;
    machine.next = SLOT_A;
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_ASKED});
    assert_false(record->trial.reboot_asked);
}

static void test_boots_that_lead_nowhere_are_counted_once(void **state)
{
    CLEANUP_FREE struct record *record = record_of(&(struct scene){RECORD_STAGE_ARMED, SLOT_B, .arms = 1});
    struct trial_machine machine = machine_of(SLOT_A, SLOT_B, SLOT_B);

    for (int i = 0; i < 3; i++)
        step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_ASKED});
    assert_int_equal(record->trial.reboots, 1);
    /* It may be under way still. */
    assert_int_equal(trial_failed_switches(record, this_boot), 0);
    assert_int_equal(trial_failed_switches(record, boot_before), 1);
    machine.boot_id = boot_before;
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_REBOOT_ASKED});
    assert_int_equal(record->trial.reboots, 2);
    assert_int_equal(trial_failed_switches(record, boot_before), 1);
    machine.next = SLOT_A;
    machine.trial = SLOT_NONE;
    step(record, &machine, &(struct trial_event){.kind = TRIAL_EVENT_MARKED_GOOD});
    assert_int_equal(record->trial.reboots, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cell),
        cmocka_unit_test(test_a_good_slot_stays_good),
        cmocka_unit_test(test_a_trial_begins_and_is_marked_good),
        cmocka_unit_test(test_a_trial_that_the_record_does_not_know),
        cmocka_unit_test(test_a_trial_after_another_slots),
        cmocka_unit_test(test_starts_in_one_boot_are_counted),
        cmocka_unit_test(test_no_start_is_taken_back_twice),
        cmocka_unit_test(test_each_start_is_a_boot_in_place),
        cmocka_unit_test(test_without_a_boot_id),
        cmocka_unit_test(test_a_trial_that_ended_without_us),
        cmocka_unit_test(test_deselected_while_nobody_looked),
        cmocka_unit_test(test_arming_that_nobody_wrote_down),
        cmocka_unit_test(test_a_new_release_waits),
        cmocka_unit_test(test_a_rejected_slot_is_left_at_once_and_not_for_ever),
        cmocka_unit_test(test_a_rejection_that_the_loader_does_not_know),
        cmocka_unit_test(test_starts_count_on_after_a_rejection),
        cmocka_unit_test(test_rejecting),
        cmocka_unit_test(test_an_operators_rejection_that_failed),
        cmocka_unit_test(test_a_rollback),
        cmocka_unit_test(test_arming_that_failed_is_no_try),
        cmocka_unit_test(test_another_release_has_all_its_tries),
        cmocka_unit_test(test_giving_up_keeps_count),
        cmocka_unit_test(test_another_program_deselects_it),
        cmocka_unit_test(test_a_try_has_to_be_asked_for),
        cmocka_unit_test(test_boots_that_lead_nowhere_are_counted_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
