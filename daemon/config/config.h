/* SPDX-License-Identifier: MIT */
/*
 * The settings: one table of keys -> one struct config, which nobody changes after config_load(). Owns where
 * the files are, how they are merged (systemd's way), and what each key may hold. Every problem is collected
 * as a sentence with file and line, so that one run shows all of them. Reads small local files, which may
 * block on the medium: before the loop runs, or on SIGHUP, on a pool thread. What was loaded is read by any
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/digest.h"
#include "common/image/manifest_parts.h"
#include "common/io/http_settings.h"

enum config_mode {
    CONFIG_MODE_CHECK,   /* look and report, write nothing */
    CONFIG_MODE_INSTALL, /* install and arm for the next boot, whoever makes it */
    CONFIG_MODE_REBOOT,  /* also reboot into it */
};

enum config_backend {
    CONFIG_BACKEND_FILE,
    CONFIG_BACKEND_RPI_CMDLINE,
    CONFIG_BACKEND_GRUB,
    CONFIG_BACKEND_RPI_TRYBOOT,
    CONFIG_BACKEND_UBOOT,
    CONFIG_BACKEND_SYSTEMD_BOOT,
    CONFIG_BACKEND_CUSTOM,
};

/* Whether a manifest must be signed. */
enum config_demand {
    CONFIG_DEMAND_AUTO, /* as soon as there is a key, or a signed release was ever accepted */
    CONFIG_DEMAND_NO,
    CONFIG_DEMAND_YES,
};

/* One span of local time on some days of the week; begin > end crosses midnight and belongs to the first day.
 */
struct config_window {
    uint8_t days;       /* bit 0 = Monday ... bit 6 = Sunday */
    uint16_t begin_min; /* minutes since midnight, 0..1439 */
    uint16_t end_min;   /* 0..1440 */
};

enum {
    CONFIG_UNITS_MAX = 64,
    CONFIG_LIST_MAX = 16, /* values of a key that may stand several times */
};

struct http_settings;
struct trust_keys;

/* One section [Part NAME]. */
struct config_part {
    char name[MANIFEST_PART_NAME_MAX + 1];
    char *slot_names[2]; /* as written, like those of [Slots] */
    bool carry;          /* Missing=carry: a release without it gets the running slot's */
};

/* Strings are the config's own; NULL where optional and not set. A limit of 0 means none. */
struct config {
    /* [Update] */
    struct url *url; /* of the image; the manifest is at url + ".json" */
    uint64_t interval_ms;
    uint64_t randomized_delay_ms; /* a tenth of the interval if not set */
    enum config_mode mode;
    char *compatible; /* or NULL */
    bool allow_downgrade;
    /* [Slots]: as written: an absolute path, PARTUUID=, PARTLABEL=, LABEL= or UUID=; see host/slots.h */
    char *slot_names[2];
    /* [Part NAME], in the order of the files */
    struct config_part parts[MANIFEST_PARTS_MAX];
    unsigned part_count;
    /* [Boot] */
    enum config_backend backend;
    unsigned tries;
    bool allow_no_fallback;
    char *selection_file;        /* file: in the state folder if not set */
    char *cmdline_file;          /* rpi-cmdline: the usual file that exists, if not set */
    char *grubenv_file;          /* grub: the usual file that exists, if not set */
    char *autoboot_file;         /* rpi-tryboot: the usual file that exists, if not set */
    unsigned boot_partitions[2]; /* rpi-tryboot: their numbers */
    bool has_boot_partition[2];  /* set, and not the default */
    char *fw_env_config;         /* uboot */
    char *uboot_variables;       /* uboot: "rauc" or "mender" */
    char *boot_entries[2];       /* systemd-boot: NAME.conf or NAME.efi */
    char *esp;                   /* systemd-boot: where the EFI system partition is mounted, or NULL */
    char *efi_variables;         /* systemd-boot */
    char *boot_program;          /* custom */
    char *boot_names[2];         /* custom: the names by which the program knows the slots */
    /* [Transfer] */
    unsigned connections;
    uint64_t rate_limit_bytes_s;
    uint64_t stall_timeout_ms;
    uint64_t max_bytes_per_update;
    char *proxy;
    char *ca_file;
    char *client_certificate;
    char *client_key;
    char *pinned_public_key;
    char *headers[CONFIG_LIST_MAX + 1];                /* "Name: value" or "@FILE", NULL-terminated */
    char *header_lines[HTTP_SETTINGS_HEADERS_MAX + 1]; /* "Name: value", with those of the files */
    char tls_files_sha256[DIGEST_SHA256_HEX_SIZE];     /* of the contents of the files named above */
    /* [Trust] */
    enum config_demand require_signature;
    char *keys_folder;
    struct trust_keys *keys; /* the keys in that folder; none if keys_why is set */
    char *keys_why; /* why no signature proves anything: others may write the folder or a key; NULL = they may
                       not */
    /* [Health] */
    char *health_checks;
    bool health_checks_optional;             /* nobody named the folder, so it need not be there */
    char *health_units[CONFIG_LIST_MAX + 1]; /* each one or several with blanks between, NULL-terminated */
    bool health_server;
    uint64_t health_timeout_ms;
    /* [Reboot] */
    struct config_window windows[CONFIG_LIST_MAX];
    size_t window_count; /* 0 = at any time */
    /* [Api] */
    char *socket;
    char *group; /* or NULL: root only */
    /* [Storage] */
    char *state_directory;

