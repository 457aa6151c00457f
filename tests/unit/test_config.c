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
#include "common/sinter/trust.h"
#include "daemon/config.h"
#include "daemon/config_value.h"

#define MINIMAL "[Update]\nUrl=http://host/rootfs.img\n[Slots]\nA=/dev/sda2\nB=/dev/sda3\n"
#define ETC     "/etc/moonsinter/moonsinterd.conf"
#define USR     "/usr/lib/moonsinter/moonsinterd.conf"

/* A machine's folders, and what was read from them. */
struct scene {
    char root[64];
    struct config *config;
    struct config_problems problems;
};

static int scene_setup(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));

    snprintf(scene->root, sizeof(scene->root), "/tmp/test_config.XXXXXX");
    assert_non_null(mkdtemp(scene->root));
    *state = scene;
    return 0;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -rf '%s'", scene->root);

    config_free(scene->config);
    config_problems_finish(&scene->problems);
    assert_int_equal(system(command), 0);
    free(scene);
    return 0;
}

static void put_file(const struct scene *scene, const char *path, const char *text)
{
    CLEANUP_FREE char *full = alloc_printf("%s%s", scene->root, path);
    CLEANUP_FREE char *folder = alloc_string(full);

    *strrchr(folder, '/') = 0;
    assert_int_equal(file_make_folders(folder), 0);
    FILE *stream = fopen(full, "we");
    assert_non_null(stream);
    fputs(text, stream);
    /* What holds secrets is their owner's alone. */
    assert_int_equal(fchmod(fileno(stream), 0600), 0);
    fclose(stream);
}

static void open_file(const struct scene *scene, const char *path)
{
    CLEANUP_FREE char *full = alloc_printf("%s%s", scene->root, path);

    assert_int_equal(chmod(full, 0644), 0);
}

static bool load(struct scene *scene)
{
    struct config_request request = {.root = scene->root};

    scene->config = config_free(scene->config);
    config_problems_finish(&scene->problems);
    return config_load(&request, &scene->config, &scene->problems);
}

static bool has_problem(const struct scene *scene, const char *part)
{
    for (size_t i = 0; i < scene->problems.count; i++)
        if (strstr(scene->problems.items[i].message, part))
            return true;
    for (size_t i = 0; i < scene->problems.count; i++)
        print_message("problem: %s\n", scene->problems.items[i].message);
    return false;
}

/* One line more in an otherwise good file is refused with `part` in the sentence. */
static void assert_refused(struct scene *scene, const char *section, const char *line, const char *part)
{
    CLEANUP_FREE char *text = alloc_printf(MINIMAL "[%s]\n%s\n", section, line);

    put_file(scene, ETC, text);
    if (load(scene))
        fail_msg("accepted: %s", line);
    if (!has_problem(scene, part))
        fail_msg("%s: no problem says \"%s\"", line, part);
    assert_true(has_problem(scene, ETC ":7"));
}

