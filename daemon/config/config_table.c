/* SPDX-License-Identifier: MIT */
#include "daemon/config/config_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "common/image/url.h"
#include "common/io/http.h"
#include "daemon/config/config_part.h"
#include "daemon/config/config_private.h"
#include "daemon/config/config_value.h"

#define SECOND UINT64_C(1000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

#define PLACE(member) offsetof(struct config, member)

static const char *check_header(const char *text)
{
    return *text == '@' ? config_value_check_path(text + 1) : http_settings_check_header(text);
}

const struct config_key config_keys[] = {
    {"Update", "Url", CONFIG_TYPE_URL, PLACE(url),
     .summary = "Address of the image; its manifest is looked for at the same address with .json after it."},
    {"Update", "Interval", CONFIG_TYPE_DURATION, PLACE(interval_ms), "5min", SECOND, 365 * DAY,
     .summary = "Time from one look at the server to the next."},
    {"Update", "RandomizedDelay", CONFIG_TYPE_DURATION, PLACE(randomized_delay_ms), NULL, 0, 365 * DAY,
     .summary =
         "A random time up to this is added to each interval, so that a fleet does not come all at once."},
    {"Update", "Mode", CONFIG_TYPE_MODE, PLACE(mode), "install",
     .summary = "How far to go without being asked."},
    {"Update", "Compatible", CONFIG_TYPE_TEXT, PLACE(compatible),
     .summary = "Install only releases made for this kind of device."},
    {"Update", "AllowDowngrade", CONFIG_TYPE_BOOL, PLACE(allow_downgrade), "no",
     .summary = "Install a release of a lower serial number, too."},

    {"Slots", "A", CONFIG_TYPE_TEXT, PLACE(slot_names[0]), .check = config_value_check_slot,
     .summary = "Slot A: a partition or a file."},
    {"Slots", "B", CONFIG_TYPE_TEXT, PLACE(slot_names[1]), .check = config_value_check_slot,
     .summary = "Slot B: a partition or a file."},

    {"Boot", "Backend", CONFIG_TYPE_BACKEND, PLACE(backend), "file",
     .summary = "How the slot that runs next is selected."},
    {"Boot", "Tries", CONFIG_TYPE_COUNT, PLACE(tries), "3", 1, 9, .for_backend = "file grub uboot",
     .summary = "How often a new slot is started before it counts as bad."},
    {"Boot", "AllowNoFallback", CONFIG_TYPE_BOOL, PLACE(allow_no_fallback), "no",
     .summary = "Reboot into a new slot although nothing can fall back from it."},
    {"Boot", "SelectionFile", CONFIG_TYPE_TEXT, PLACE(selection_file), .check = config_value_check_path,
     .for_backend = "file", .summary = "Where the file backend keeps its selection."},
    {"Boot", "CmdlineFile", CONFIG_TYPE_TEXT, PLACE(cmdline_file), .check = config_value_check_path,
     .for_backend = "rpi-cmdline",
     .summary = "The Raspberry Pi's cmdline.txt, on the mounted boot partition."},
    {"Boot", "GrubenvFile", CONFIG_TYPE_TEXT, PLACE(grubenv_file), .check = config_value_check_path,
     .for_backend = "grub", .summary = "GRUB's environment block, which grub.cfg reads."},
    {"Boot", "AutobootFile", CONFIG_TYPE_TEXT, PLACE(autoboot_file), .check = config_value_check_path,
     .for_backend = "rpi-tryboot",
     .summary = "The Raspberry Pi's autoboot.txt, on the mounted first partition."},
    {"Boot", "BootPartitionA", CONFIG_TYPE_COUNT, PLACE(boot_partitions[0]), "2", 1, 9,
     .for_backend = "rpi-tryboot", .summary = "Number of the partition whose config.txt starts slot A."},
    {"Boot", "BootPartitionB", CONFIG_TYPE_COUNT, PLACE(boot_partitions[1]), "3", 1, 9,
     .for_backend = "rpi-tryboot", .summary = "Number of the partition whose config.txt starts slot B."},
    {"Boot", "FwEnvConfig", CONFIG_TYPE_TEXT, PLACE(fw_env_config), "/etc/fw_env.config",
     .check = config_value_check_path, .for_backend = "uboot",
     .summary = "Says where U-Boot's environment is, as fw_setenv reads it."},
    {"Boot", "UbootVariables", CONFIG_TYPE_TEXT, PLACE(uboot_variables), "rauc",
     .check = config_value_check_uboot_variables, .for_backend = "uboot",
     .summary = "Which variables the board's boot script goes by."},
    {"Boot", "EntryA", CONFIG_TYPE_TEXT, PLACE(boot_entries[0]), "moonsinter-a.conf",
     .check = config_value_check_entry, .for_backend = "systemd-boot",
     .summary = "Name of systemd-boot's entry that starts slot A, without counters."},
    {"Boot", "EntryB", CONFIG_TYPE_TEXT, PLACE(boot_entries[1]), "moonsinter-b.conf",
     .check = config_value_check_entry, .for_backend = "systemd-boot",
     .summary = "Name of systemd-boot's entry that starts slot B, without counters."},
    {"Boot", "Esp", CONFIG_TYPE_TEXT, PLACE(esp), .check = config_value_check_path,
     .for_backend = "systemd-boot", .summary = "Where the EFI system partition is mounted."},
    {"Boot", "EfiVariables", CONFIG_TYPE_TEXT, PLACE(efi_variables), "/sys/firmware/efi/efivars",
     .check = config_value_check_path, .for_backend = "systemd-boot",
     .summary = "Where efivarfs is mounted."},
    {"Boot", "Program", CONFIG_TYPE_TEXT, PLACE(boot_program), .check = config_value_check_path,
     .for_backend = "custom", .summary = "The program that knows the boot loader."},
    {"Boot", "BootNameA", CONFIG_TYPE_TEXT, PLACE(boot_names[0]), "A", .check = config_value_check_boot_name,
     .for_backend = "custom uboot", .summary = "What the program, or U-Boot's script, calls slot A."},
    {"Boot", "BootNameB", CONFIG_TYPE_TEXT, PLACE(boot_names[1]), "B", .check = config_value_check_boot_name,
     .for_backend = "custom uboot", .summary = "What the program, or U-Boot's script, calls slot B."},

    {"Transfer", "Connections", CONFIG_TYPE_COUNT, PLACE(connections), "4", 1, HTTP_CONNECTIONS_MAX,
     .summary = "Requests under way at the same time."},
    {"Transfer", "RateLimit", CONFIG_TYPE_SIZE, PLACE(rate_limit_bytes_s), "0", 0, UINT64_C(1) << 40,
     .summary = "Bytes a second that all downloads together may take; 0 is no limit."},
    {"Transfer", "StallTimeout", CONFIG_TYPE_DURATION, PLACE(stall_timeout_ms), "30s", SECOND, HOUR,
     .summary = "A request that stands still for so long has failed and is made again."},
    {"Transfer", "MaxBytesPerUpdate", CONFIG_TYPE_SIZE, PLACE(max_bytes_per_update), "0", 0,
     UINT64_C(1) << 50,
     .summary = "An update that would download more than this is not begun; 0 is no limit."},
    {"Transfer", "Proxy", CONFIG_TYPE_TEXT, PLACE(proxy), .check = config_value_check_proxy,
     .summary = "The proxy to go through instead of the one in the environment."},
    {"Transfer", "CaFile", CONFIG_TYPE_FILE, PLACE(ca_file),
     .summary = "PEM file of the authorities that servers are checked against instead of the system's."},
    {"Transfer", "ClientCertificate", CONFIG_TYPE_FILE, PLACE(client_certificate),
     .summary = "PEM file of the certificate that is shown to servers."},
    {"Transfer", "ClientKey", CONFIG_TYPE_FILE, PLACE(client_key),
     .summary = "PEM file of the key to ClientCertificate=."},
    {"Transfer", "PinnedPublicKey", CONFIG_TYPE_TEXT, PLACE(pinned_public_key),
     .check = http_settings_check_pins,
     .summary = "Hashes of the public keys of which a server must show one, as sha256//BASE64."},
    {"Transfer", "Header", CONFIG_TYPE_LIST, PLACE(headers), .check = check_header, .secret = true,
     .summary = "A header for the server that Url= names, or @ and a file of such; may stand several times."},

    {"Trust", "RequireSignature", CONFIG_TYPE_DEMAND, PLACE(require_signature), "auto",
     .summary = "Install nothing whose manifest is not signed by a trusted key."},
    {"Trust", "Keys", CONFIG_TYPE_TEXT, PLACE(keys_folder), "/etc/moonsinter/keys.d",
     .check = config_value_check_path, .summary = "Folder of the trusted minisign keys, *.pub."},

    {"Health", "Checks", CONFIG_TYPE_TEXT, PLACE(health_checks), "/etc/moonsinter/health.d",
     .check = config_value_check_path,
     .summary = "Folder of the programs that decide whether a slot on trial is good."},
    {"Health", "Units", CONFIG_TYPE_LIST, PLACE(health_units), .check = config_value_check_units,
     .summary = "systemd units that must be active; may stand several times."},
    {"Health", "Server", CONFIG_TYPE_BOOL, PLACE(health_server), "no",
     .summary = "Whether the image server must be reachable, too."},
    {"Health", "Timeout", CONFIG_TYPE_DURATION, PLACE(health_timeout_ms), "5min", SECOND, DAY,
     .summary = "Time in which all checks together must have passed."},

    {"Reboot", "Window", CONFIG_TYPE_WINDOW, PLACE(windows),
     .summary = "When the machine may be rebooted; may stand several times."},

    {"Api", "Socket", CONFIG_TYPE_TEXT, PLACE(socket), "/run/moonsinter/moonsinterd.sock",
     .check = config_value_check_path, .summary = "Where the API listens."},
    {"Api", "Group", CONFIG_TYPE_TEXT, PLACE(group), .check = config_value_check_group,
     .summary = "Group whose members may use the API."},

    {"Storage", "StateDirectory", CONFIG_TYPE_TEXT, PLACE(state_directory), "/var/lib/moonsinter",
     .check = config_value_check_path,
     .summary = "Folder of what must outlive updates; both slots must see the same."},
};
const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);