    struct config_origins *origins; /* where each setting came from; see daemon/config/config_private.h */
};

/* Where to read. Strings stay the caller's. */
struct config_request {
    const char *root; /* put before every path that is read or looked for; NULL or "" except in tests */
    const char *file; /* --config: this file and the drop-ins in FILE.d instead of the system's; NULL = the
                         system's */
    /* The command line of moonsinter's ancestor: url, slot_a and slot_b are all set or all NULL. They
     * override the files, and set Backend=rpi-cmdline and Mode=install. */
    const char *url;
    const char *slot_a;
    const char *slot_b;
    const char *minutes; /* or NULL: 5 */
};

/* What was found wrong, in the order of reading. */
struct config_problem {
    bool is_error; /* false: worth saying, but the settings can be used */
    char *message; /* one sentence, "FILE:LINE: " in front where there is one */
};

struct config_problems {
    struct config_problem *items;
    size_t count;
    size_t errors;
};

/* Reads, merges and checks, and hands out the settings even if there are errors: a key whose value cannot be
 * used then has what an earlier file said, or its default, which may be NULL. Such settings are for looking
 * at only. Returns false if there is at least one error. */
bool config_read(const struct config_request *request, struct config **ret_config,
                 struct config_problems *problems);

/* Whether the backend has the file or the program that it needs. */
bool config_has_boot_file(const struct config *config);

/* Reads, merges and checks. Returns false if there is at least one error; *ret_config is then untouched.
 * `problems` (initialized with zeroes) takes errors and warnings in either case; config_problems_finish()
 * it. */
bool config_load(const struct config_request *request, struct config **ret_config,
                 struct config_problems *problems);

/* NULL is fine. Returns NULL. */
struct config *config_free(struct config *config);

/* What the settings say of the network, for http_new(); its strings stay the config's. */
void config_get_http(const struct config *config, struct http_settings *ret_settings);

/* Whether both ask the same server in the same way, so that the answer would be the same: address, proxy,
 * headers, certificates (also the contents of their files), and which publishers are trusted. */
bool config_asks_alike(const struct config *a, const struct config *b);

/* Whether both trust the same publishers. */
bool config_trusts_alike(const struct config *a, const struct config *b);

/* Whether both let the same releases in, as far as settings decide that. */
bool config_permits_alike(const struct config *a, const struct config *b);

/* Frees what the list holds and empties it. */
void config_problems_finish(struct config_problems *problems);

/* One setting as --check-config and GET /v1/config show it. */
struct config_setting {
    const char *section;
    const char *key;
    const char *value;  /* as it could stand in a file; "" = not set; secrets read "(hidden)" */
    const char *origin; /* a file's path with ":LINE", "command line" or "default" */
};

/* Called once for each setting, in the table's order, those of each part after the slots'; the strings live
 * until it returns. */
typedef void (*config_setting_fn)(void *owner, const struct config_setting *setting);

/* Walks over all settings; a key that may stand several times comes once for each value. */
void config_each_setting(const struct config *config, config_setting_fn setting, void *owner);

/* --check-config: the settings as an INI file, each with its origin in a comment above it. */
void config_print(const struct config *config, FILE *stream);

const char *config_backend_name(enum config_backend backend);
