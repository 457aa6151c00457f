/* SPDX-License-Identifier: MIT */
#include "daemon/config/config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "common/image/url.h"
#include "common/io/http.h"
#include "common/sinter/trust.h"
#include "daemon/config/config_files.h"
#include "daemon/config/config_part.h"
#include "daemon/config/config_private.h"
#include "daemon/config/config_secret.h"
#include "daemon/config/config_table.h"

/* While files are read. */
struct loading {
    struct config *config;
    const char *root;
    struct config_problems *problems;
};

void config_origin_clear(struct config_origin *origin)
{
    while (origin->count) {
        free(origin->texts[--origin->count]);
        free(origin->places[origin->count]);
    }
}

static struct config *config_new(void)
{
    struct config *config = alloc_zeroed(sizeof(*config));

    config->origins =
        alloc_zeroed(sizeof(*config->origins) + config_key_count * sizeof(config->origins->keys[0]));
    config->origins->count = config_key_count;
    for (size_t i = 0; i < config_key_count; i++)
        config_key_reset(&config_keys[i], config);
    return config;
}

struct config *config_free(struct config *config)
{
    if (!config)
        return NULL;
    for (size_t i = 0; i < config_key_count; i++) {
        config_key_clear(&config_keys[i], config);
        config_origin_clear(&config->origins->keys[i]);
    }
    config_part_clear_all(config);
    http_settings_clear_headers(config->header_lines);
    trust_keys_free(config->keys);
    free(config->keys_why);
    free(config->origins);
    free(config);
    return NULL;
}

/* The row of `key` in `section` of the table, or config_key_count. */
static size_t find_row(const char *section, const char *key, bool *ret_section_known)
{
    *ret_section_known = false;
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].section, section) != 0)
            continue;
        *ret_section_known = true;
        if (strcmp(config_keys[i].key, key) == 0)
            return i;
    }
    return config_key_count;
}

const struct config_origin *config_find_origin(const struct config *config, const char *section,
                                               const char *key)
{
    bool section_known;

    return &config->origins->keys[find_row(section, key, &section_known)];
}

/* The section that the key belongs to, for a message about a key in the wrong one; NULL = none. */
static const char *section_of(const char *key)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (strcmp(config_keys[i].key, key) == 0)
            return config_keys[i].section;
    return config_part_find_key(key) < config_part_key_count ? CONFIG_PART_SECTION : NULL;
}

static void report_unknown(struct loading *loading, const char *where, const char *section, const char *key,
                           bool section_known)
{
    const char *home = section_of(key);

    if (!*section)
        config_problems_add(loading->problems, true, "%s: %s= stands before any [Section]", where, key);
    else if (home)
        config_problems_add(loading->problems, true, "%s: %s= does not belong in [%s] but in [%s]", where,
                            key, section, home);
    else if (!section_known)
        config_problems_add(loading->problems, true, "%s: there is no section [%s]", where, section);
    else
        config_problems_add(loading->problems, true, "%s: there is no key %s= in [%s]", where, key, section);
}

/* Sets one key, or reports why not. */
static void set_key(struct loading *loading, const struct config_key *key, struct config_origin *origin,
                    const char *text, const char *where)
{
    bool list = config_key_is_list(key);

    if (!*text) {
        config_key_reset(key, loading->config);
        config_origin_clear(origin);
        return;
    }
    const char *why = config_key_set(key, loading->config, text);
    origin->refused |= why != NULL;
    if (why) {
        CLEANUP_FREE char *shown = config_secret_show_bad(key, text);
        config_problems_add(loading->problems, true, "%s: %s=%s: %s", where, key->key, shown, why);
        return;
    }
    if (!list)
        config_origin_clear(origin);
    origin->texts[origin->count] = alloc_string(text);
    origin->places[origin->count++] = alloc_string(where);
}

