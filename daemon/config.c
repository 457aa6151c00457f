#include "daemon/config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "common/sinter/trust.h"
#include "daemon/config_files.h"
#include "daemon/config_secret.h"
#include "daemon/config_table.h"

/* How one key was set: nothing where it has its default. */
struct origin {
    size_t count; /* more than 1 only for lists */
    bool refused; /* a value could not be used, so that the key is not missing as well */
    char *texts[CONFIG_LIST_MAX];
    char *places[CONFIG_LIST_MAX]; /* "FILE:LINE" */
};

struct config_origins {
    size_t count;
    struct origin keys[]; /* as config_keys */
};

/* While files are read. */
struct loading {
    struct config *config;
    const char *root;
    struct config_problems *problems;
};

static void origin_clear(struct origin *origin)
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
        origin_clear(&config->origins->keys[i]);
    }
    http_settings_clear_headers(config->header_lines);
    trust_keys_free(config->keys);
    free(config->origins);
    free(config);
    return NULL;
}

/* The row of `key` in `section`, or config_key_count. */
static size_t find_key(const char *section, const char *key, bool *ret_section_known)
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

/* The section a key is known in, for whoever put it into the wrong one; NULL = in none. */
static const char *section_of(const char *key)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (strcmp(config_keys[i].key, key) == 0)
            return config_keys[i].section;
    return NULL;
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
static void set_key(struct loading *loading, size_t index, const char *text, const char *where)
{
    const struct config_key *key = &config_keys[index];
    struct origin *origin = &loading->config->origins->keys[index];
    bool list = config_key_is_list(key);

    if (!*text) {
        config_key_reset(key, loading->config);
        origin_clear(origin);
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
        origin_clear(origin);
    origin->texts[origin->count] = alloc_string(text);
    origin->places[origin->count++] = alloc_string(where);
}

/* Whether `place` ("FILE:LINE") is in `file`. */
static bool is_in_file(const char *place, const char *file)
{
    size_t length = strlen(file);

    return strncmp(place, file, length) == 0 && place[length] == ':' && !strchr(place + length + 1, ':');
}

static void take_assignment(void *owner, const struct config_assignment *assignment)
{
    struct loading *loading = owner;
    CLEANUP_FREE char *where = alloc_printf("%s:%u", assignment->file, assignment->line);
    bool section_known;
    size_t index = find_key(assignment->section, assignment->key, &section_known);

    if (index == config_key_count) {
        report_unknown(loading, where, assignment->section, assignment->key, section_known);
        return;
    }
    const struct origin *origin = &loading->config->origins->keys[index];
    if (*assignment->value && !config_key_is_list(&config_keys[index]) && origin->count &&
        is_in_file(origin->places[0], assignment->file)) {
        config_problems_add(loading->problems, true, "%s: %s= is already set at %s", where, assignment->key,
                            origin->places[0]);
        return;
    }
    set_key(loading, index, assignment->value, where);
    CLEANUP_FREE char *path = alloc_printf("%s%s", loading->root, assignment->file);
    if (config_secret_is_one(&config_keys[index], assignment->value) && config_secret_is_open(path))
        config_problems_add(
            loading->problems, false,
            "%s: the secret in %s= can be read by every user of this machine; chmod 600 %s%s", where,
            assignment->key, assignment->file,
            config_keys[index].secret ? ", or put it into a file of mode 0600 and write Header=@FILE" : "");
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
        size_t index = find_key(settings[i].section, settings[i].key, &section_known);
        if (*settings[i].value)
            set_key(loading, index, settings[i].value, "command line");
        else
            config_problems_add(loading->problems, true, "command line: %s is empty", settings[i].key);
    }
}

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
     "make it with grub-editenv"},
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
    bool section_known;

    if (!config->origins->keys[find_key("Update", "RandomizedDelay", &section_known)].count)
        config->randomized_delay_ms = config->interval_ms / 10;
    config->health_checks_optional =
        !config->origins->keys[find_key("Health", "Checks", &section_known)].count;
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
    bool section_known;
    const struct origin *origin = &config->origins->keys[find_key("Transfer", "Header", &section_known)];
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
    if (path)
        check_file(problems, root, file->key, path);
    else
        config_problems_add(problems, true, "neither %s nor %s is there: %s, or set %s= in [Boot]",
                            file->places[0], file->places[1], file->mend, file->key);
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
        const struct origin *origin = &config->origins->keys[i];
        if (config_keys[i].for_backend && origin->count && !has_word(config_keys[i].for_backend, backend))
            config_problems_add(problems, false, "%s: %s= has no effect with Backend=%s", origin->places[0],
                                config_keys[i].key, backend);
    }
}