#define PART_PLACE(member) offsetof(struct config_part, member)

const struct config_key config_part_keys[] = {
    {CONFIG_PART_SECTION, "A", CONFIG_TYPE_TEXT, PART_PLACE(slot_names[0]), .check = config_value_check_slot,
     .summary = "Where slot A's image of this part lies: a partition, or a file on a mounted one."},
    {CONFIG_PART_SECTION, "B", CONFIG_TYPE_TEXT, PART_PLACE(slot_names[1]), .check = config_value_check_slot,
     .summary = "Where slot B's image of this part lies."},
    {CONFIG_PART_SECTION, "Missing", CONFIG_TYPE_MISSING, PART_PLACE(carry), "refuse",
     .summary = "What to do with a release that does not bring this part."},
};
const size_t config_part_key_count = sizeof(config_part_keys) / sizeof(config_part_keys[0]);
static_assert(sizeof(config_part_keys) / sizeof(config_part_keys[0]) == CONFIG_PART_KEYS,
              "each key of a part has room for its origin");

static const char *const mode_names[] = {"check", "install", "reboot"};

static const char *const demand_names[] = {"auto", "no", "yes"};

static const char *const backend_names[] = {
    [CONFIG_BACKEND_FILE] = "file",     [CONFIG_BACKEND_RPI_CMDLINE] = "rpi-cmdline",
    [CONFIG_BACKEND_GRUB] = "grub",     [CONFIG_BACKEND_RPI_TRYBOOT] = "rpi-tryboot",
    [CONFIG_BACKEND_UBOOT] = "uboot",   [CONFIG_BACKEND_SYSTEMD_BOOT] = "systemd-boot",
    [CONFIG_BACKEND_CUSTOM] = "custom",
};

