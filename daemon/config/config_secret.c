/* SPDX-License-Identifier: MIT */
#include "daemon/config/config_secret.h"

#include <string.h>
#include <sys/stat.h>

#include "common/base/alloc.h"
#include "common/base/file_status.h"
#include "common/image/url.h"

static bool is_address(const struct config_key *key)
{
    return key->offset == offsetof(struct config, url) || key->offset == offsetof(struct config, proxy);
}

/* Where user and password would stand in an address. */
static const char *find_authority(const char *address)
{
    const char *separator = strstr(address, "://");

    return separator ? separator + strlen("://") : address;
}

/* Where the host begins, after user and password. */
static const char *find_host(const char *address)
{
    const char *authority = find_authority(address);
    const char *at = memrchr(authority, '@', strcspn(authority, "/?#"));

    return at ? at + 1 : authority;
}

bool config_secret_is_one(const struct config_key *key, const char *text)
{
    if (is_address(key))
        return find_host(text) != find_authority(text);
    /* A header after an @ is the name of a file. */
    return key->secret && *text != '@';
}

bool config_secret_is_open(const char *path)
{
    struct stat info;

    return file_status(path, &info) == 0 && (info.st_mode & S_IROTH);
}

char *config_secret_show(const struct config_key *key, const char *text)
{
    if (!is_address(key))
        return config_secret_is_one(key, text) ? alloc_printf("%.*s: (hidden)", (int)strcspn(text, ":"), text)
                                               : alloc_string(text);

    const char *authority = find_authority(text), *host = find_host(text);
    size_t end = strcspn(host, "?");
    return alloc_printf("%.*s%s%.*s%s", (int)(authority - text), text, host > authority ? "(hidden)@" : "",
                        (int)end, host, host[end] ? "?(hidden)" : "");
}

char *config_secret_show_bad(const struct config_key *key, const char *text)
{
    if (is_address(key))
        return url_for_display(text);
    return alloc_string(config_secret_is_one(key, text) ? "..." : text);
}
