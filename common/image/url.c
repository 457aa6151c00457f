/* SPDX-License-Identifier: MIT */
#include "common/image/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"

struct url {
    char *text; /* with user, password and query */
    char *shown;
};

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

/* Where the host begins in the `length` bytes of an authority: after "user:password@". */
static size_t host_offset(const char *authority, size_t length)
{
    for (size_t i = length; i > 0; i--)
        if (authority[i - 1] == '@')
            return i;
    return 0;
}

const char *url_check_authority(const char *authority)
{
    size_t length = strcspn(authority, "/?#"), offset = host_offset(authority, length), port;
    const char *host = authority + offset;

    length -= offset;
    if (length == 0 || *host == ':')
        return "names no host";
    /* Colons within [] are an IPv6 address's. */
    port = *host == '[' ? strcspn(host, "]") : 0;
    port += strcspn(host + port, ":/?#");
    if (port >= length)
        return NULL;
    size_t digits = strspn(host + port + 1, "0123456789");
    if (digits != length - port - 1 || digits > 5 || atol(host + port + 1) > 65535)
        return "has a port that is no number up to 65535; within a name or password write /, ? and # as "
               "%2F, %3F and %23";
    return NULL;
}

/* NULL if `url` is a good URL, with its parts in *ret_parts; else why not, as half a sentence that goes on
 * after it. */
