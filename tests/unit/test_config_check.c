/* SPDX-License-Identifier: MIT */
/* What settings need of each other, of files that they name, and of the machine. */
#include "daemon/config/config.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/sinter/trust.h"
#include "tests/unit/config_scene.h"

#define KEYS "/etc/moonsinter/keys.d/"
#define KEY                                                                                                  \
    "untrusted comment: minisign public key\n"                                                               \
    "RWQEzQZAvbXJA5c0/gmcZPbzqgT43XomyRtgfpG1jW5Dgf2u10HfSaxm\n"

static void test_keys(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, ETC, MINIMAL);
    assert_true(scene_load(scene));
    assert_int_equal(trust_keys_count(scene->config->keys), 0);
    assert_int_equal(scene->config->require_signature, CONFIG_DEMAND_AUTO);
    scene_put_file(scene, KEYS "a.pub", KEY);
    scene_put_file(scene, KEYS "a.pub~", "an editor left this");
    scene_put_file(scene, ETC, MINIMAL "[Trust]\nRequireSignature=yes\n");
    assert_true(scene_load(scene));
    assert_int_equal(trust_keys_count(scene->config->keys), 1);
    assert_int_equal(scene->config->require_signature, CONFIG_DEMAND_YES);
    assert_int_equal(scene->problems.count, 1);
    assert_non_null(strstr(scene->problems.items[0].message, "a.pub~"));
    /* Without the one that cannot be read somebody else might be trusted; a folder of that name is none. */
    scene_put_file(scene, KEYS "b.pub", "no key");
    assert_false(scene_load(scene));
    assert_non_null(strstr(scene->problems.items[scene->problems.count - 1].message, "b.pub"));
    scene_put_file(scene, KEYS "b.pub", KEY);
    scene_put_file(scene, KEYS "c.pub/x", "");
    assert_false(scene_load(scene));
}

/* Root's, by its mode; a test has no other user for certain. */
static void assert_unsafe(struct scene *scene, const char *path, mode_t unsafe, mode_t safe)
{
    char full[PATH_MAX];

    snprintf(full, sizeof(full), "%s%s", scene->root, path);
    assert_int_equal(chmod(full, unsafe), 0);
    /* No reason to end, and no signature counts. */
    assert_true(scene_load(scene));
    assert_int_equal(trust_keys_count(scene->config->keys), 0);
    assert_non_null(scene->config->keys_why);
    assert_non_null(strstr(scene->config->keys_why, path));
    assert_int_equal(chmod(full, safe), 0);
    assert_true(scene_load(scene));
    assert_null(scene->config->keys_why);
    assert_int_equal(trust_keys_count(scene->config->keys), 1);
}

static void test_keys_that_others_may_write(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, ETC, MINIMAL "[Trust]\nRequireSignature=yes\n");
    scene_put_file(scene, KEYS "a.pub", KEY);
    assert_unsafe(scene, "/etc/moonsinter/keys.d", 0777, 0755);
    assert_unsafe(scene, "/etc/moonsinter/keys.d", 0775, 0755);
    assert_unsafe(scene, KEYS "a.pub", 0666, 0644);
    assert_unsafe(scene, KEYS "a.pub", 0620, 0600);
}

static void test_secret_stays_out_of_messages(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, ETC, MINIMAL "[Transfer]\nHeader=Host: hunter2\n");
    assert_false(scene_load(scene));
    for (size_t i = 0; i < scene->problems.count; i++)
        assert_null(strstr(scene->problems.items[i].message, "hunter2"));

    scene_put_file(scene, ETC,
                   "[Update]\nUrl=htp://user:hunter2@host/x\n[Slots]\nA=/a\nB=/b\n[Transfer]\n"
                   "Proxy=foo://u:hunter2@h\nHeader=hunter2\n");
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, "Url=htp://host/x: must begin"));
    assert_true(scene_has_problem(scene, "Proxy=foo://h: has a scheme"));
    for (size_t i = 0; i < scene->problems.count; i++)
        assert_null(strstr(scene->problems.items[i].message, "hunter2"));
}