/* Whether `place` ("FILE:LINE") is in `file`. */
static bool is_in_file(const char *place, const char *file)
{
    size_t length = strlen(file);

    return strncmp(place, file, length) == 0 && place[length] == ':' && !strchr(place + length + 1, ':');
}

/* Finds the key that is meant, and where its origin is kept; reports what there is not. */
static struct config_origin *find_key(struct loading *loading, const struct config_assignment *assignment,
                                      const char *where, struct config_key *ret_key)
{
    struct config *config = loading->config;
    bool section_known = config_part_is_section(assignment->section);
    unsigned part;

    if (section_known) {
        size_t index = config_part_find_key(assignment->key);
        const char *why = config_part_take(config, assignment->section, &part);
        if (why)
            config_problems_add(loading->problems, true, "%s: [%s] %s", where, assignment->section, why);
        if (why)
            return NULL;
        if (index < config_part_key_count) {
            *ret_key = config_part_key(part, index);
            return &config->origins->parts[part][index];
        }
    } else {
        size_t index = find_row(assignment->section, assignment->key, &section_known);
        if (index < config_key_count) {
            *ret_key = config_keys[index];
            return &config->origins->keys[index];
        }
    }
    report_unknown(loading, where, assignment->section, assignment->key, section_known);
    return NULL;
}

static void take_assignment(void *owner, const struct config_assignment *assignment)
{
    struct loading *loading = owner;
    CLEANUP_FREE char *where = alloc_printf("%s:%u", assignment->file, assignment->line);
    struct config_key key;
    struct config_origin *origin = find_key(loading, assignment, where, &key);

    if (!origin)
        return;
    if (*assignment->value && !config_key_is_list(&key) && origin->count &&
        is_in_file(origin->places[0], assignment->file)) {
        config_problems_add(loading->problems, true, "%s: %s= is already set at %s", where, assignment->key,
                            origin->places[0]);
        return;
    }
    set_key(loading, &key, origin, assignment->value, where);
    CLEANUP_FREE char *path = alloc_printf("%s%s", loading->root, assignment->file);
    if (config_secret_is_one(&key, assignment->value) && config_secret_is_open(path))
        config_problems_add(loading->problems, false,
                            "%s: the secret in %s= can be read by every user of this machine; chmod 600 %s%s",
                            where, assignment->key, assignment->file,
                            key.secret ? ", or put it into a file of mode 0600 and write Header=@FILE" : "");
}

static void set_from_arguments(struct loading *loading, const struct config_request *request)
{
    CLEANUP_FREE char *interval = alloc_printf("%smin", request->minutes ? request->minutes : "5");
    const struct {
        const char *section, *key, *value;
    } settings[] = {
        {"Update", "Url", request->url},  {"Slots", "A", request->slot_a},    {"Slots", "B", request->slot_b},
        {"Update", "Interval", interval}, {"Boot", "Backend", "rpi-cmdline"}, {"Update", "Mode", "install"},
    };
    bool section_known;
    uint64_t minutes;

    if (request->minutes && text_parse_u64(request->minutes, &minutes) < 0) {
        config_problems_add(loading->problems, true, "MINUTES must be a whole number, not \"%s\"",
                            request->minutes);
        return;
    }
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        size_t index = find_row(settings[i].section, settings[i].key, &section_known);
        if (*settings[i].value)
            set_key(loading, &config_keys[index], &loading->config->origins->keys[index], settings[i].value,
                    "command line");
        else
            config_problems_add(loading->problems, true, "command line: %s is empty", settings[i].key);
    }
}

bool config_read(const struct config_request *request, struct config **ret_config,
                 struct config_problems *problems)
{
    const char *root = request->root ? request->root : "";
    size_t errors_before = problems->errors;
    struct loading loading = {.config = config_new(), .root = root, .problems = problems};

    config_files_read(request, take_assignment, &loading, problems);
    if (request->url)
        set_from_arguments(&loading, request);
    config_part_drop_empty(loading.config);
    config_complete(loading.config, root, problems);
    *ret_config = loading.config;
    return problems->errors == errors_before;
}

