/* SPDX-License-Identifier: MIT */
/* What an offer does to what is known of the slots (daemon/daemon_judge.c): whether the running slot gets its
 * name and serial, and whether the release that waits for its boot is taken back. */
#include "daemon/daemon_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define RUNS  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define WAITS "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define OTHER "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

/* --- the rest of the daemon, as far as judging meets it --- */

static struct release offered_release;
static struct record_release offered;
static struct update_event posted;

struct release *checker_release(const struct checker *checker)
{
    return &offered_release;
}

const struct record_release *checker_offered(const struct checker *checker)
{
    return &offered;
}

bool checker_has_identified(const struct checker *checker)
{
    return true;
}

uint64_t checker_wait_ms(const struct checker *checker, uint64_t interval_ms)
{
    return 0;
}

void checker_note_look(struct checker *checker)
{
}

void checker_identify(struct checker *checker, const struct slots *slots, enum slot slot)
{
    fail_msg("nothing has to be read");
}

const struct installer_plan *installer_plan(const struct installer *installer)
{
    return NULL;
}

const struct boot_abilities *boot_selection_abilities(const struct boot_selection *selection)
{
    static const struct boot_abilities abilities = {.trial = true};

    return &abilities;
}

const char *daemon_boot_argument(const struct daemon *daemon)
{
    return NULL;
}

bool daemon_boot_other_is_next(const struct daemon *daemon)
{
    return daemon->view->boot.next == SLOT_B;
}

enum boot_health daemon_slot_health(const struct daemon *daemon, enum slot slot)
{
    return record_slot_health(daemon->record, &daemon->view->boot, daemon->view->running, slot);
}

struct trust daemon_trust(const struct daemon *daemon)
{
    return (struct trust){0};
}

const char *daemon_offer_name(const struct daemon *daemon)
{
    return offered.version;
}

void daemon_post(struct daemon *daemon, const struct update_event *event, const char *reason)
{
    posted = *event;
}

void poller_follow_hold(struct poller *poller, uint64_t wait_ms)
{
}

void poller_look_at_once(struct poller *poller)
{
}

/* --- a device of which slot A runs --- */

struct scene {
    bool on_trial;     /* the running slot, which is good else */
    uint64_t waits;    /* serial of the release that waits in slot B for its boot; 0 = none waits */
    bool no_serials;   /* neither that one nor the offer has any */
    bool is_mixed;     /* the loader started the other slot's parts */
    const char *offer; /* SHA-256 of the image that is offered */
    uint64_t serial;
    enum update_purpose purpose;
};

static struct record record;

static struct record_release make_release(const char *sha256, uint64_t serial, bool has_serial)
{
    struct record_release release = {
        .serial = has_serial ? serial : 0, .has_serial = has_serial, .is_signed = true};

    snprintf(release.version, sizeof(release.version), "%u", (unsigned)serial);
    snprintf(release.sha256, sizeof(release.sha256), "%s", sha256);
    return release;
}

/* Leaves what was posted in `posted`, and what is remembered in `record`. */
static void judge(const struct scene *scene)
{
    static struct manifest manifest = {.file_size = 1000, .has_sha256 = true};
    static struct slots slots;
    static char mixed[] = "the loader started the parts of slot b";
    struct config config = {.mode = CONFIG_MODE_CHECK, .require_signature = CONFIG_DEMAND_NO};
    bool waits = scene->waits || scene->no_serials;
    struct boot_view view = {
        .slots = &slots,
        .boot = {.running = SLOT_A,
                 .next = waits ? SLOT_B : SLOT_A,
                 .trial = scene->on_trial ? SLOT_A : SLOT_NONE},
        .running = SLOT_A,
    };
    struct daemon daemon = {
        .config = &config,
        .fixed = &config,
        .record = &record,
        .view = &view,
        .update = {.state = UPDATE_STATE_CHECKING, .purpose = scene->purpose},
    };

    slots.parts_why = scene->is_mixed ? mixed : NULL;
    record_init(&record);
    record.slots[SLOT_A].state = BOOT_HEALTH_GOOD;
    record.slots[SLOT_A].release = make_release(RUNS, 5, !scene->no_serials);
    if (waits) {
        record.slots[SLOT_B].state = BOOT_HEALTH_TRIAL;
        record.slots[SLOT_B].release = make_release(WAITS, scene->waits, !scene->no_serials);
        record.trial = (struct record_trial){.stage = RECORD_STAGE_ARMED, .slot = SLOT_B};
    }
    offered_release.manifest = &manifest;
    offered = make_release(scene->offer, scene->serial, !scene->no_serials);
    manifest.release.has_serial = offered.has_serial;
    manifest.release.serial = offered.serial;
    posted = (struct update_event){0};
    daemon_judge_offer(&daemon, false);
}

/* --- the running slot takes over what is published --- */