static const char *split(const char *url, struct url_parts *ret_parts)
{
    size_t scheme = scheme_length(url);
    bool secure = scheme == 6 && strncasecmp(url, "https:", 6) == 0;

    if (!secure && !(scheme == 5 && strncasecmp(url, "http:", 5) == 0))
        return "must begin with http:// or https://";
    if (strncmp(url + scheme, "//", 2) != 0)
        return "names no host after http:// or https://";
    const char *why = url_check_authority(url + scheme + 2);
    if (why)
        return why;
    size_t authority = scheme + 2 + strcspn(url + scheme + 2, "/?#");
    *ret_parts = (struct url_parts){.secure = secure,
                                    .scheme = scheme,
                                    .authority = authority,
                                    .path = authority + strcspn(url + authority, "?#")};
    return NULL;
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

/* Checks what URLs and references have in common; NULL, or why not, as half a sentence. */
static const char *check_bytes(const char *text)
{
    if (strnlen(text, URL_SIZE_MAX + 1) > URL_SIZE_MAX)
        return "has more than the 4096 bytes allowed";
    if (!has_clean_bytes(text))
        return "contains a blank, a backslash or a control character; write it as %XX";
    return NULL;
}

const char *url_check(const char *text)
{
    struct url_parts parts;
    const char *why = check_bytes(text);

    if (!why)
        why = split(text, &parts);
    /* Other names are made by appending ".json" to the path. Without a path that would make another host's
     * name, and the password would be sent there. */
    if (!why && parts.path <= parts.authority + 1)
        why = "names a server but no image on it; write the image's path after the host";
    return why;
}

/* Takes over `text`. */
static struct url *url_take(char *text)
{
    struct url *url = alloc_zeroed(sizeof(*url));

    url->text = text;
    url->shown = url_for_display(text);
    return url;
}

bool url_new(const char *text, struct url **ret_url, struct error *error)
{
    const char *why = url_check(text);

    if (why) {
        CLEANUP_FREE char *shown = url_for_display(text);
        return error_set(error, ERROR_REFUSED, "the URL %.200s %s", shown, why);
    }
    *ret_url = url_take(alloc_string(text));
    return true;
}

struct url *url_copy(const struct url *url)
{
    return url ? url_take(alloc_string(url->text)) : NULL;
}

struct url *url_free(struct url *url)
{
    if (!url)
        return NULL;
    free(url->text);
    free(url->shown);
    free(url);
    return NULL;
}

const char *url_shown(const struct url *url)
{
    return url->shown;
}

const char *url_text_to_send(const struct url *url)
{
    return url->text;
}

bool url_is_equal(const struct url *url, const struct url *other)
{
    return strcmp(url->text, other->text) == 0;
}

bool url_is_secure(const struct url *url)
{
    return scheme_length(url->text) == strlen("https:");
}

void url_get_sha256(const struct url *url, uint8_t ret_digest[DIGEST_SHA256_SIZE])
{
    digest_sha256(url->text, strlen(url->text), ret_digest);
}

struct url *url_append_to_path(const struct url *url, const char *suffix)
{
    const char *text = url->text;
    int path = (int)strcspn(text, "?#"), query = (int)strcspn(text + path, "#");

    return url_take(alloc_printf("%.*s%s%.*s", path, text, suffix, query, text + path));
}

/* Resolves a reference that names a host; `text` is all of it. NULL, or why not, as half a sentence. */
static const char *refer_elsewhere(const char *text, bool from_secure, struct url **ret_url)
{
    struct url_parts parts;
    const char *why = split(text, &parts);

    if (why)
        return why;
    if (from_secure && !parts.secure)
        return "leads from https to http, which is refused";
    bool has_path = parts.path > parts.authority;
    *ret_url = url_take(join(text, &parts, has_path ? text + parts.authority : "/",
                             has_path ? parts.path - parts.authority : 1, text + parts.path));
    return NULL;
}

/* Resolves a reference to a file on the base's own server; `text` has no fragment. Only such a reference gets
 * the base's query, as the query may hold a token, which no other server may see. */
static struct url *refer_beside(const struct url *base, const struct url_parts *parts, const char *text)
{
    size_t path_length = strcspn(text, "?");
    const char *query = base->text + parts->path;
    CLEANUP_FREE char *inherited = alloc_printf("%.*s", (int)strcspn(query, "#"), query);

    if (path_length == 0) /* "?query": the base's own path */
        return url_take(alloc_printf("%.*s%s", (int)parts->path, base->text, text));
    return url_take(
        join(base->text, parts, text, path_length, text[path_length] ? text + path_length : inherited));
}

bool url_refer(const struct url *base, const char *reference, struct url **ret_url, struct error *error)
{
    struct url_parts parts;
    const char *why = check_bytes(reference);

    if (!why)
        why = split(base->text, &parts);
    if (why)
        return error_set(error, ERROR_REFUSED, "a reference %s", why);
    /* A fragment is only for the reader and never sent. */
    CLEANUP_FREE char *text = alloc_printf("%.*s", (int)strcspn(reference, "#"), reference);
    if (!*text)
        return error_set(error, ERROR_REFUSED, "an empty reference leads nowhere");
    if (scheme_length(text) > 0) {
        why = refer_elsewhere(text, parts.secure, ret_url);
    } else if (strncmp(text, "//", 2) == 0) {
        CLEANUP_FREE char *absolute = alloc_printf("%.*s%s", (int)parts.scheme, base->text, text);
        why = refer_elsewhere(absolute, parts.secure, ret_url);
    } else {
        *ret_url = refer_beside(base, &parts, text);
    }
    return !why || error_set(error, ERROR_REFUSED, "a reference %s", why);
}

char *url_reference_of_name(const char *name)
{
    static const char hex[] = "0123456789ABCDEF";
    /* Each byte becomes at most three. */
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

char *url_name_of_reference(const char *reference)
{
    char *name = alloc_string(reference), *out = name;

    for (const char *c = reference; *c; c++) {
        char digits[3] = {0};
        if (*c == '%' && isxdigit((unsigned char)c[1]) && isxdigit((unsigned char)c[2])) {
            memcpy(digits, c + 1, 2);
            *out++ = (char)strtol(digits, NULL, 16);
            c += 2;
        } else {
            *out++ = *c;
            if (strchr("/?#:%", *c))
                out[-1] = '\0';
        }
        /* A slash that is escaped leads elsewhere, too, and what ends the name early is none. */
        if (!out[-1] || out[-1] == '/') {
            free(name);
            return NULL;
        }
    }
    *out = '\0';
    if (*name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
        return name;
    free(name);
    return NULL;
}

static bool has_port(const char *host, size_t length)
{
    const char *bracket = *host == '[' ? memchr(host, ']', length) : NULL;
    size_t start = bracket ? (size_t)(bracket - host) : 0;

    return memchr(host + start, ':', length - start) != NULL;
}

/* Not by curl's parser, because this must also work for text which that parser refuses. curl accepts one to
 * three slashes after the scheme, and none if there is no scheme ("user:password@host"). */
char *url_for_display(const char *text)
{
    size_t scheme = strcspn(text, ":/?#@");
    size_t slashes = text[scheme] == ':' ? strspn(text + scheme + 1, "/") : 0;
    size_t authority = slashes ? scheme + 1 + slashes : 0;
    size_t end = authority + strcspn(text + authority, "/?#");
    size_t host = authority + host_offset(text + authority, end - authority);

    /* If what stands in place of a port is none, and an @ follows, it is taken for a password that contains a
     * slash or the like. */
    const char *last_at = strrchr(text + authority, '@');
    if (last_at && last_at > text + end && url_check_authority(text + authority)) {
        host = (size_t)(last_at - text) + 1;
        end = host + strcspn(text + host, "/?#");
    }
    size_t shown_end = end + strcspn(text + end, "?#"), gap = shown_end, gap_end = shown_end;
    /* Even a valid port may be the beginning of such a password. */
    if (last_at && last_at > text + end && text[end] == '/' && has_port(text + host, end - host)) {
        gap = end + 1;
        gap_end = last_at < text + shown_end ? (size_t)(last_at - text) : shown_end;
    }
    char *shown = alloc_printf("%.*s%.*s%s%.*s%.*s%s", (int)authority, text, (int)(gap - host), text + host,
                               gap < gap_end ? "..." : "", (int)(shown_end - gap_end), text + gap_end,
                               text[shown_end] ? 1 : 0, text + shown_end, text[shown_end] ? "..." : "");
    for (char *c = shown; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return shown;
}
