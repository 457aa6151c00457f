/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/image/url.h"
#include "daemon/config/config.h"
#include "daemon/config/config_table.h"
#include "daemon/config/config_value.h"
#include "tests/unit/config_scene.h"

/* One line more in an otherwise good file is refused with `part` in the sentence. */
static void assert_refused(struct scene *scene, const char *section, const char *line, const char *part)
{
    CLEANUP_FREE char *text = alloc_printf(MINIMAL "[%s]\n%s\n", section, line);

    scene_put_file(scene, ETC, text);
    if (scene_load(scene))
        fail_msg("accepted: %s", line);
    if (!scene_has_problem(scene, part))
        fail_msg("%s: no problem says \"%s\"", line, part);
    assert_true(scene_has_problem(scene, ETC ":7"));
}

static void test_defaults(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, ETC, MINIMAL);
    assert_true(scene_load(scene));
    assert_int_equal(scene->problems.count, 0);
    const struct config *config = scene->config;
    assert_string_equal(url_text_to_send(config->url), "http://host/rootfs.img");
    assert_string_equal(config->slot_names[0], "/dev/sda2");
    assert_string_equal(config->slot_names[1], "/dev/sda3");
    assert_int_equal(config->interval_ms, 300000);
    assert_int_equal(config->randomized_delay_ms, 30000);
    assert_int_equal(config->mode, CONFIG_MODE_INSTALL);
    assert_null(config->compatible);
    assert_int_equal(config->backend, CONFIG_BACKEND_FILE);
    assert_int_equal(config->tries, 3);
    assert_int_equal(config->connections, 4);
    assert_int_equal(config->stall_timeout_ms, 30000);
    assert_string_equal(config->state_directory, "/var/lib/moonsinter");
    assert_string_equal(config->selection_file, "/var/lib/moonsinter/boot-selection.json");
    assert_string_equal(config->socket, "/run/moonsinter/moonsinterd.sock");
    assert_null(config->headers[0]);
}

static void test_all_values(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, "/etc/ssl/x.pem", "x");
    scene_put_file(
        scene, ETC,
        "# a comment\n; another\n[Update]\nUrl = https://u:p@host:8443/a/rootfs.img \nInterval=1h 30min\n"
        "RandomizedDelay=0\nMode=reboot\nCompatible=board one\nAllowDowngrade=yes\n"
        "[Slots]\nA=PARTUUID=0a-02\nB=PARTLABEL=root b\n"
        "[Boot]\nBackend=file\nTries=5\nAllowNoFallback=on\nSelectionFile=/data/sel.json\n"
        "[Transfer]\nConnections=8\nRateLimit=2M\nStallTimeout=10\nMaxBytesPerUpdate=1G\n"
        "Proxy=socks5h://proxy:1080\nCaFile=/etc/ssl/x.pem\nClientCertificate=/etc/ssl/x.pem\n"
        "ClientKey=/etc/ssl/x.pem\nHeader=X-One: a;b # c\nHeader=X-Two: 2\n"
        "[Trust]\nRequireSignature=no\n[Api]\nSocket=/run/x.sock\nGroup=adm\n"
        "[Storage]\nStateDirectory=/data/moon\n");
    assert_true(scene_load(scene));
    assert_int_equal(scene->problems.count, 0);
    const struct config *config = scene->config;
    assert_int_equal(config->interval_ms, 5400000);
    assert_int_equal(config->randomized_delay_ms, 0);
    assert_int_equal(config->mode, CONFIG_MODE_REBOOT);
    assert_string_equal(config->compatible, "board one");
    assert_true(config->allow_downgrade);
    assert_string_equal(config->slot_names[1], "PARTLABEL=root b");
    assert_int_equal(config->tries, 5);
    assert_int_equal(config->rate_limit_bytes_s, 2 << 20);
    assert_int_equal(config->stall_timeout_ms, 10000);
    assert_int_equal(config->max_bytes_per_update, 1 << 30);
    assert_string_equal(config->headers[0], "X-One: a;b # c");
    assert_string_equal(config->headers[1], "X-Two: 2");
    assert_null(config->headers[2]);
    assert_string_equal(config->group, "adm");
    assert_string_equal(config->selection_file, "/data/sel.json");
}

