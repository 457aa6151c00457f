/* SPDX-License-Identifier: MIT */
#include "daemon/config/config_private.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/image/url.h"
#include "common/sinter/trust.h"
#include "daemon/config/config_files.h"
#include "daemon/config/config_part.h"
#include "daemon/config/config_secret.h"
#include "daemon/config/config_table.h"

/* The file each boot backend changes: where it is looked for when no key says, and what to do when it is not
 * there. */
static const struct boot_file {
    enum config_backend backend;
    const char *key;
    size_t offset; /* in struct config */
    const char *places[2];
    const char *mend;
} boot_files[] = {
    {CONFIG_BACKEND_RPI_CMDLINE,
     "CmdlineFile",
     offsetof(struct config, cmdline_file),
     {"/boot/firmware/cmdline.txt", "/boot/cmdline.txt"},
     "mount the boot partition"},
    {CONFIG_BACKEND_GRUB,
     "GrubenvFile",
     offsetof(struct config, grubenv_file),
     {"/boot/grub/grubenv", "/boot/grub2/grubenv"},
     "make it with grub-editenv /boot/grub/grubenv create"},
    {CONFIG_BACKEND_RPI_TRYBOOT,
     "AutobootFile",
     offsetof(struct config, autoboot_file),
     {"/boot/firmware/autoboot.txt", "/boot/autoboot.txt"},
     "mount the first partition"},
};
enum { BOOT_FILE_COUNT = sizeof(boot_files) / sizeof(boot_files[0]) };

static const char *boot_file_path(const struct boot_file *file, const struct config *config)
{
    return *(char *const *)((const char *)config + file->offset);
}

static void find_boot_file(const struct boot_file *file, struct config *config, const char *root)
{
    for (size_t i = 0; i < 2 && !boot_file_path(file, config); i++) {
        CLEANUP_FREE char *path = alloc_printf("%s%s", root, file->places[i]);
        if (access(path, F_OK) == 0)
            *(char **)((char *)config + file->offset) = alloc_string(file->places[i]);
    }
}

/* Fills in what the table cannot: defaults that depend on other settings or on the machine. */
static void find_defaults(struct config *config, const char *root)
{
    if (!config_find_origin(config, "Update", "RandomizedDelay")->count)
        config->randomized_delay_ms = config->interval_ms / 10;
    config->health_checks_optional = !config_find_origin(config, "Health", "Checks")->count;
    config->has_boot_partition[0] = config_find_origin(config, "Boot", "BootPartitionA")->count;
    config->has_boot_partition[1] = config_find_origin(config, "Boot", "BootPartitionB")->count;
    if (!config->selection_file)
        config->selection_file = alloc_printf("%s/boot-selection.json", config->state_directory);
    for (size_t i = 0; i < BOOT_FILE_COUNT; i++)
        if (config->backend == boot_files[i].backend)
            find_boot_file(&boot_files[i], config, root);
}

static void check_file(struct config_problems *problems, const char *root, const char *key, const char *file)
{
    CLEANUP_FREE char *path = file ? alloc_printf("%s%s", root, file) : NULL;

    if (path && access(path, R_OK) < 0)
        config_problems_add(problems, true, "%s=%s: cannot be read: %s", key, file, strerror(errno));
}

/* Puts together the lines of all headers. The files are read here and not at the line that names them, which
 * a later drop-in may take back. */
static void read_headers(struct config *config, const char *root, struct config_problems *problems)
{
    const struct config_origin *origin = config_find_origin(config, "Transfer", "Header");
    struct error error;

    for (size_t i = 0; i < origin->count; i++)
        if (!http_settings_add_headers(config->header_lines, root, origin->texts[i], &error))
            config_problems_add(problems, true, "%s: Header=: %s", origin->places[i], error.message);
}

static void check_boot_file(const struct config *config, const struct boot_file *file, const char *root,
                            struct config_problems *problems)
{
    const char *path = boot_file_path(file, config);

    if (config->backend != file->backend)
        return;
    CLEANUP_FREE char *full = path ? alloc_printf("%s%s", root, path) : NULL;
    if (path && config->backend == CONFIG_BACKEND_GRUB && access(full, F_OK) < 0)
        config_problems_add(problems, true, "%s=%s: is not there: make it with grub-editenv %s create",
                            file->key, path, path);
    else if (path)
        check_file(problems, root, file->key, path);
    else
        config_problems_add(problems, true, "neither %s nor %s is there: %s, or set %s= in [Boot]",
                            file->places[0], file->places[1], file->mend, file->key);
}

bool config_has_boot_file(const struct config *config)
{
    for (size_t i = 0; i < BOOT_FILE_COUNT; i++)
        if (config->backend == boot_files[i].backend)
            return boot_file_path(&boot_files[i], config) != NULL;
    return config->backend != CONFIG_BACKEND_CUSTOM || config->boot_program;
}

/* Whether `word` is among the words of `text`, which blanks part. */
static bool has_word(const char *text, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = text; (at = strstr(at, word)); at += length)
        if ((at == text || at[-1] == ' ') && (at[length] == 0 || at[length] == ' '))
            return true;
    return false;
}

