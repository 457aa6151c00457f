/* SPDX-License-Identifier: MIT */
/* The sections [Part NAME] of the settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "daemon/config/config.h"
#include "tests/unit/config_scene.h"

#define BOOT "[Part boot]\nA=/dev/sda5\nB=/dev/sda6\n"

static void test_parts_are_taken_in_order(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, ETC,
                   MINIMAL BOOT "[Part app-1]\nMissing=carry\nA=PARTLABEL=app a\nB=/boot/efi/b.efi\n");
    assert_true(scene_load(scene));
    assert_int_equal(scene->problems.count, 0);
    const struct config *config = scene->config;
    assert_int_equal(config->part_count, 2);
    assert_string_equal(config->parts[0].name, "boot");
    assert_string_equal(config->parts[0].slot_names[0], "/dev/sda5");
    assert_string_equal(config->parts[0].slot_names[1], "/dev/sda6");
    assert_false(config->parts[0].carry);
    assert_string_equal(config->parts[1].name, "app-1");
    assert_string_equal(config->parts[1].slot_names[0], "PARTLABEL=app a");
    assert_true(config->parts[1].carry);
}

static void test_dropins_add_change_and_take_back(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, USR, MINIMAL BOOT "[Part tree]\nA=/dev/sda7\nB=/dev/sda8\nMissing=carry\n");
    scene_put_file(scene, ETC ".d/10.conf",
                   "[Part boot]\nB=/dev/sdb6\nMissing=carry\n[Part app]\nA=/x\n[Part app]\nB=/y\n");
    assert_true(scene_load(scene));
    assert_int_equal(scene->config->part_count, 3);
    assert_string_equal(scene->config->parts[0].slot_names[0], "/dev/sda5");
    assert_string_equal(scene->config->parts[0].slot_names[1], "/dev/sdb6");
    assert_true(scene->config->parts[0].carry);
    assert_string_equal(scene->config->parts[2].name, "app");
    assert_string_equal(scene->config->parts[2].slot_names[1], "/y");

    /* An empty value is the default's, and a part of which nothing is left is none. */
    scene_put_file(scene, ETC ".d/20.conf", "[Part boot]\nA=\nB=\nMissing=\n[Part tree]\nMissing=\n");
    assert_true(scene_load(scene));
    assert_int_equal(scene->config->part_count, 2);
    assert_string_equal(scene->config->parts[0].name, "tree");
    assert_false(scene->config->parts[0].carry);
    assert_string_equal(scene->config->parts[1].name, "app");
}

static void test_bad_parts(void **state)
{
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"[Part]\nA=/x\n", ETC ":7: [Part] needs the name of a part"},
        {"[Part boot]\n", ETC ":6: [Part boot] holds no key"},
        {"[Part boot]\n[Health]\nServer=no\n", ETC ":6: [Part boot] holds no key"},
        {"[Part]\n", ETC ":6: [Part] holds no key"},
        {"[Part Boot]\nA=/x\n", ETC ":7: [Part Boot] is no name of a part"},
        {"[Part a b]\nA=/x\n", "[Part a b] is no name of a part"},
        {"[Part NAME]\nA=/x\n", "[Part NAME] is no name of a part"},
        {"[Part a2345678901234567890123456789012x]\nA=/x\n", "is no name of a part"},
        {"[Part a2345678901234567890123456789012345678901234567890123456789]\nA=/x\n",
         "is no name of a part"},
        {"[Part root]\nA=/x\n", "[Part root] is the main image's name"},
        {"[Parts]\nA=/x\n", "A= does not belong in [Parts] but in [Slots]"},
        {"[Part boot]\nA=/x\n", "B= is missing in [Part boot]"},
        {"[Part boot]\nB=/x\n", "A= is missing in [Part boot]"},
        {"[Part boot]\nMissing=carry\n", "A= is missing in [Part boot]"},
        {"[Part boot]\nA=x\nB=/y\n", ETC ":7: A=x: must be an absolute path"},
        {"[Part boot]\nA=/x/../y\nB=/y\n", "must not have . or .. in it"},
        {"[Part boot]\nA=LABEL=\nB=/y\n", "names nothing after the ="},
        {BOOT "Missing=perhaps\n", ETC ":9: Missing=perhaps: must be refuse or carry"},
        {BOOT "A=/dev/sda9\n", ETC ":9: A= is already set at " ETC ":7"},
        {BOOT "[Part boot]\nA=/dev/sda9\n", ETC ":10: A= is already set at " ETC ":7"},
        {BOOT "C=/dev/sda9\n", ETC ":9: there is no key C= in [Part boot]"},
        {BOOT "Tries=2\n", "Tries= does not belong in [Part boot] but in [Boot]"},
        {"[Slots]\nMissing=carry\n", "Missing= does not belong in [Slots] but in [Part NAME]"},
        {"[Part boot]\nA=/x\nB=/x\n", "A= in [Part boot] and B= in [Part boot] are the same: /x"},
        {"[Part boot]\nA=/dev/sda2\nB=/x\n", "A= in [Slots] and A= in [Part boot] are the same: /dev/sda2"},
        {BOOT "[Part app]\nA=/x\nB=/dev/sda5\n",
         "A= in [Part boot] and B= in [Part app] are the same: /dev/sda5"},
    };
    struct scene *scene = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CLEANUP_FREE char *text = alloc_printf(MINIMAL "%s", cases[i].text);
        scene_put_file(scene, ETC, text);
        if (scene_load(scene))
            fail_msg("accepted: %s", cases[i].text);
        if (!scene_has_problem(scene, cases[i].problem))
            fail_msg("%s: no problem says \"%s\"", cases[i].text, cases[i].problem);
    }
}

/* With `count` parts. */
static bool load_many(struct scene *scene, unsigned count)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    fputs(MINIMAL, stream);
    for (unsigned i = 0; i < count; i++)
        fprintf(stream, "[Part p%u]\nA=/dev/x%ua\nB=/dev/x%ub\n", i, i, i);
    fclose(stream);
    scene_put_file(scene, ETC, text);
    free(text);
    return scene_load(scene);
}

static void test_sixteen_parts_are_allowed(void **state)
{
    struct scene *scene = *state;

    assert_true(load_many(scene, 16));
    assert_int_equal(scene->config->part_count, 16);
    assert_string_equal(scene->config->parts[15].name, "p15");
    assert_false(load_many(scene, 17));
    assert_true(scene_has_problem(scene, ETC ":55: [Part p16] is one part too many; 16 are allowed"));
}

static void test_parts_are_printed(void **state)
{
    struct scene *scene = *state;
    char *text = NULL;
    size_t size;

    scene_put_file(scene, ETC, MINIMAL BOOT);
    scene_put_file(scene, ETC ".d/1.conf", "[Part boot]\nB=/dev/sda9\n");
    assert_true(scene_load(scene));
    FILE *stream = open_memstream(&text, &size);
    config_print(scene->config, stream);
    fclose(stream);
    assert_non_null(strstr(text, "B=/dev/sda3\n\n[Part boot]\n# " ETC ":7\nA=/dev/sda5\n# " ETC
                                 ".d/1.conf:2\nB=/dev/sda9\n# default\nMissing=refuse\n\n[Boot]\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parts_are_taken_in_order, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_dropins_add_change_and_take_back, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_parts, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_sixteen_parts_are_allowed, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_parts_are_printed, scene_set_up, scene_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
