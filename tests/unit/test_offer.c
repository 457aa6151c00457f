/* SPDX-License-Identifier: MIT */
/* What daemon and doctor both go by: which slot holds what is offered, and whether it must be signed. */
#include "daemon/decide/offer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/version.h"
#include "tests/unit/publisher.h"

#define OFFERED "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ANOTHER "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* What is known of the device: A runs, and `next` boots next. A hash of NULL stands for a slot of which
 * nothing is known. */
struct device {
    const char *holds[SLOT_COUNT], *parts[SLOT_COUNT];
    enum boot_health running_health;
    enum slot next;
    bool armed, is_signed, demanded, falling_back, is_empty, is_set, running_unknown;
};

static void copy_digests(struct record_release *release, const char *sha256, const char *parts_sha256)
{
    snprintf(release->sha256, sizeof(release->sha256), "%s", sha256 ? sha256 : "");
    snprintf(release->parts_sha256, sizeof(release->parts_sha256), "%s", parts_sha256 ? parts_sha256 : "");
}

static struct offer make_offer(const struct device *device)
{
    static struct config config;
    static struct record record;
    static struct boot_state boot;
    static struct manifest manifest;
    static struct manifest_part part = {.name = "boot"};
    static struct record_release release;

    config = (struct config){.require_signature = device->demanded ? CONFIG_DEMAND_YES : CONFIG_DEMAND_NO};
    record_init(&record);
    for (int i = 0; i < SLOT_COUNT; i++)
        copy_digests(&record.slots[i].release, device->holds[i], device->parts[i]);
    record.slots[SLOT_A].state = device->running_health;
    record.slots[SLOT_B].state = BOOT_HEALTH_TRIAL;
    record.slots[SLOT_B].release.is_signed = device->is_signed;
    record.slots[SLOT_B].release.has_serial = true;
    record.slots[SLOT_B].release.serial = 7;
    if (device->armed)
        record.trial = (struct record_trial){.stage = RECORD_STAGE_ARMED, .slot = SLOT_B};
    boot = (struct boot_state){.running = SLOT_NONE, .next = device->next, .trial = SLOT_NONE};
    manifest = (struct manifest){.file_size = device->is_empty ? 0 : 1000,
                                 .parts = {.list = &part, .count = device->is_set}};
    release = (struct record_release){0};
    copy_digests(&release, OFFERED, device->is_set ? OFFERED : NULL);
    return (struct offer){
        .config = &config,
        .places = &config,
        .record = &record,
        .boot = &boot,
        .running = device->running_unknown ? SLOT_NONE : SLOT_A,
        .falling_back = device->falling_back,
        .now_s = 1000,
        .machine_id = "",
        .machine_id_why = "it has no name",
        .manifest = &manifest,
        .release = &release,
    };
}

static const struct {
    const char *name;
    struct device device;
    enum slot holder;
} holders[] = {
    {"it runs", {.holds = {OFFERED}, .running_health = BOOT_HEALTH_GOOD}, SLOT_A},
    {"on trial", {.holds = {OFFERED}, .running_health = BOOT_HEALTH_TRIAL}, SLOT_A},
    {"another runs", {.holds = {ANOTHER}, .running_health = BOOT_HEALTH_GOOD}, SLOT_NONE},
    {"nothing is known", {.running_health = BOOT_HEALTH_GOOD}, SLOT_NONE},
    {"it runs and was rejected", {.holds = {OFFERED}, .running_health = BOOT_HEALTH_BAD}, SLOT_NONE},
    {"an empty image", {.holds = {OFFERED}, .running_health = BOOT_HEALTH_GOOD, .is_empty = true}, SLOT_NONE},
    {"the main image of a set",
     {.holds = {OFFERED}, .running_health = BOOT_HEALTH_GOOD, .is_set = true},
     SLOT_NONE},
    {"the main image with another set's parts",
     {.holds = {OFFERED}, .parts = {ANOTHER}, .running_health = BOOT_HEALTH_GOOD, .is_set = true},
     SLOT_NONE},
    {"a whole set",
     {.holds = {OFFERED}, .parts = {OFFERED}, .running_health = BOOT_HEALTH_GOOD, .is_set = true},
     SLOT_A},
    {"the image with a set's parts, where it is offered alone",
     {.holds = {OFFERED}, .parts = {OFFERED}, .running_health = BOOT_HEALTH_GOOD},
     SLOT_NONE},
    {"a set boots next",
     {.holds = {ANOTHER, OFFERED},
      .parts = {NULL, OFFERED},
      .running_health = BOOT_HEALTH_GOOD,
      .next = SLOT_B,
      .is_set = true},
     SLOT_B},
    {"a set with another kernel boots next",
     {.holds = {OFFERED, OFFERED},
      .parts = {ANOTHER, ANOTHER},
      .running_health = BOOT_HEALTH_GOOD,
      .next = SLOT_B,
      .is_set = true},
     SLOT_NONE},
    {"nobody knows what runs", {.holds = {OFFERED, OFFERED}, .running_unknown = true}, SLOT_NONE},
    {"it boots next",
     {.holds = {ANOTHER, OFFERED}, .running_health = BOOT_HEALTH_GOOD, .next = SLOT_B},
     SLOT_B},
    {"it lies there",
     {.holds = {ANOTHER, OFFERED}, .running_health = BOOT_HEALTH_GOOD, .next = SLOT_A},
     SLOT_NONE},
    {"it boots next, unsigned",
     {.holds = {ANOTHER, OFFERED}, .running_health = BOOT_HEALTH_GOOD, .next = SLOT_B, .demanded = true},
     SLOT_NONE},
    {"it boots next, signed",
     {.holds = {ANOTHER, OFFERED},
      .running_health = BOOT_HEALTH_GOOD,
      .next = SLOT_B,
      .demanded = true,
      .is_signed = true},
     SLOT_B},
};

