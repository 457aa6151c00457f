/* SPDX-License-Identifier: MIT */
/* The gate to the boot selection (daemon/daemon_trust.c): what may be armed, whatever way it came there. */
#include "daemon/daemon_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/publisher.h"

#define GOOD "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define EVIL "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"

static unsigned armed;

/* The rest of the daemon, as far as the gate meets it. */
void boot_selection_arm(struct boot_selection *selection, enum slot slot, struct targets *held,
                        boot_selection_done_fn then)
{
    assert_int_equal(slot, SLOT_B);
    armed++;
}

static struct installer_view installed;

const struct installer_view *installer_view(const struct installer *installer)
{
    return &installed;
}

struct scene {
    enum config_demand demand;
    bool key, accepted, is_signed;
    const char *sha256, *read_back;
    const char *part_sha256, *part_read_back; /* NULL: no set */
    bool lets_go;                             /* the part is not held */
    bool has_place;                           /* the settings know the part */
};

static void add_image(const char *name, const char *sha256, const char *read_back)
{
    struct installer_image *image = &installed.images[installed.image_count++];

    snprintf(image->name, sizeof(image->name), "%s", name);
    snprintf(image->sha256, sizeof(image->sha256), "%s", sha256);
    snprintf(image->read_back, sizeof(image->read_back), "%s", read_back);
}

/* ERROR_NONE: it was armed. */
static enum error_kind try_to_arm(const struct scene *scene)
{
    static char folder[] = "/keys";
    struct config config = {.require_signature = scene->demand, .keys_folder = folder};
    struct record record = {.signed_accepted = scene->accepted};
    struct daemon daemon = {
        .config = &config, .fixed = &config, .record = &record, .target = {.slot = SLOT_B}};
    struct error error = {0};

    if (scene->has_place) {
        strcpy(config.parts[0].name, "boot");
        config.part_count = 1;
    }
    config.keys = scene->key ? publish_keys(true) : NULL;
    installed.release.is_signed = scene->is_signed;
    snprintf(installed.release.sha256, sizeof(installed.release.sha256), "%s", scene->sha256);
    struct targets held = {0};
    installed.image_count = 0;
    if (scene->part_sha256) {
        add_image("boot", scene->part_sha256, scene->part_read_back);
        if (!scene->lets_go)
            targets_add(&held, "boot", NULL, 1);
    }
    add_image(MANIFEST_MAIN_NAME, scene->sha256, scene->read_back);
    targets_add(&held, MANIFEST_MAIN_NAME, NULL, 1);
    armed = 0;
    bool allowed = daemon_trust_arm(&daemon, &held, NULL, &error);
    assert_int_equal(armed, allowed);
    trust_keys_free(config.keys);
    return allowed ? ERROR_NONE : error.kind;
}

static void test_what_was_read_back_counts(void **state)
{
    static const enum config_demand demands[] = {CONFIG_DEMAND_AUTO, CONFIG_DEMAND_NO, CONFIG_DEMAND_YES};

    for (size_t i = 0; i < 3; i++) {
        struct scene scene = {demands[i], true, true, true, GOOD, GOOD, NULL, NULL, false, false};
        assert_int_equal(try_to_arm(&scene), ERROR_NONE);
        scene.read_back = EVIL;
        assert_int_equal(try_to_arm(&scene), ERROR_MISMATCH);
        scene.read_back = "";
        assert_int_equal(try_to_arm(&scene), ERROR_MISMATCH);
    }
}

static void test_unsigned_where_a_signature_is_demanded(void **state)
{
    struct scene scene = {CONFIG_DEMAND_AUTO, false, false, false, GOOD, GOOD, NULL, NULL, false, false};

    assert_int_equal(try_to_arm(&scene), ERROR_NONE);
    scene.key = true;
    assert_int_equal(try_to_arm(&scene), ERROR_REFUSED);
    scene.key = false;
    scene.accepted = true;
    assert_int_equal(try_to_arm(&scene), ERROR_REFUSED);
    scene.demand = CONFIG_DEMAND_NO;
    assert_int_equal(try_to_arm(&scene), ERROR_NONE);
    scene.accepted = false;
    scene.demand = CONFIG_DEMAND_YES;
    assert_int_equal(try_to_arm(&scene), ERROR_REFUSED);
}

/* The ancestor's manifest has nothing but XXH32. */
static void test_nothing_to_prove_it_by(void **state)
{
    struct scene scene = {CONFIG_DEMAND_NO, true, true, true, "", "", NULL, NULL, false, false};

    assert_int_equal(try_to_arm(&scene), ERROR_NONE);
    scene.demand = CONFIG_DEMAND_YES;
    assert_int_equal(try_to_arm(&scene), ERROR_REFUSED);
}

/* Each image of a set counts, and all have to be held. */
static void test_every_image_of_a_set_counts(void **state)
{
    struct scene scene = {CONFIG_DEMAND_NO, false, false, false, GOOD, GOOD, GOOD, GOOD, false, true};

    assert_int_equal(try_to_arm(&scene), ERROR_NONE);
    scene.part_read_back = EVIL;
    assert_int_equal(try_to_arm(&scene), ERROR_MISMATCH);
    scene.part_read_back = "";
    assert_int_equal(try_to_arm(&scene), ERROR_MISMATCH);
    scene.part_sha256 = "";
    assert_int_equal(try_to_arm(&scene), ERROR_MISMATCH);
    scene.part_sha256 = scene.part_read_back = GOOD;
    scene.lets_go = true;
    assert_int_equal(try_to_arm(&scene), ERROR_MISMATCH);
    scene.lets_go = false;
    scene.read_back = EVIL;
    assert_int_equal(try_to_arm(&scene), ERROR_MISMATCH);
}

/* The slot would keep the part of another release. */
static void test_a_release_without_a_part_of_this_device(void **state)
{
    struct scene scene = {CONFIG_DEMAND_NO, false, false, false, GOOD, GOOD, NULL, NULL, false, true};

    assert_int_equal(try_to_arm(&scene), ERROR_REFUSED);
    scene.has_place = false;
    assert_int_equal(try_to_arm(&scene), ERROR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_read_back_counts),
        cmocka_unit_test(test_unsigned_where_a_signature_is_demanded),
        cmocka_unit_test(test_nothing_to_prove_it_by),
        cmocka_unit_test(test_every_image_of_a_set_counts),
        cmocka_unit_test(test_a_release_without_a_part_of_this_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