static void test_defaults(void **state)
{
    struct scene *scene = *state;

    put_file(scene, ETC, MINIMAL);
    assert_true(load(scene));
    assert_int_equal(scene->problems.count, 0);
    const struct config *config = scene->config;
    assert_string_equal(config->url, "http://host/rootfs.img");
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

    put_file(scene, "/etc/ssl/x.pem", "x");
    put_file(
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
    assert_true(load(scene));
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

    put_file(scene, USR, MINIMAL "[Transfer]\nConnections=1\nHeader=A: 1\n");
    put_file(scene, ETC, "[Transfer]\nConnections=2\n");
    assert_true(load(scene));
    assert_int_equal(scene->config->connections, 2);

    /* Drop-ins go by name, whichever folder they are in. */
    put_file(scene, ETC ".d/10-a.conf", "[Transfer]\nConnections=10\n");
    put_file(scene, USR ".d/20-b.conf", "[Transfer]\nConnections=20\nHeader=B: 2\n");
    assert_true(load(scene));
    assert_int_equal(scene->config->connections, 20);
    assert_string_equal(scene->config->headers[1], "B: 2");

    /* The same name in /etc masks the other; an empty value clears what was collected. */
    put_file(scene, ETC ".d/20-b.conf", "[Transfer]\nHeader=\n");
    assert_true(load(scene));
    assert_int_equal(scene->config->connections, 10);
    assert_null(scene->config->headers[0]);

    put_file(scene, ETC ".d/30-c.conf", "[Transfer]\nConnections=\n");
    assert_true(load(scene));
    assert_int_equal(scene->config->connections, 4);
}

static void test_own_file(void **state)
{
    struct scene *scene = *state;
    struct config_request request = {.root = scene->root, .file = "/srv/my.conf"};

    put_file(scene, ETC, MINIMAL "[Transfer]\nConnections=2\n");
    assert_false(config_load(&request, &scene->config, &scene->problems));
    assert_true(has_problem(scene, "/srv/my.conf"));
    config_problems_finish(&scene->problems);
    put_file(scene, "/srv/my.conf", MINIMAL);
    put_file(scene, "/srv/my.conf.d/1.conf", "[Boot]\nTries=2\n");
    assert_true(config_load(&request, &scene->config, &scene->problems));
    assert_int_equal(scene->config->connections, 4);
    assert_int_equal(scene->config->tries, 2);
}

static void test_stray_dropin_is_told(void **state)
{
    struct scene *scene = *state;

    put_file(scene, ETC, MINIMAL);
    put_file(scene, ETC ".d/10-a.conf.bak", "[Transfer]\nConnections=10\n");
    assert_true(load(scene));
    assert_int_equal(scene->config->connections, 4);
    assert_int_equal(scene->problems.count, 1);
    assert_int_equal(scene->problems.errors, 0);
    assert_true(has_problem(scene, "10-a.conf.bak is not read"));
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

#define KEYS "/etc/moonsinter/keys.d/"
#define KEY                                                                                                  \
    "untrusted comment: minisign public key\n"                                                               \
    "RWQEzQZAvbXJA5c0/gmcZPbzqgT43XomyRtgfpG1jW5Dgf2u10HfSaxm\n"

static void test_keys(void **state)
{
    struct scene *scene = *state;

    put_file(scene, ETC, MINIMAL);
    assert_true(load(scene));
    assert_int_equal(trust_keys_count(scene->config->keys), 0);
    assert_int_equal(scene->config->require_signature, CONFIG_DEMAND_AUTO);
    put_file(scene, KEYS "a.pub", KEY);
    put_file(scene, KEYS "a.pub~", "an editor left this");
    put_file(scene, ETC, MINIMAL "[Trust]\nRequireSignature=yes\n");
    assert_true(load(scene));
    assert_int_equal(trust_keys_count(scene->config->keys), 1);
    assert_int_equal(scene->config->require_signature, CONFIG_DEMAND_YES);
    assert_int_equal(scene->problems.count, 1);
    assert_non_null(strstr(scene->problems.items[0].message, "a.pub~"));
    /* Without the one that cannot be read somebody else might be trusted; a folder of that name is none. */
    put_file(scene, KEYS "b.pub", "no key");
    assert_false(load(scene));
    assert_non_null(strstr(scene->problems.items[scene->problems.count - 1].message, "b.pub"));
    put_file(scene, KEYS "b.pub", KEY);
    put_file(scene, KEYS "c.pub/x", "");
    assert_false(load(scene));
}

static void test_secret_stays_out_of_messages(void **state)
{
    struct scene *scene = *state;

    put_file(scene, ETC, MINIMAL "[Transfer]\nHeader=Host: hunter2\n");
    assert_false(load(scene));
    for (size_t i = 0; i < scene->problems.count; i++)
        assert_null(strstr(scene->problems.items[i].message, "hunter2"));

    put_file(scene, ETC,
             "[Update]\nUrl=htp://user:hunter2@host/x\n[Slots]\nA=/a\nB=/b\n[Transfer]\n"
             "Proxy=foo://u:hunter2@h\nHeader=hunter2\n");
    assert_false(load(scene));
    assert_true(has_problem(scene, "Url=htp://host/x: must begin"));
    assert_true(has_problem(scene, "Proxy=foo://h: has a scheme"));
    for (size_t i = 0; i < scene->problems.count; i++)
        assert_null(strstr(scene->problems.items[i].message, "hunter2"));
}

static void test_secrets_that_all_may_read_are_told(void **state)
{
    struct scene *scene = *state;

    put_file(scene, "/etc/ssl/x.key", "x");
    put_file(scene, ETC,
             MINIMAL "[Transfer]\nHeader=X-Key: hunter2\nProxy=http://u:hunter2@h\n"
                     "ClientKey=/etc/ssl/x.key\nClientCertificate=/etc/ssl/x.key\n");
    assert_true(load(scene));
    assert_int_equal(scene->problems.count, 0);
    open_file(scene, ETC);
    open_file(scene, "/etc/ssl/x.key");
    assert_true(load(scene));
    assert_int_equal(scene->problems.count, 3);
    assert_true(has_problem(scene, ETC ":7: the secret in Header= can be read by every user"));
    assert_true(has_problem(scene, ETC ":8: the secret in Proxy= can be read by every user"));
    assert_true(has_problem(scene, "ClientKey=/etc/ssl/x.key: can be read by every user"));
    for (size_t i = 0; i < scene->problems.count; i++)
        assert_null(strstr(scene->problems.items[i].message, "hunter2"));

    /* What is no secret may be read by everybody. */
    put_file(scene, ETC, MINIMAL "[Transfer]\nProxy=http://h\n");
    open_file(scene, ETC);
    assert_true(load(scene));
    assert_int_equal(scene->problems.count, 0);
}

static void test_header_files(void **state)
{
    struct scene *scene = *state;

    put_file(scene, "/etc/secret", "# ours\nX-One: 1\n\nX-Two: 2\r\n");
    put_file(scene, ETC, MINIMAL "[Transfer]\nHeader=X-Zero: 0\nHeader=@/etc/secret\n");
    assert_true(load(scene));
    assert_string_equal(scene->config->header_lines[0], "X-Zero: 0");
    assert_string_equal(scene->config->header_lines[1], "X-One: 1");
    assert_string_equal(scene->config->header_lines[2], "X-Two: 2");
    assert_null(scene->config->header_lines[3]);

    open_file(scene, "/etc/secret");
    assert_false(load(scene));
    assert_true(has_problem(scene, ETC ":8: Header=: "));
    assert_true(has_problem(scene, "/etc/secret may be read by others"));

    /* One that a later drop-in takes back is not even opened. */
    put_file(scene, ETC ".d/1.conf", "[Transfer]\nHeader=\n");
    assert_true(load(scene));
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

    put_file(scene, ETC, plain);
    assert_false(load(scene));
    assert_true(has_problem(scene, "PinnedPublicKey= in [Transfer] needs a Url= that begins with https://"));
    put_file(scene, ETC, encrypted);
    assert_true(load(scene));
}

static void test_together(void **state)
{
    struct scene *scene = *state;

    assert_false(load(scene));
    assert_int_equal(scene->problems.errors, 3);
    assert_true(has_problem(scene, "Url= is missing"));
    assert_true(has_problem(scene, "B= is missing"));

    put_file(scene, ETC, "[Update]\nUrl=http://h/x\n[Slots]\nA=/x\nB=/x\n");
    assert_false(load(scene));
    assert_true(has_problem(scene, "are the same"));

    put_file(scene, ETC, MINIMAL "[Transfer]\nCaFile=/nowhere.pem\nClientKey=/nowhere.key\n");
    assert_false(load(scene));
    assert_true(has_problem(scene, "CaFile=/nowhere.pem: cannot be read"));
    assert_true(has_problem(scene, "need each other"));

    CLEANUP_FREE char *text = alloc_printf(MINIMAL "[Api]\nSocket=/run/%0*d\n", 110, 0);
    put_file(scene, ETC, text);
    assert_false(load(scene));
    assert_true(has_problem(scene, "is longer than the 107 characters"));

    /* All at once, not one a run. */
    put_file(scene, ETC, "[Update]\nUrl=ftp://h/x\nFoo=1\n[Bar]\nBaz=1\n[Boot]\nTries=x\n");
    assert_false(load(scene));
    assert_int_equal(scene->problems.errors, 6);
    assert_false(has_problem(scene, "Url= is missing"));
}

static void test_rpi_cmdline(void **state)
{
    struct scene *scene = *state;

    put_file(scene, ETC, MINIMAL "[Boot]\nBackend=rpi-cmdline\n");
    assert_false(load(scene));
    assert_true(has_problem(scene, "mount the boot partition"));
    put_file(scene, "/boot/cmdline.txt", "root=/dev/sda2\n");
    assert_true(load(scene));
    assert_string_equal(scene->config->cmdline_file, "/boot/cmdline.txt");
    put_file(scene, "/boot/firmware/cmdline.txt", "root=/dev/sda2\n");
    assert_true(load(scene));
    assert_string_equal(scene->config->cmdline_file, "/boot/firmware/cmdline.txt");

    put_file(scene, ETC ".d/a.conf", "[Update]\nMode=reboot\n");
    assert_false(load(scene));
    assert_true(has_problem(scene, "needs AllowNoFallback=yes"));
    put_file(scene, ETC ".d/b.conf", "[Boot]\nAllowNoFallback=yes\nTries=2\n");
    assert_true(load(scene));
    assert_true(has_problem(scene, "Tries= has no effect with Backend=rpi-cmdline"));
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
        put_file(scene, ETC, text);
        assert_false(load(scene));
        assert_true(has_problem(scene, rows[i].missing));
        put_file(scene, rows[i].path, "\n");
        assert_true(load(scene));
    }
    assert_string_equal(scene->config->boot_program, "/usr/bin/selector");
    put_file(scene, ETC, MINIMAL "[Boot]\nBackend=custom\n");
    assert_false(load(scene));
    assert_true(has_problem(scene, "Program= is missing in [Boot]"));
    put_file(scene, ETC, MINIMAL "[Boot]\nBackend=uboot\nTries=4\nEsp=/efi\n");
    assert_true(load(scene));
    assert_false(has_problem(scene, "Tries= has no effect"));
    assert_true(has_problem(scene, "Esp= has no effect with Backend=uboot"));
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

    put_file(scene, "/boot/cmdline.txt", "root=/dev/mmcblk0p2\n");
    put_file(scene, ETC, MINIMAL "[Transfer]\nConnections=2\n");
    assert_true(config_load(&request, &scene->config, &scene->problems));
    assert_string_equal(scene->config->url, "http://images/rootfs.squashfs");
    assert_string_equal(scene->config->slot_names[1], "/dev/mmcblk0p3");
    assert_int_equal(scene->config->interval_ms, 15 * 60000);
    assert_int_equal(scene->config->backend, CONFIG_BACKEND_RPI_CMDLINE);
    assert_int_equal(scene->config->mode, CONFIG_MODE_INSTALL);
    assert_int_equal(scene->config->connections, 2);
    request.minutes = "soon";
    assert_false(config_load(&request, &scene->config, &scene->problems));
    assert_true(has_problem(scene, "MINUTES must be a whole number"));
}

static void test_hostile_files(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *large = alloc_printf(MINIMAL "#%0*d\n", 70000, 0);
    CLEANUP_FREE char *line = alloc_printf(MINIMAL "[Update]\nCompatible=%0*d\n", 9000, 0);
    CLEANUP_FREE char *fits = alloc_printf(MINIMAL "[Update]\nCompatible=%0*d\n", 8000, 0);
    CLEANUP_FREE char *path = alloc_printf("%s" ETC, scene->root);

    put_file(scene, ETC, large);
    assert_false(load(scene));
    assert_true(has_problem(scene, "larger than"));
    put_file(scene, ETC, line);
    assert_false(load(scene));
    assert_true(has_problem(scene, ETC ":7: this line is too long"));
    put_file(scene, ETC, fits);
    assert_true(load(scene));
    assert_int_equal(strlen(scene->config->compatible), 8000);

    FILE *stream = fopen(path, "we");
    assert_int_equal(fwrite("a\0b", 1, 3, stream), 3);
    fclose(stream);
    assert_false(load(scene));
    assert_true(has_problem(scene, "no text file"));

    unlink(path);
    mkdir(path, 0755);
    assert_false(load(scene));
    assert_true(has_problem(scene, "Is a directory"));
}

static void test_continued_lines(void **state)
{
    struct scene *scene = *state;

    put_file(scene, ETC, MINIMAL "[Update]\r\n  Compatible=one \\\r\n# between\n  two\\\nthree\nBad=1\n");
    assert_false(load(scene));
    assert_true(has_problem(scene, ETC ":11: there is no key Bad="));
    put_file(scene, ETC,
             "\xEF\xBB\xBF" MINIMAL "[Update]\r\n  Compatible=one \\\r\n# between\n  two\\\nthree");
    assert_true(load(scene));
    assert_string_equal(scene->config->compatible, "one  two three");
}

static void test_print(void **state)
{
    struct scene *scene = *state;
    char *text = NULL;
    size_t size;

    put_file(scene, ETC,
             "[Update]\nUrl=http://user:pw@host/x.img?t=pw\n[Slots]\nA=/a\nB=/b\n[Transfer]\nHeader=X: y\n");
    assert_true(load(scene));
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

/* The manual page names each key with its default, and none besides. */
static void test_manual_page(void **state)
{
    CLEANUP_FREE char *page = NULL;
    size_t size, documented = 0, count = 0;
    struct config_key_info info;
    struct error error = {0};
    const char *root = getenv("MOONSINTER_SOURCE_ROOT");

    assert_non_null(root);
    CLEANUP_FREE char *path = alloc_printf("%s/docs/moonsinterd.conf.5.scd", root);
    if (!file_read(path, 1 << 20, &page, &size, &error))
        fail_msg("%s", error.message);
    for (; config_get_key_info(count, &info); count++) {
        CLEANUP_FREE char *heading = alloc_printf("\n*%s=*", info.key);
        CLEANUP_FREE char *section = alloc_printf("\n## [%s]", info.section);
        const char *begin = strstr(page, section);
        if (!begin) {
            fail_msg("no section [%s]", info.section);
            return;
        }
        const char *end = strstr(begin + 1, "\n## [");
        const char *at = strstr(begin, heading);
        if (!at || (end && at > end))
            fail_msg("%s= is not documented in [%s]", info.key, info.section);
        if (!*info.default_text)
            continue;
        CLEANUP_FREE char *told = alloc_printf("Default: _%s_", info.default_text);
        const char *next = strstr(at + 1, "\n*");
        const char *found = strstr(at, told);
        if (!found || (next && found > next))
            fail_msg("%s=: the page does not say \"%s\"", info.key, told);
    }
    for (const char *at = page; (at = strstr(at, "\n*")); at++) {
        size_t length = strcspn(at + 2, "*\n");
        documented += length > 1 && at[1 + length] == '=' && isupper((unsigned char)at[2]);
    }
    assert_int_equal(documented, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_all_values, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_order_of_files, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_own_file, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_stray_dropin_is_told, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_bad_lines, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_keys, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_secret_stays_out_of_messages, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_secrets_that_all_may_read_are_told, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_header_files, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_pins_need_encryption, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_together, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_rpi_cmdline, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_boot_files, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_arguments, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_hostile_files, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_continued_lines, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_print, scene_setup, scene_teardown),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_manual_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