const char *config_backend_name(enum config_backend backend)
{
    return backend_names[backend];
}

bool config_key_is_list(const struct config_key *key)
{
    return key->type == CONFIG_TYPE_LIST || key->type == CONFIG_TYPE_WINDOW;
}

static void *place(const struct config_key *key, struct config *config)
{
    return (char *)config + key->offset;
}

static const char *explain_number(int result, const char *form)
{
    return result == -ERANGE ? "is too large" : form;
}

static const char *set_number(const struct config_key *key, struct config *config, const char *text)
{
    uint64_t value = 0;
    const char *why = NULL;
    int result;

    if (key->type == CONFIG_TYPE_COUNT) {
        result = text_parse_u64(text, &value);
        why = explain_number(result, "must be a number");
    } else if (key->type == CONFIG_TYPE_SIZE) {
        result = text_parse_size(text, &value);
        why = explain_number(result, "must be a number of bytes, with K, M, G or T after it if need be");
    } else {
        result = text_parse_duration(text, &value);
        why = explain_number(result, "must be a time like 90s, 5min or 1h 30min");
    }
    if (result < 0)
        return why;
    if (value < key->min)
        return "is too small; see moonsinterd.conf(5)";
    if (value > key->max)
        return "is too large; see moonsinterd.conf(5)";
    if (key->type == CONFIG_TYPE_COUNT)
        *(unsigned *)place(key, config) = (unsigned)value;
    else
        *(uint64_t *)place(key, config) = value;
    return NULL;
}

static const char *set_backend(struct config *config, const char *text)
{
    for (size_t i = 0; i < sizeof(backend_names) / sizeof(backend_names[0]); i++) {
        if (strcmp(text, backend_names[i]) == 0) {
            config->backend = (enum config_backend)i;
            return NULL;
        }
    }
    return "must be file, rpi-cmdline, grub, rpi-tryboot, uboot, systemd-boot or custom";
}