/* Whether a key that must be set was not even tried to be. */
static bool is_missing(const struct config *config, const char *section, const char *key)
{
    bool section_known;
    const struct origin *origin = &config->origins->keys[find_key(section, key, &section_known)];

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

/* What no single key can be judged by. */
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
    check_file(problems, root, "CaFile", config->ca_file);
    check_file(problems, root, "ClientCertificate", config->client_certificate);
    check_file(problems, root, "ClientKey", config->client_key);
    CLEANUP_FREE char *key_path = config->client_key ? alloc_printf("%s%s", root, config->client_key) : NULL;
    /* Such a key still works, so it is worth a word and no more. */
    if (key_path && config_secret_is_open(key_path))
        config_problems_add(problems, false,
                            "ClientKey=%s: can be read by every user of this machine; chmod 600 %s",
                            config->client_key, config->client_key);
    if (!config->client_certificate != !config->client_key)
        config_problems_add(problems, true,
                            "ClientCertificate= and ClientKey= in [Transfer] need each other");
    if (config->pinned_public_key && config->url && strncasecmp(config->url, "http:", strlen("http:")) == 0)
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

/* The publishers that are trusted. A key that cannot be read might be the one that all depends on. */
static void read_keys(struct config *config, const char *root, struct config_problems *problems)
{
    CLEANUP_FREE char *folder = alloc_printf("%s%s", root, config->keys_folder);
    bool section_known;
    const struct origin *keys = &config->origins->keys[find_key("Trust", "Keys", &section_known)];
    const struct origin *demand =
        &config->origins->keys[find_key("Trust", "RequireSignature", &section_known)];
    struct error error;

    config->keys = trust_keys_new();
    bool is_default =
        strcmp(config->keys_folder, config_keys[keys - config->origins->keys].default_text) == 0;
    /* The usual folder need not be there. */
    if ((!is_default || access(folder, F_OK) == 0 || errno != ENOENT) &&
        !trust_keys_add_folder(config->keys, folder, report_ignored, problems, &error))
        config_problems_add(problems, true, "%s: Keys=%s: %s", keys->count ? keys->places[0] : "default",
                            config->keys_folder, error.message);
    else if (config->require_signature == CONFIG_DEMAND_YES && trust_keys_count(config->keys) == 0)
        config_problems_add(problems, true,
                            "%s: RequireSignature=yes and there is no *.pub in Keys=%s, so nothing could be "
                            "installed; put the publisher's public key there",
                            demand->places[0], config->keys_folder);
}

bool config_load(const struct config_request *request, struct config **ret_config,
                 struct config_problems *problems)
{
    const char *root = request->root ? request->root : "";
    size_t errors_before = problems->errors;
    struct loading loading = {.config = config_new(), .root = root, .problems = problems};

    config_files_read(request, take_assignment, &loading, problems);
    if (request->url)
        set_from_arguments(&loading, request);
    find_defaults(loading.config, root);
    read_headers(loading.config, root, problems);
    check_together(loading.config, root, problems);
    read_keys(loading.config, root, problems);
    if (problems->errors != errors_before) {
        config_free(loading.config);
        return false;
    }
    *ret_config = loading.config;
    return true;
}

/* What is in effect where nobody set the key; owned by the caller. */
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

void config_each_setting(const struct config *config, config_setting_fn setting, void *owner)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        const struct origin *origin = &config->origins->keys[i];
        for (size_t j = 0; j < origin->count || j == 0; j++) {
            bool is_default = origin->count == 0;
            CLEANUP_FREE char *value =
                is_default ? default_value(config, key) : config_secret_show(key, origin->texts[j]);
            struct config_setting item = {
                .section = key->section,
                .key = key->key,
                .value = value,
                .origin = is_default ? "default" : origin->places[j],
            };
            setting(owner, &item);
        }
    }
}

struct printing {
    FILE *stream;
    const char *section;
};

static void print_setting(void *owner, const struct config_setting *setting)
{
    struct printing *printing = owner;

    if (!printing->section || strcmp(printing->section, setting->section) != 0)
        fprintf(printing->stream, "%s[%s]\n", printing->section ? "\n" : "", setting->section);
    printing->section = setting->section;
    fprintf(printing->stream, "# %s\n%s=%s\n", setting->origin, setting->key, setting->value);
}

void config_print(const struct config *config, FILE *stream)
{
    struct printing printing = {.stream = stream};

    config_each_setting(config, print_setting, &printing);
}

bool config_get_key_info(size_t index, struct config_key_info *ret_info)
{
    if (index >= config_key_count)
        return false;
    *ret_info = (struct config_key_info){
        .section = config_keys[index].section,
        .key = config_keys[index].key,
        .default_text = config_keys[index].default_text ? config_keys[index].default_text : "",
        .summary = config_keys[index].summary,
    };
    return true;
}