static void test_secrets_that_all_may_read_are_told(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, "/etc/ssl/x.key", "x");
    scene_put_file(scene, ETC,
                   MINIMAL "[Transfer]\nHeader=X-Key: hunter2\nProxy=http://u:hunter2@h\n"
                           "ClientKey=/etc/ssl/x.key\nClientCertificate=/etc/ssl/x.key\n");
    assert_true(scene_load(scene));
    assert_int_equal(scene->problems.count, 0);
    scene_open_file(scene, ETC);
    scene_open_file(scene, "/etc/ssl/x.key");
    assert_true(scene_load(scene));
    assert_int_equal(scene->problems.count, 3);
    assert_true(scene_has_problem(scene, ETC ":7: the secret in Header= can be read by every user"));
    assert_true(scene_has_problem(scene, ETC ":8: the secret in Proxy= can be read by every user"));
    assert_true(scene_has_problem(scene, "ClientKey=/etc/ssl/x.key: can be read by every user"));
    for (size_t i = 0; i < scene->problems.count; i++)
        assert_null(strstr(scene->problems.items[i].message, "hunter2"));

    /* What is no secret may be read by everybody. */
    scene_put_file(scene, ETC, MINIMAL "[Transfer]\nProxy=http://h\n");
    scene_open_file(scene, ETC);
    assert_true(scene_load(scene));
    assert_int_equal(scene->problems.count, 0);
}

static void test_header_files(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, "/etc/secret", "# ours\nX-One: 1\n\nX-Two: 2\r\n");
    scene_put_file(scene, ETC, MINIMAL "[Transfer]\nHeader=X-Zero: 0\nHeader=@/etc/secret\n");
    assert_true(scene_load(scene));
    assert_string_equal(scene->config->header_lines[0], "X-Zero: 0");
    assert_string_equal(scene->config->header_lines[1], "X-One: 1");
    assert_string_equal(scene->config->header_lines[2], "X-Two: 2");
    assert_null(scene->config->header_lines[3]);

    scene_open_file(scene, "/etc/secret");
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, ETC ":8: Header=: "));
    assert_true(scene_has_problem(scene, "/etc/secret may be read by others"));

    /* One that a later drop-in takes back is not even opened. */
    scene_put_file(scene, ETC ".d/1.conf", "[Transfer]\nHeader=\n");
    assert_true(scene_load(scene));
    assert_null(scene->config->header_lines[0]);
}

static void test_pins_need_encryption(void **state)
{
    struct scene *scene = *state;
    static const char pins[] =
        "[Transfer]\nPinnedPublicKey=sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=;"
        "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    CLEANUP_FREE char *plain = alloc_printf(MINIMAL "%s", pins);
    CLEANUP_FREE char *encrypted = alloc_printf("[Update]\nUrl=https://h/x\n[Slots]\nA=/a\nB=/b\n%s", pins);

    scene_put_file(scene, ETC, plain);
    assert_false(scene_load(scene));
    assert_true(
        scene_has_problem(scene, "PinnedPublicKey= in [Transfer] needs a Url= that begins with https://"));
    scene_put_file(scene, ETC, encrypted);
    assert_true(scene_load(scene));
}

