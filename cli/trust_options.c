/* SPDX-License-Identifier: MIT */
#include "cli/trust_options.h"

#include <sys/stat.h>

#include "common/base/file_status.h"

#define KEYS_DEFAULT "/etc/moonsinter/keys.d"

static bool add_key(struct trust_options *options, const char *path, struct error *error)
{
    struct stat status;
    bool is_folder = file_status(path, &status) == 0 && S_ISDIR(status.st_mode);
    size_t before;

    if (!options->keys)
        options->keys = trust_keys_new();
    before = trust_keys_count(options->keys);
    if (!(is_folder ? trust_keys_add_folder(options->keys, path, NULL, NULL, error)
                    : trust_keys_add_file(options->keys, path, error)))
        return false;
    if (trust_keys_count(options->keys) == before)
        return error_set(error, ERROR_REFUSED, "there is no *.pub in %s", path);
    return true;
}

bool trust_options_take_key(const char *option, char *value, void *member, struct error *error)
{
    return add_key(member, value, error);
}

bool trust_options_get(struct trust_options *options, struct trust *ret_trust, struct error *error)
{
    /* Keys that others may replace prove nothing. A folder given with --key is not checked: it is the user's
     * choice. */
    if (options->required && !options->keys &&
        (!trust_keys_check_owners(KEYS_DEFAULT, error) || !add_key(options, KEYS_DEFAULT, error)))
        return error_prefix(error, "--require-signature needs a key");
    ret_trust->keys = options->keys;
    ret_trust->demanded = options->keys != NULL;
    return true;
}

void trust_options_finish(struct trust_options *options)
{
    options->keys = trust_keys_free(options->keys);
}