static void check_boot(const struct config *config, const char *root, struct config_problems *problems)
{
    const char *backend = config_backend_name(config->backend);

    for (size_t i = 0; i < BOOT_FILE_COUNT; i++)
        check_boot_file(config, &boot_files[i], root, problems);
    if (config->backend == CONFIG_BACKEND_UBOOT)
        check_file(problems, root, "FwEnvConfig", config->fw_env_config);
    if (config->backend == CONFIG_BACKEND_CUSTOM && !config->boot_program)
        config_problems_add(problems, true,
                            "Program= is missing in [Boot]: Backend=custom needs the program that knows the "
                            "boot loader");
    if (config->backend == CONFIG_BACKEND_CUSTOM)
        check_file(problems, root, "Program", config->boot_program);
    if (config->backend == CONFIG_BACKEND_RPI_CMDLINE && config->mode == CONFIG_MODE_REBOOT &&
        !config->allow_no_fallback)
        config_problems_add(problems, true,
                            "Mode=reboot with Backend=rpi-cmdline, which cannot fall back by itself, needs "
                            "AllowNoFallback=yes in [Boot]");
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_origin *origin = &config->origins->keys[i];
        if (config_keys[i].for_backend && origin->count && !has_word(config_keys[i].for_backend, backend))
            config_problems_add(problems, false, "%s: %s= has no effect with Backend=%s", origin->places[0],
                                config_keys[i].key, backend);
    }
}

/* Whether a key that must be set was not even tried to be. */
static bool is_missing(const struct config *config, const char *section, const char *key)
{
    const struct config_origin *origin = config_find_origin(config, section, key);

    return !origin->count && !origin->refused;
}

static size_t count_units(const struct config *config)
{
    size_t count = 0;

    for (size_t i = 0; config->health_units[i]; i++)
        for (const char *at = config->health_units[i]; *at; at += strspn(at, " \t"), count++)
            at += strcspn(at, " \t");
    return count;
}

/* Checks that need more than one key. */
static void check_together(const struct config *config, const char *root, struct config_problems *problems)
{
    static const char *const slot_keys[] = {"A", "B"};
    size_t longest = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

    if (is_missing(config, "Update", "Url"))
        config_problems_add(problems, true, "Url= is missing in [Update]: it names the image to follow");
    for (size_t i = 0; i < 2; i++)
        if (is_missing(config, "Slots", slot_keys[i]))
            config_problems_add(problems, true, "%s= is missing in [Slots]: it names a partition or a file",
                                slot_keys[i]);
    if (config->slot_names[0] && config->slot_names[1] &&
        strcmp(config->slot_names[0], config->slot_names[1]) == 0)
        config_problems_add(problems, true, "A= and B= in [Slots] are the same: %s", config->slot_names[0]);
    config_part_check(config, problems);
    check_file(problems, root, "CaFile", config->ca_file);
    check_file(problems, root, "ClientCertificate", config->client_certificate);
    check_file(problems, root, "ClientKey", config->client_key);
    CLEANUP_FREE char *key_path = config->client_key ? alloc_printf("%s%s", root, config->client_key) : NULL;
    /* Such a key still works, so this is only a warning. */
    if (key_path && config_secret_is_open(key_path))
        config_problems_add(problems, false,
                            "ClientKey=%s: can be read by every user of this machine; chmod 600 %s",
                            config->client_key, config->client_key);
    if (!config->client_certificate != !config->client_key)
        config_problems_add(problems, true,
                            "ClientCertificate= and ClientKey= in [Transfer] need each other");
    if (config->pinned_public_key && config->url && !url_is_secure(config->url))
        config_problems_add(
            problems, true,
            "PinnedPublicKey= in [Transfer] needs a Url= that begins with https://, for plain "
            "http shows no key");
    if (strlen(config->socket) > longest)
        config_problems_add(problems, true,
                            "Socket=%s: is longer than the %zu characters a Unix socket can have",
                            config->socket, longest);
    if (count_units(config) > CONFIG_UNITS_MAX)
        config_problems_add(problems, true, "Units= in [Health] names more than %d units", CONFIG_UNITS_MAX);
    check_boot(config, root, problems);
}

static void report_ignored(void *owner, const char *path)
{
    config_problems_add(owner, false, "%s: is not looked at, for its name does not end in .pub", path);
}

/* Reads the keys of the trusted publishers. A key that cannot be read is an error, as it might be the one in
 * use. One that others may write proves nothing; that holds all updates but is no error, because a daemon
 * that did not start would cut the device off. */
static void read_keys(struct config *config, const char *root, struct config_problems *problems)
{
    CLEANUP_FREE char *folder = alloc_printf("%s%s", root, config->keys_folder);
    const struct config_origin *keys = config_find_origin(config, "Trust", "Keys");
    const struct config_origin *demand = config_find_origin(config, "Trust", "RequireSignature");
    struct error error;

    config->keys = trust_keys_new();
    bool is_default =
        strcmp(config->keys_folder, config_keys[keys - config->origins->keys].default_text) == 0;
    /* The usual folder need not be there. */
    bool is_there = !is_default || access(folder, F_OK) == 0 || errno != ENOENT;
    if (is_there && !trust_keys_check_owners(folder, &error) && error.kind == ERROR_REFUSED)
        config->keys_why = alloc_printf(
            "no signature can be believed here, for %s; then systemctl reload moonsinterd", error.message);
    else if (is_there && !trust_keys_add_folder(config->keys, folder, report_ignored, problems, &error))
        config_problems_add(problems, true, "%s: Keys=%s: %s", keys->count ? keys->places[0] : "default",
                            config->keys_folder, error.message);
    else if (config->require_signature == CONFIG_DEMAND_YES && trust_keys_count(config->keys) == 0)
        config_problems_add(problems, true,
                            "%s: RequireSignature=yes and there is no *.pub in Keys=%s, so nothing could be "
                            "installed; put the publisher's public key there",
                            demand->places[0], config->keys_folder);
}

void config_complete(struct config *config, const char *root, struct config_problems *problems)
{
    find_defaults(config, root);
    read_headers(config, root, problems);
    check_together(config, root, problems);
    read_keys(config, root, problems);
    config_hash_tls_files(config, root);
}