bool config_load(const struct config_request *request, struct config **ret_config,
                 struct config_problems *problems)
{
    struct config *config;

    if (!config_read(request, &config, problems)) {
        config_free(config);
        return false;
    }
    *ret_config = config;
    return true;
}

void config_get_http(const struct config *config, struct http_settings *ret_settings)
{
    *ret_settings = (struct http_settings){
        .connections = config->connections,
        .rate_limit_bytes_s = config->rate_limit_bytes_s,
        .stall_timeout_ms = config->stall_timeout_ms,
        .proxy = config->proxy,
        .ca_file = config->ca_file,
        .client_certificate = config->client_certificate,
        .client_key = config->client_key,
        .pinned_public_key = config->pinned_public_key,
        .headers = (const char *const *)config->header_lines,
        .headers_for = url_text_to_send(config->url),
    };
}

/* What is in effect if the key is not set; freed by the caller. */
static char *default_value(const struct config *config, const struct config_key *key)
{
    if (key->default_text)
        return alloc_string(key->default_text);
    if (key->offset == offsetof(struct config, randomized_delay_ms))
        return config->randomized_delay_ms % 1000
                   ? alloc_printf("%" PRIu64 "ms", config->randomized_delay_ms)
                   : alloc_printf("%" PRIu64 "s", config->randomized_delay_ms / 1000);
    if (key->type == CONFIG_TYPE_TEXT || key->type == CONFIG_TYPE_FILE) {
        const char *text = *(char *const *)(const void *)((const char *)config + key->offset);
        return alloc_string(text ? text : "");
    }
    return alloc_string("");
}

static void show_key(const struct config *config, const char *section, const struct config_key *key,
                     const struct config_origin *origin, config_setting_fn setting, void *owner)
{
    for (size_t i = 0; i < origin->count || i == 0; i++) {
        bool is_default = origin->count == 0;
        CLEANUP_FREE char *value =
            is_default ? default_value(config, key) : config_secret_show(key, origin->texts[i]);
        struct config_setting item = {
            .section = section,
            .key = key->key,
            .value = value,
            .origin = is_default ? "default" : origin->places[i],
        };
        setting(owner, &item);
    }
}

static void show_parts(const struct config *config, config_setting_fn setting, void *owner)
{
    for (unsigned i = 0; i < config->part_count; i++) {
        CLEANUP_FREE char *section = alloc_printf("Part %s", config->parts[i].name);
        for (size_t j = 0; j < config_part_key_count; j++) {
            struct config_key key = config_part_key(i, j);
            show_key(config, section, &key, &config->origins->parts[i][j], setting, owner);
        }
    }
}

void config_each_setting(const struct config *config, config_setting_fn setting, void *owner)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        /* The parts come after the slots, as on the manual page. */
        if (i && strcmp(config_keys[i - 1].section, "Slots") == 0 && strcmp(key->section, "Slots") != 0)
            show_parts(config, setting, owner);
        show_key(config, key->section, key, &config->origins->keys[i], setting, owner);
    }
}

struct printing {
    FILE *stream;
    char section[sizeof("Part ") + MANIFEST_PART_NAME_MAX]; /* of the setting before */
};

static void print_setting(void *owner, const struct config_setting *setting)
{
    struct printing *printing = owner;

    if (strcmp(printing->section, setting->section) != 0)
        fprintf(printing->stream, "%s[%s]\n", *printing->section ? "\n" : "", setting->section);
    snprintf(printing->section, sizeof(printing->section), "%s", setting->section);
    fprintf(printing->stream, "# %s\n%s=%s\n", setting->origin, setting->key, setting->value);
}

void config_print(const struct config *config, FILE *stream)
{
    struct printing printing = {.stream = stream};

    config_each_setting(config, print_setting, &printing);
}