static const char *set_demand(struct config *config, const char *text)
{
    bool yes;

    if (strcmp(text, demand_names[CONFIG_DEMAND_AUTO]) == 0)
        config->require_signature = CONFIG_DEMAND_AUTO;
    else if (text_parse_bool(text, &yes) < 0)
        return "must be auto, yes or no";
    else
        config->require_signature = yes ? CONFIG_DEMAND_YES : CONFIG_DEMAND_NO;
    return NULL;
}

static const char *set_missing(const struct config_key *key, struct config *config, const char *text)
{
    bool carry = strcmp(text, "carry") == 0;

    if (!carry && strcmp(text, "refuse") != 0)
        return "must be refuse or carry";
    *(bool *)place(key, config) = carry;
    return NULL;
}

static const char *set_mode(struct config *config, const char *text)
{
    for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++)
        if (strcmp(text, mode_names[i]) == 0) {
            config->mode = (enum config_mode)i;
            return NULL;
        }
    return "must be check, install or reboot";
}

static const char *add_text(const struct config_key *key, struct config *config, const char *text)
{
    char **list = place(key, config);
    size_t count = 0;
    const char *why = key->check(text);

    if (why)
        return why;
    while (list[count])
        count++;
    if (count == CONFIG_LIST_MAX)
        return "is one too many; 16 are allowed";
    list[count] = alloc_string(text);
    return NULL;
}

static const char *set_url(const struct config_key *key, struct config *config, const char *text)
{
    const char *why = config_value_check_url(text);
    struct error error;

    if (why)
        return why;
    config_key_clear(key, config);
    bool taken = url_new(text, place(key, config), &error);
    assert(taken); /* by the same rules */
    return NULL;
}

static const char *add_window(struct config *config, const char *text)
{
    struct config_window window;
    const char *why = config_value_parse_window(text, &window);

    if (why)
        return why;
    if (config->window_count == CONFIG_LIST_MAX)
        return "is one window too many; 16 are allowed";
    config->windows[config->window_count++] = window;
    return NULL;
}

const char *config_key_set(const struct config_key *key, struct config *config, const char *text)
{
    const char *why;

    switch (key->type) {
    case CONFIG_TYPE_BOOL:
        return text_parse_bool(text, place(key, config)) < 0 ? "must be yes or no" : NULL;
    case CONFIG_TYPE_COUNT:
    case CONFIG_TYPE_SIZE:
    case CONFIG_TYPE_DURATION:
        return set_number(key, config, text);
    case CONFIG_TYPE_MODE:
        return set_mode(config, text);
    case CONFIG_TYPE_DEMAND:
        return set_demand(config, text);
    case CONFIG_TYPE_BACKEND:
        return set_backend(config, text);
    case CONFIG_TYPE_MISSING:
        return set_missing(key, config, text);
    case CONFIG_TYPE_TEXT:
    case CONFIG_TYPE_FILE:
        why = key->type == CONFIG_TYPE_FILE ? config_value_check_path(text)
              : key->check                  ? key->check(text)
                                            : NULL;
        if (why)
            return why;
        config_key_clear(key, config);
        *(char **)place(key, config) = alloc_string(text);
        return NULL;
    case CONFIG_TYPE_URL:
        return set_url(key, config, text);
    case CONFIG_TYPE_LIST:
        return add_text(key, config, text);
    case CONFIG_TYPE_WINDOW:
        return add_window(config, text);
    }
    assert(false);
    return NULL;
}

void config_key_clear(const struct config_key *key, struct config *config)
{
    switch (key->type) {
    case CONFIG_TYPE_BOOL:
    case CONFIG_TYPE_COUNT:
    case CONFIG_TYPE_SIZE:
    case CONFIG_TYPE_DURATION:
    case CONFIG_TYPE_MODE:
    case CONFIG_TYPE_DEMAND:
    case CONFIG_TYPE_BACKEND:
    case CONFIG_TYPE_MISSING:
        break;
    case CONFIG_TYPE_TEXT:
    case CONFIG_TYPE_FILE:
        free(*(char **)place(key, config));
        *(char **)place(key, config) = NULL;
        break;
    case CONFIG_TYPE_URL:
        *(struct url **)place(key, config) = url_free(*(struct url **)place(key, config));
        break;
    case CONFIG_TYPE_LIST:
        for (char **item = place(key, config); *item; item++) {
            free(*item);
            *item = NULL;
        }
        break;
    case CONFIG_TYPE_WINDOW:
        config->window_count = 0;
        break;
    }
}

void config_key_reset(const struct config_key *key, struct config *config)
{
    config_key_clear(key, config);
    if (key->default_text) {
        const char *why = config_key_set(key, config, key->default_text);
        assert(!why);
    } else if (key->type == CONFIG_TYPE_DURATION) {
        *(uint64_t *)place(key, config) = 0;
    }
}
