#include "common/image/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"

/* The parts of an absolute URL, as lengths from its start. */
struct url_parts {
    bool secure;      /* https */
    size_t scheme;    /* length of "https:" */
    size_t authority; /* end of "https://host:port" */
    size_t path;      /* end of the path; a query or fragment begins here */
};

/* Blanks and control characters are how requests get smuggled, and a backslash is a slash to some programs.
 */
static bool has_clean_bytes(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c <= ' ' || *c == 0x7f || *c == '\\')
            return false;
    return true;
}

/* Bytes of a leading "scheme:", or 0 where the text begins without one. */
static size_t scheme_length(const char *text)
{
    size_t length = 0;

    if (!isalpha((unsigned char)*text))
        return 0;
    while (isalnum((unsigned char)text[length]) || (text[length] && strchr("+-.", text[length])))
        length++;
    return text[length] == ':' ? length + 1 : 0;
}

static bool split(const char *url, struct url_parts *ret_parts, struct error *error)
{
    size_t scheme = scheme_length(url);
    bool secure = scheme == 6 && strncasecmp(url, "https:", 6) == 0;

    if (!secure && !(scheme == 5 && strncasecmp(url, "http:", 5) == 0))
        return error_set(error, ERROR_REFUSED, "a URL must begin with http:// or https://");
    if (strncmp(url + scheme, "//", 2) != 0 || strcspn(url + scheme + 2, "/?#") == 0)
        return error_set(error, ERROR_REFUSED, "a URL must name a host after http:// or https://");
    size_t authority = scheme + 2 + strcspn(url + scheme + 2, "/?#");
    *ret_parts = (struct url_parts){.secure = secure,
                                    .scheme = scheme,
                                    .authority = authority,
                                    .path = authority + strcspn(url + authority, "?#")};
    return true;
}

/* Takes "." and ".." segments out of a path that begins with a slash, in place; ".." above the root stays
 * there. */
static void remove_dot_segments(char *path)
{
    const char *in = path;
    char *out = path;

    while (*in) {
        size_t length = 1 + strcspn(in + 1, "/");
        bool last = !in[length];
        if (length == 2 && in[1] == '.') {
            if (last)
                *out++ = '/';
        } else if (length == 3 && in[1] == '.' && in[2] == '.') {
            while (out > path && *--out != '/')
                ;
            if (last)
                *out++ = '/';
        } else {
            memmove(out, in, length);
            out += length;
        }
        in += length;
    }
    *out = 0;
}

/* The URL of `path` (which may be relative to the base's folder, and is followed by `query`) on the base's
 * host. */
static char *join(const char *base, const struct url_parts *parts, const char *path, size_t path_length,
                  const char *query)
{
    size_t folder = 0;

    if (*path != '/')
        for (size_t i = parts->authority; i < parts->path; i++)
            if (base[i] == '/')
                folder = i - parts->authority;
    CLEANUP_FREE char *whole = *path == '/' ? alloc_printf("%.*s", (int)path_length, path)
                                            : alloc_printf("%.*s/%.*s", (int)folder, base + parts->authority,
                                                           (int)path_length, path);
    remove_dot_segments(whole);
    return alloc_printf("%.*s%s%s", (int)parts->authority, base, whole, query);
}

/* What holds for URLs and references alike. Neither is repeated: it may hold a password. */
static bool check_bytes(const char *text, struct error *error)
{
    if (strnlen(text, URL_SIZE_MAX + 1) > URL_SIZE_MAX)
        return error_set(error, ERROR_REFUSED, "a URL has more than the %d bytes allowed", URL_SIZE_MAX);
    if (!has_clean_bytes(text))
        return error_set(error, ERROR_REFUSED,
                         "a URL contains a blank, a backslash or a control character; write it as %%XX");
    return true;
}

bool url_check(const char *url, struct error *error)
{
    struct url_parts parts;

    return check_bytes(url, error) && split(url, &parts, error);
}

char *url_append_to_path(const char *url, const char *suffix)
{
    int path = (int)strcspn(url, "?#"), query = (int)strcspn(url + path, "#");

    return alloc_printf("%.*s%s%.*s", path, url, suffix, query, url + path);
}

bool url_resolve(const char *base, const char *reference, char **ret_url, struct error *error)
{
    struct url_parts base_parts, parts;

    if (!check_bytes(base, error) || !check_bytes(reference, error) || !split(base, &base_parts, error))
        return false;

    /* A fragment is the reader's affair and is never sent. */
    CLEANUP_FREE char *text = alloc_printf("%.*s", (int)strcspn(reference, "#"), reference);
    if (!*text)
        return error_set(error, ERROR_REFUSED, "an empty reference leads nowhere");
    CLEANUP_FREE char *absolute = NULL;
    if (scheme_length(text) > 0)
        absolute = alloc_string(text);
    else if (strncmp(text, "//", 2) == 0)
        absolute = alloc_printf("%.*s%s", (int)base_parts.scheme, base, text);
    if (absolute) {
        if (!split(absolute, &parts, error))
            return false;
        if (base_parts.secure && !parts.secure)
            return error_set(error, ERROR_REFUSED, "a reference leads from https to http, which is refused");
        const char *path = parts.path > parts.authority ? absolute + parts.authority : "/";
        size_t path_length = parts.path > parts.authority ? parts.path - parts.authority : 1;
        *ret_url = join(absolute, &parts, path, path_length, absolute + parts.path);
        return true;
    }
    size_t path_length = strcspn(text, "?");
    if (path_length == 0) /* "?query": the base's own path */
        *ret_url = alloc_printf("%.*s%s%s", (int)base_parts.path, base,
                                base_parts.path == base_parts.authority ? "/" : "", text);
    else
        *ret_url = join(base, &base_parts, text, path_length, text + path_length);
    return true;
}

char *url_reference_of_name(const char *name)
{
    static const char hex[] = "0123456789ABCDEF";
    /* Each byte is at most three. */
    char *reference = alloc_array(3 * strlen(name) + 1, 1), *out = reference;

    for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
        if (isalnum(*c) || strchr("-._~", *c)) {
            *out++ = (char)*c;
        } else {
            *out++ = '%';
            *out++ = hex[*c >> 4];
            *out++ = hex[*c & 15];
        }
    }
    return reference;
}