static void test_order_of_files(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, USR, MINIMAL "[Transfer]\nConnections=1\nHeader=A: 1\n");
    scene_put_file(scene, ETC, "[Transfer]\nConnections=2\n");
    assert_true(scene_load(scene));
    assert_int_equal(scene->config->connections, 2);

    /* Drop-ins go by name, whichever folder they are in. */
    scene_put_file(scene, ETC ".d/10-a.conf", "[Transfer]\nConnections=10\n");
    scene_put_file(scene, USR ".d/20-b.conf", "[Transfer]\nConnections=20\nHeader=B: 2\n");
    assert_true(scene_load(scene));
    assert_int_equal(scene->config->connections, 20);
    assert_string_equal(scene->config->headers[1], "B: 2");

    /* The same name in /etc masks the other; an empty value clears what was collected. */
    scene_put_file(scene, ETC ".d/20-b.conf", "[Transfer]\nHeader=\n");
    assert_true(scene_load(scene));
    assert_int_equal(scene->config->connections, 10);
    assert_null(scene->config->headers[0]);

    scene_put_file(scene, ETC ".d/30-c.conf", "[Transfer]\nConnections=\n");
    assert_true(scene_load(scene));
    assert_int_equal(scene->config->connections, 4);
}

static void test_own_file(void **state)
{
    struct scene *scene = *state;
    struct config_request request = {.root = scene->root, .file = "/srv/my.conf"};

    scene_put_file(scene, ETC, MINIMAL "[Transfer]\nConnections=2\n");
    assert_false(config_load(&request, &scene->config, &scene->problems));
    assert_true(scene_has_problem(scene, "/srv/my.conf"));
    config_problems_finish(&scene->problems);
    scene_put_file(scene, "/srv/my.conf", MINIMAL);
    scene_put_file(scene, "/srv/my.conf.d/1.conf", "[Boot]\nTries=2\n");
    assert_true(config_load(&request, &scene->config, &scene->problems));
    assert_int_equal(scene->config->connections, 4);
    assert_int_equal(scene->config->tries, 2);
}

static void test_stray_dropin_is_told(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, ETC, MINIMAL);
    scene_put_file(scene, ETC ".d/10-a.conf.bak", "[Transfer]\nConnections=10\n");
    assert_true(scene_load(scene));
    assert_int_equal(scene->config->connections, 4);
    assert_int_equal(scene->problems.count, 1);
    assert_int_equal(scene->problems.errors, 0);
    assert_true(scene_has_problem(scene, "10-a.conf.bak is not read"));
}