static void test_who_holds_it(void **state)
{
    for (size_t i = 0; i < sizeof(holders) / sizeof(holders[0]); i++) {
        struct offer offer = make_offer(&holders[i].device);
        if (offer_find_holder(&offer) != holders[i].holder)
            fail_msg("%s: slot %d holds it", holders[i].name, offer_find_holder(&offer));
        offer.manifest = NULL;
        assert_int_equal(offer_find_holder(&offer), SLOT_NONE);
    }
}

static const struct {
    const char *name;
    struct device device;
    bool waits;
} waiting[] = {
    {"armed", {.armed = true, .next = SLOT_B}, true},
    {"selected by somebody else", {.next = SLOT_B}, false},
    {"armed, and the running one selected again", {.armed = true, .next = SLOT_A}, false},
    {"falling back", {.armed = true, .next = SLOT_B, .falling_back = true}, false},
    {"nobody knows what runs", {.armed = true, .next = SLOT_B, .running_unknown = true}, false},
};

static void test_what_waits_for_its_boot_is_a_floor(void **state)
{
    for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
        struct offer offer = make_offer(&waiting[i].device);
        struct policy_input input;
        offer_fill_input(&offer, &input);
        if ((offer_find_armed(&offer) == &offer.record->slots[SLOT_B].release) != waiting[i].waits ||
            input.has_armed_serial != waiting[i].waits || input.armed_serial != (waiting[i].waits ? 7u : 0u))
            fail_msg("%s", waiting[i].name);
    }
}

static const struct {
    enum config_demand demand;
    bool key, unusable_keys, accepted, must;
} demands[] = {
    {CONFIG_DEMAND_NO, true, true, true, false},      {CONFIG_DEMAND_YES, false, false, false, true},
    {CONFIG_DEMAND_AUTO, false, false, false, false}, {CONFIG_DEMAND_AUTO, true, false, false, true},
    {CONFIG_DEMAND_AUTO, false, true, false, true},   {CONFIG_DEMAND_AUTO, false, false, true, true},
};

static void test_when_a_signature_is_demanded(void **state)
{
    static char why[] = "others may write them";

    for (size_t i = 0; i < sizeof(demands) / sizeof(demands[0]); i++) {
        struct config config = {.require_signature = demands[i].demand,
                                .keys = demands[i].key ? publish_keys(true) : NULL,
                                .keys_why = demands[i].unusable_keys ? why : NULL};
        struct record record = {.signed_accepted = demands[i].accepted};
        if (offer_must_be_signed(&config, &record) != demands[i].must)
            fail_msg("row %zu", i);
        trust_keys_free(config.keys);
    }
}

static void test_time_does_not_go_back_behind_what_was_accepted(void **state)
{
    struct record record = {.floor_s = version_time_s() + 1};

    assert_int_equal(offer_floor_s(&record), version_time_s() + 1);
    record.floor_s = version_time_s() - 1;
    assert_int_equal(offer_floor_s(&record), version_time_s());
}