static void test_together(void **state)
{
    struct scene *scene = *state;

    assert_false(scene_load(scene));
    assert_int_equal(scene->problems.errors, 3);
    assert_true(scene_has_problem(scene, "Url= is missing"));
    assert_true(scene_has_problem(scene, "B= is missing"));

    scene_put_file(scene, ETC, "[Update]\nUrl=http://h/x\n[Slots]\nA=/x\nB=/x\n");
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, "are the same"));

    scene_put_file(scene, ETC, MINIMAL "[Transfer]\nCaFile=/nowhere.pem\nClientKey=/nowhere.key\n");
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, "CaFile=/nowhere.pem: cannot be read"));
    assert_true(scene_has_problem(scene, "need each other"));

    CLEANUP_FREE char *text = alloc_printf(MINIMAL "[Api]\nSocket=/run/%0*d\n", 110, 0);
    scene_put_file(scene, ETC, text);
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, "is longer than the 107 characters"));

    /* All at once, not one a run. */
    scene_put_file(scene, ETC, "[Update]\nUrl=ftp://h/x\nFoo=1\n[Bar]\nBaz=1\n[Boot]\nTries=x\n");
    assert_false(scene_load(scene));
    assert_int_equal(scene->problems.errors, 6);
    assert_false(scene_has_problem(scene, "Url= is missing"));
}

static void test_rpi_cmdline(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, ETC, MINIMAL "[Boot]\nBackend=rpi-cmdline\n");
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, "mount the boot partition"));
    scene_put_file(scene, "/boot/cmdline.txt", "root=/dev/sda2\n");
    assert_true(scene_load(scene));
    assert_string_equal(scene->config->cmdline_file, "/boot/cmdline.txt");
    scene_put_file(scene, "/boot/firmware/cmdline.txt", "root=/dev/sda2\n");
    assert_true(scene_load(scene));
    assert_string_equal(scene->config->cmdline_file, "/boot/firmware/cmdline.txt");

    scene_put_file(scene, ETC ".d/a.conf", "[Update]\nMode=reboot\n");
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, "needs AllowNoFallback=yes"));
    scene_put_file(scene, ETC ".d/b.conf", "[Boot]\nAllowNoFallback=yes\nTries=2\n");
    assert_true(scene_load(scene));
    assert_true(scene_has_problem(scene, "Tries= has no effect with Backend=rpi-cmdline"));
}

/* Each backend's file is found, or missed. */
static void test_boot_files(void **state)
{
    struct scene *scene = *state;
    static const struct {
        const char *backend, *path, *missing;
    } rows[] = {
        {"grub", "/boot/grub2/grubenv", "neither /boot/grub/grubenv nor /boot/grub2/grubenv is there"},
        {"rpi-tryboot", "/boot/autoboot.txt", "nor /boot/autoboot.txt is there: mount the first partition"},
        {"uboot", "/etc/fw_env.config", "FwEnvConfig=/etc/fw_env.config: cannot be read"},
        {"custom\nProgram=/usr/bin/selector", "/usr/bin/selector",
         "Program=/usr/bin/selector: cannot be read"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CLEANUP_FREE char *text = alloc_printf(MINIMAL "[Boot]\nBackend=%s\n", rows[i].backend);
        scene_put_file(scene, ETC, text);
        assert_false(scene_load(scene));
        assert_true(scene_has_problem(scene, rows[i].missing));
        scene_put_file(scene, rows[i].path, "\n");
        assert_true(scene_load(scene));
    }
    assert_string_equal(scene->config->boot_program, "/usr/bin/selector");
    scene_put_file(scene, ETC, MINIMAL "[Boot]\nBackend=custom\n");
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, "Program= is missing in [Boot]"));
    scene_put_file(scene, ETC, MINIMAL "[Boot]\nBackend=uboot\nTries=4\nEsp=/efi\n");
    assert_true(scene_load(scene));
    assert_false(scene_has_problem(scene, "Tries= has no effect"));
    assert_true(scene_has_problem(scene, "Esp= has no effect with Backend=uboot"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_keys_that_others_may_write, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_secret_stays_out_of_messages, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_secrets_that_all_may_read_are_told, scene_set_up,
                                        scene_tear_down),
        cmocka_unit_test_setup_teardown(test_header_files, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_pins_need_encryption, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_together, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_rpi_cmdline, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_boot_files, scene_set_up, scene_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