static void test_bad_lines(void **state)
{
    static const struct {
        const char *section, *line, *part;
    } cases[] = {
        {"Update", "Intervall=5min", "there is no key Intervall= in [Update]"},
        {"Updates", "Intervall=5min", "there is no section [Updates]"},
        {"Update", "Tries=3", "Tries= does not belong in [Update] but in [Boot]"},
        {"Update", "Url=http://other/x", "Url= is already set at " ETC ":2"},
        {"Update", "Interval", "neither a comment"},
        {"Update", "Interval: 5min", "neither a comment"},
        {"Update", "=5min", "names no key"},
        {"Update", "[Broken", "is no section"},
        {"Update", "Interval=five", "must be a time"},
        {"Update", "Interval=-5min", "must be a time"},
        {"Update", "Interval=5min # often", "must be a time"},
        {"Update", "Interval=0", "too small"},
        {"Update", "Interval=99999999999999999999", "too large"},
        {"Update", "Interval=18446744073709551615", "too large"},
        {"Update", "Mode=maybe", "must be check, install or reboot"},
        {"Update", "AllowDowngrade=perhaps", "must be yes or no"},
        {"Update", "Compatible=a\001b", "control character"},
        {"Boot", "Backend=lilo", "must be file, rpi-cmdline, grub, rpi-tryboot"},
        {"Boot", "UbootVariables=swupdate", "must be rauc or mender"},
        {"Boot", "EntryA=a", "must end with .conf or .efi"},
        {"Boot", "EntryA=.conf", "must be a file name"},
        {"Boot", "EntryB=b+3-0.conf", "without counters"},
        {"Boot", "EntryB=x/b.conf", "must be a file name"},
        {"Boot", "BootNameA=-x", "must be a word"},
        {"Boot", "BootNameA=a b", "must be a word"},
        {"Boot", "BootPartitionA=10", "is too large"},
        {"Boot", "Program=selector", "absolute path"},
        {"Boot", "Tries=0", "too small"},
        {"Boot", "Tries=10", "too large"},
        {"Boot", "SelectionFile=sel.json", "absolute path"},
        {"Boot", "SelectionFile=/data/../etc/passwd", "must not have"},
        {"Transfer", "Connections=33", "too large"},
        {"Transfer", "Connections=4294967300", "too large"},
        {"Transfer", "RateLimit=12Q", "number of bytes"},
        {"Transfer", "RateLimit=99999999T", "too large"},
        {"Transfer", "Proxy=ftp://x", "scheme"},
        {"Transfer", "Proxy=http://name:pass/word@proxy:1080", "a port"},
        {"Transfer", "Proxy=name:pass/word@proxy:1080", "a port"},
        {"Transfer", "Header=NoColon", "Name: value"},
        {"Transfer", "Header=Range: bytes=0-1", "must set itself"},
        {"Transfer", "Header=A b: c", "HTTP does not allow"},
        {"Transfer", "Header=@headers", "absolute path"},
        {"Transfer", "Header=@/absent/headers", "cannot open"},
        {"Transfer", "PinnedPublicKey=/etc/key.pem", "must begin with sha256//"},
        {"Transfer", "PinnedPublicKey=sha256//short=", "44 characters"},
        {"Trust", "RequireSignature=yes", "there is no *.pub in Keys=/etc/moonsinter/keys.d"},
        {"Trust", "RequireSignature=perhaps", "must be auto, yes or no"},
        {"Trust", "Keys=/etc/keys", "cannot list"},
        {"Health", "Timeout=0", "too small"},
        {"Health", "Checks=health.d", "absolute path"},
        {"Health", "Units=app", "names of units like"},
        {"Health", "Units=app.service;rm", "names of units with blanks"},
        {"Health", "Units=a.service --root=/x.service", "names of units with blanks"},
        {"Health", "Units=a.service -x.service", "names of units like"},
        {"Health", "Units=.service", "names of units like"},
        {"Health", "Server=perhaps", "yes or no"},
        {"Reboot", "Window=Caturday 02:00-04:00", "must read like"},
        {"Api", "Socket=run/x", "absolute path"},
        {"Api", "Group=a b", "no name of a group"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_refused(*state, cases[i].section, cases[i].line, cases[i].part);
}

static void test_arguments(void **state)
{
    struct scene *scene = *state;
    struct config_request request = {
        .root = scene->root,
        .url = "http://images/rootfs.squashfs",
        .slot_a = "/dev/mmcblk0p2",
        .slot_b = "/dev/mmcblk0p3",
        .minutes = "15",
    };

    scene_put_file(scene, "/boot/cmdline.txt", "root=/dev/mmcblk0p2\n");
    scene_put_file(scene, ETC, MINIMAL "[Transfer]\nConnections=2\n");
    assert_true(config_load(&request, &scene->config, &scene->problems));
    assert_string_equal(url_text_to_send(scene->config->url), "http://images/rootfs.squashfs");
    assert_string_equal(scene->config->slot_names[1], "/dev/mmcblk0p3");
    assert_int_equal(scene->config->interval_ms, 15 * 60000);
    assert_int_equal(scene->config->backend, CONFIG_BACKEND_RPI_CMDLINE);
    assert_int_equal(scene->config->mode, CONFIG_MODE_INSTALL);
    assert_int_equal(scene->config->connections, 2);
    request.minutes = "soon";
    assert_false(config_load(&request, &scene->config, &scene->problems));
    assert_true(scene_has_problem(scene, "MINUTES must be a whole number"));
}

static void test_hostile_files(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *large = alloc_printf(MINIMAL "#%0*d\n", 70000, 0);
    CLEANUP_FREE char *line = alloc_printf(MINIMAL "[Update]\nCompatible=%0*d\n", 9000, 0);
    CLEANUP_FREE char *fits = alloc_printf(MINIMAL "[Update]\nCompatible=%0*d\n", 8000, 0);
    CLEANUP_FREE char *path = alloc_printf("%s" ETC, scene->root);

    scene_put_file(scene, ETC, large);
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, "larger than"));
    scene_put_file(scene, ETC, line);
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, ETC ":7: this line is too long"));
    scene_put_file(scene, ETC, fits);
    assert_true(scene_load(scene));
    assert_int_equal(strlen(scene->config->compatible), 8000);

    FILE *stream = fopen(path, "we");
    assert_int_equal(fwrite("a\0b", 1, 3, stream), 3);
    fclose(stream);
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, "no text file"));

    unlink(path);
    mkdir(path, 0755);
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, "Is a directory"));
}

static void test_continued_lines(void **state)
{
    struct scene *scene = *state;

    scene_put_file(scene, ETC,
                   MINIMAL "[Update]\r\n  Compatible=one \\\r\n# between\n  two\\\nthree\nBad=1\n");
    assert_false(scene_load(scene));
    assert_true(scene_has_problem(scene, ETC ":11: there is no key Bad="));
    scene_put_file(scene, ETC,
                   "\xEF\xBB\xBF" MINIMAL "[Update]\r\n  Compatible=one \\\r\n# between\n  two\\\nthree");
    assert_true(scene_load(scene));
    assert_string_equal(scene->config->compatible, "one  two three");
}