static void test_what_the_rules_are_given(void **state)
{
    struct offer offer = make_offer(&(struct device){.running_health = BOOT_HEALTH_GOOD});
    struct policy_input input;

    offer_fill_input(&offer, &input);
    assert_string_equal(input.rollout_why, "it has no name");
    assert_true(input.running_known && input.running_good && input.image_bytes == 1000 && !input.is_empty);
    offer.machine_id = "0123456789abcdef0123456789abcdef";
    offer_fill_input(&offer, &input);
    assert_null(input.rollout_why);
    assert_null(input.part_unknown);
    offer = make_offer(&(struct device){.running_health = BOOT_HEALTH_GOOD, .is_set = true});
    offer_fill_input(&offer, &input);
    assert_string_equal(input.part_unknown, "boot");
    assert_null(input.part_missing);
}

static const struct {
    const char *name;
    const char *places[3]; /* of the device */
    bool carry;
    struct record_part kept; /* of the running slot */
    const char *unknown, *missing;
    enum policy_missing how;
} part_cases[] = {
    {"a place for it", {"boot"}, false, {.bytes = 0}, NULL, NULL, 0},
    {"a place for another", {"uki"}, false, {.bytes = 0}, "boot", "uki", POLICY_MISSING_REFUSED},
    {"more places", {"boot", "dtb"}, false, {.name = "dtb", .bytes = 1}, NULL, "dtb", POLICY_MISSING_REFUSED},
    {"nothing is known", {"boot", "dtb"}, true, {.bytes = 0}, NULL, "dtb", POLICY_MISSING_NOT_RECORDED},
    {"another is known",
     {"boot", "dtb"},
     true,
     {.name = "dt", .bytes = 1},
     NULL,
     "dtb",
     POLICY_MISSING_NOT_RECORDED},
    {"its length is not", {"boot", "dtb"}, true, {.name = "dtb"}, NULL, "dtb", POLICY_MISSING_NOT_RECORDED},
    {"it is one slot's",
     {"boot", "dtb"},
     true,
     {.name = "dtb", .bytes = 1, .per_slot = true},
     NULL,
     "dtb",
     POLICY_MISSING_OF_ONE_SLOT},
    {"carried", {"boot", "dtb"}, true, {.name = "dtb", .bytes = 1}, NULL, NULL, 0},
    {"the first is carried",
     {"boot", "dtb", "fw"},
     true,
     {.name = "dtb", .bytes = 1},
     NULL,
     "fw",
     POLICY_MISSING_NOT_RECORDED},
};

static void test_parts_that_release_and_device_do_not_share(void **state)
{
    for (size_t i = 0; i < sizeof(part_cases) / sizeof(part_cases[0]); i++) {
        struct offer offer = make_offer(&(struct device){.running_health = BOOT_HEALTH_GOOD, .is_set = true});
        struct config places = {0};
        struct record record = *offer.record;
        struct policy_input input;
        for (; places.part_count < 3 && part_cases[i].places[places.part_count]; places.part_count++) {
            strcpy(places.parts[places.part_count].name, part_cases[i].places[places.part_count]);
            places.parts[places.part_count].carry = part_cases[i].carry;
        }
        record.slots[SLOT_A].parts[0] = part_cases[i].kept;
        record.slots[SLOT_A].part_count = 1;
        offer.places = &places;
        offer.record = &record;
        offer_fill_input(&offer, &input);
        if ((input.part_unknown
                 ? !part_cases[i].unknown || strcmp(input.part_unknown, part_cases[i].unknown) != 0
                 : part_cases[i].unknown != NULL) ||
            (input.part_missing
                 ? !part_cases[i].missing || strcmp(input.part_missing, part_cases[i].missing) != 0 ||
                       input.part_missing_how != part_cases[i].how
                 : part_cases[i].missing != NULL))
            fail_msg("%s: unknown %s, missing %s", part_cases[i].name, input.part_unknown,
                     input.part_missing);
        /* Nobody knows which slot would be copied from. */
        offer.running = SLOT_NONE;
        offer_fill_input(&offer, &input);
        assert_int_equal(input.part_missing != NULL, places.part_count > (part_cases[i].unknown ? 0 : 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_holds_it),
        cmocka_unit_test(test_what_waits_for_its_boot_is_a_floor),
        cmocka_unit_test(test_when_a_signature_is_demanded),
        cmocka_unit_test(test_time_does_not_go_back_behind_what_was_accepted),
        cmocka_unit_test(test_what_the_rules_are_given),
        cmocka_unit_test(test_parts_that_release_and_device_do_not_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
