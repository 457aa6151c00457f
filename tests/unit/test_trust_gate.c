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
void boot_selection_arm(struct boot_selection *selection, enum slot slot, struct device *held,
                        uint64_t image_bytes, boot_selection_done_fn then)
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
};

/* ERROR_NONE: it was armed. */
static enum error_kind try_to_arm(const struct scene *scene)
{
    static char folder[] = "/keys";
    struct config config = {.require_signature = scene->demand, .keys_folder = folder};
    struct record record = {.signed_accepted = scene->accepted};
    struct daemon daemon = {.config = &config, .record = &record, .target = {.slot = SLOT_B}};
    struct error error = {0};

    config.keys = scene->key ? publish_keys(true) : NULL;
    installed.release.is_signed = scene->is_signed;
    snprintf(installed.release.sha256, sizeof(installed.release.sha256), "%s", scene->sha256);
    snprintf(installed.read_back, sizeof(installed.read_back), "%s", scene->read_back);
    armed = 0;
    bool allowed = daemon_trust_arm(&daemon, NULL, NULL, &error);
    assert_int_equal(armed, allowed);
    trust_keys_free(config.keys);
    return allowed ? ERROR_NONE : error.kind;
}

static void test_what_was_read_back_counts(void **state)
{
    static const enum config_demand demands[] = {CONFIG_DEMAND_AUTO, CONFIG_DEMAND_NO, CONFIG_DEMAND_YES};

    for (size_t i = 0; i < 3; i++) {
        struct scene scene = {demands[i], true, true, true, GOOD, GOOD};
        assert_int_equal(try_to_arm(&scene), ERROR_NONE);
        scene.read_back = EVIL;
        assert_int_equal(try_to_arm(&scene), ERROR_MISMATCH);
        scene.read_back = "";
        assert_int_equal(try_to_arm(&scene), ERROR_MISMATCH);
    }
}

static void test_unsigned_where_a_signature_is_demanded(void **state)
{
    struct scene scene = {CONFIG_DEMAND_AUTO, false, false, false, GOOD, GOOD};

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
    struct scene scene = {CONFIG_DEMAND_NO, true, true, true, "", ""};

    assert_int_equal(try_to_arm(&scene), ERROR_NONE);
    scene.demand = CONFIG_DEMAND_YES;
    assert_int_equal(try_to_arm(&scene), ERROR_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_read_back_counts),
        cmocka_unit_test(test_unsigned_where_a_signature_is_demanded),
        cmocka_unit_test(test_nothing_to_prove_it_by),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