static void test_print(void **state)
{
    struct scene *scene = *state;
    char *text = NULL;
    size_t size;

    scene_put_file(
        scene, ETC,
        "[Update]\nUrl=http://user:pw@host/x.img?t=pw\n[Slots]\nA=/a\nB=/b\n[Transfer]\nHeader=X: y\n");
    assert_true(scene_load(scene));
    FILE *stream = open_memstream(&text, &size);
    config_print(scene->config, stream);
    fclose(stream);
    assert_non_null(strstr(text, "[Update]\n# " ETC
                                 ":2\nUrl=http://(hidden)@host/x.img?(hidden)\n# default\nInterval=5min\n"
                                 "# default\nRandomizedDelay=30s\n"));
    assert_non_null(strstr(text, "Header=X: (hidden)\n"));
    assert_non_null(strstr(text, "SelectionFile=/var/lib/moonsinter/boot-selection.json\n"));
    assert_null(strstr(text, "pw"));
    free(text);
}

static void test_windows(void **state)
{
    struct config_window window = {0};

    assert_null(config_value_parse_window("Sat,Sun 02:00-04:30", &window));
    assert_int_equal(window.days, 0x60);
    assert_int_equal(window.begin_min, 120);
    assert_int_equal(window.end_min, 270);
    assert_null(config_value_parse_window("Fri..Mon 22:00-06:00", &window));
    assert_int_equal(window.days, 0x71);
    assert_null(config_value_parse_window("00:00-24:00", &window));
    assert_int_equal(window.days, 0x7f);
    assert_int_equal(window.end_min, 1440);
    const char *const bad[] = {"",
                               "Sat",
                               "02:00",
                               "2:00-4:00",
                               "25:00-26:00",
                               "02:00-02:00",
                               "Sat 02:60-03:00",
                               "Sat, 02:00-03:00",
                               "Mon.. 1:00-2:00",
                               "24:00-01:00"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (!config_value_parse_window(bad[i], &window))
            fail_msg("accepted %s", bad[i]);
}

static void test_values(void **state)
{
    assert_null(config_value_check_url("http://host/x"));
    assert_null(config_value_check_url("https://[::1]:8080/x"));
    const char *const bad_urls[] = {"file:///x", "http://",      "http:///x",    "http://host",
                                    "http://u@", "http://h/a b", "http://h/a#b", "http://:80/x"};
    for (size_t i = 0; i < sizeof(bad_urls) / sizeof(bad_urls[0]); i++)
        if (!config_value_check_url(bad_urls[i]))
            fail_msg("accepted %s", bad_urls[i]);
    assert_null(config_value_check_slot("LABEL=a"));
    assert_non_null(config_value_check_slot("LABEL="));
    assert_non_null(config_value_check_slot("sda1"));
}

/* The page describes the key in its section, with its default. */
static void assert_documented(const char *page, const struct config_key *key)
{
    CLEANUP_FREE char *heading = alloc_printf("\n*%s=*", key->key);
    CLEANUP_FREE char *section = alloc_printf("\n## [%s]", key->section);
    const char *begin = strstr(page, section);
    if (!begin) {
        fail_msg("no section [%s]", key->section);
        return;
    }
    const char *end = strstr(begin + 1, "\n## [");
    const char *at = strstr(begin, heading);
    if (!at || (end && at > end))
        fail_msg("%s= is not documented in [%s]", key->key, key->section);
    if (!key->default_text)
        return;
    CLEANUP_FREE char *told = alloc_printf("Default: _%s_", key->default_text);
    const char *next = strstr(at + 1, "\n*");
    const char *found = strstr(at, told);
    if (!found || (next && found > next))
        fail_msg("%s=: the page does not say \"%s\"", key->key, told);
}

/* The manual page names each key with its default, and none besides. */
static void test_manual_page(void **state)
{
    CLEANUP_FREE char *page = NULL;
    size_t size, documented = 0;
    struct error error = {0};
    const char *root = getenv("MOONSINTER_SOURCE_ROOT");

    assert_non_null(root);
    CLEANUP_FREE char *path = alloc_printf("%s/docs/moonsinterd.conf.5.scd", root);
    if (!file_read(path, 1 << 20, &page, &size, &error))
        fail_msg("%s", error.message);
    for (size_t i = 0; i < config_key_count; i++)
        assert_documented(page, &config_keys[i]);
    for (size_t i = 0; i < config_part_key_count; i++)
        assert_documented(page, &config_part_keys[i]);
    for (const char *at = page; (at = strstr(at, "\n*")); at++) {
        size_t length = strcspn(at + 2, "*\n");
        documented += length > 1 && at[1 + length] == '=' && isupper((unsigned char)at[2]);
    }
    assert_int_equal(documented, config_key_count + config_part_key_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_all_values, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_order_of_files, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_own_file, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_stray_dropin_is_told, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_lines, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_arguments, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_hostile_files, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_continued_lines, scene_set_up, scene_tear_down),
        cmocka_unit_test_setup_teardown(test_print, scene_set_up, scene_tear_down),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_manual_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