static void test_a_good_slot_is_lent_name_and_floor(void **state)
{
    judge(&(struct scene){.offer = RUNS, .serial = 8});
    assert_int_equal(posted.kind, UPDATE_EVENT_CHECK_UNCHANGED);
    assert_string_equal(record.slots[SLOT_A].release.version, "8");
    assert_int_equal(record.slots[SLOT_A].release.serial, 8);
    assert_true(record.has_floor);
    assert_int_equal(record.floor_serial, 8);
}

/* It may fall back yet, to a slot whose release would be below the floor then. */
static void test_a_slot_on_trial_is_lent_nothing(void **state)
{
    judge(&(struct scene){.on_trial = true, .offer = RUNS, .serial = 8});
    assert_int_equal(posted.kind, UPDATE_EVENT_CHECK_UNCHANGED);
    assert_string_equal(record.slots[SLOT_A].release.version, "5");
    assert_int_equal(record.slots[SLOT_A].release.serial, 5);
    assert_false(record.has_floor);
}

/* What runs is no release then: nothing is accepted, and somebody has to look. */
static void test_a_mixed_slot_is_held(void **state)
{
    judge(&(struct scene){.is_mixed = true, .offer = RUNS, .serial = 8});
    assert_int_equal(posted.kind, UPDATE_EVENT_CHECK_HELD);
    assert_int_equal(record.slots[SLOT_A].release.serial, 5);
    assert_false(record.has_floor);
    judge(&(struct scene){.is_mixed = true, .offer = OTHER, .serial = 8});
    assert_int_equal(posted.kind, UPDATE_EVENT_CHECK_HELD);
}

/* --- what waits for its boot is taken back --- */

static const struct {
    const char *name;
    struct scene scene;
    bool takes_back;
} armed[] = {
    {"what runs, as a newer one", {.waits = 7, .offer = RUNS, .serial = 8}, true},
    {"what runs, as an older one", {.waits = 7, .offer = RUNS, .serial = 6}, false},
    {"what waits", {.waits = 7, .offer = WAITS, .serial = 8}, false},
    {"a newer one", {.waits = 7, .offer = OTHER, .serial = 8}, true},
    {"an older one", {.waits = 7, .offer = OTHER, .serial = 6}, false},
    {"an older one, by an operator",
     {.waits = 7, .offer = RUNS, .serial = 6, .purpose = UPDATE_PURPOSE_INSTALL},
     false},
    /* The slot that waits may be the only good one. */
    {"on trial: what runs, as a newer one",
     {.on_trial = true, .waits = 7, .offer = RUNS, .serial = 8},
     false},
    {"on trial: a newer one", {.on_trial = true, .waits = 7, .offer = OTHER, .serial = 8}, false},
    {"on trial: what runs, by an operator",
     {.on_trial = true, .no_serials = true, .offer = RUNS, .purpose = UPDATE_PURPOSE_INSTALL},
     false},
    {"mixed: what runs, as a newer one", {.is_mixed = true, .waits = 7, .offer = RUNS, .serial = 8}, false},
    {"mixed: a newer one", {.is_mixed = true, .waits = 7, .offer = OTHER, .serial = 8}, false},
    /* Without serials nothing proves that an offer is newer, and somebody has to say so. */
    {"no serials: what runs", {.no_serials = true, .offer = RUNS}, false},
    {"no serials: another one", {.no_serials = true, .offer = OTHER}, false},
    {"no serials: what runs, by check",
     {.no_serials = true, .offer = RUNS, .purpose = UPDATE_PURPOSE_CHECK},
     true},
    {"no serials: what runs, by install",
     {.no_serials = true, .offer = RUNS, .purpose = UPDATE_PURPOSE_INSTALL},
     true},
    {"no serials: what waits, by install",
     {.no_serials = true, .offer = WAITS, .purpose = UPDATE_PURPOSE_INSTALL},
     false},
    {"no serials: another one, by check",
     {.no_serials = true, .offer = OTHER, .purpose = UPDATE_PURPOSE_CHECK},
     true},
};

static void test_what_takes_back_what_waits(void **state)
{
    for (size_t i = 0; i < sizeof(armed) / sizeof(armed[0]); i++) {
        judge(&armed[i].scene);
        if (posted.kind != UPDATE_EVENT_CHECK_UNCHANGED && posted.kind != UPDATE_EVENT_CHECK_HELD)
            fail_msg("%s: event %d", armed[i].name, posted.kind);
        assert_true(posted.other_selected);
        if (posted.takes_back != armed[i].takes_back)
            fail_msg("%s: it is %s", armed[i].name, posted.takes_back ? "taken back" : "kept");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_slot_is_lent_name_and_floor),
        cmocka_unit_test(test_a_slot_on_trial_is_lent_nothing),
        cmocka_unit_test(test_a_mixed_slot_is_held),
        cmocka_unit_test(test_what_takes_back_what_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
