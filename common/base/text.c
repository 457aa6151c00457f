/* SPDX-License-Identifier: MIT */
#include "common/base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Reads leading digits and moves *text past them. */
static int take_digits(const char **text, uint64_t *ret_value)
{
    uint64_t value = 0;
    const char *c = *text;

    if (!isdigit((unsigned char)*c))
        return -EINVAL;
    for (; isdigit((unsigned char)*c); c++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*c - '0'), &value))
            return -ERANGE;
    *text = c;
    *ret_value = value;
    return 0;
}

int text_parse_u64(const char *text, uint64_t *ret_value)
{
    uint64_t value;
    int result = take_digits(&text, &value);

    if (result < 0)
        return result;
    if (*text)
        return -EINVAL;
    *ret_value = value;
    return 0;
}

int text_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const char units[] = "KMGT";
    uint64_t value;
    int result = take_digits(&text, &value);

    if (result < 0)
        return result;
    if (*text) {
        const char *unit = strchr(units, toupper((unsigned char)*text));
        if (!unit || text[1])
            return -EINVAL;
        if (__builtin_mul_overflow(value, UINT64_C(1) << (10 * (unit - units + 1)), &value))
            return -ERANGE;
    }
    *ret_bytes = value;
    return 0;
}

int text_parse_duration(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {
        {"ms", 1},         {"msec", 1},        {"s", 1000},       {"sec", 1000},       {"second", 1000},
        {"seconds", 1000}, {"m", 60000},       {"min", 60000},    {"minute", 60000},   {"minutes", 60000},
        {"h", 3600000},    {"hr", 3600000},    {"hour", 3600000}, {"hours", 3600000},  {"d", 86400000},
        {"day", 86400000}, {"days", 86400000}, {"w", 604800000},  {"week", 604800000}, {"weeks", 604800000},
    };
    uint64_t total = 0;

    text += strspn(text, " ");
    if (!*text)
        return -EINVAL;
    while (*text) {
        uint64_t value, ms = 1000;
        int result = take_digits(&text, &value);
        if (result < 0)
            return result;
        text += strspn(text, " ");
        size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz");
        if (length) {
            size_t i;
            for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
                if (strlen(units[i].name) == length && strncmp(units[i].name, text, length) == 0)
                    break;
            if (i == sizeof(units) / sizeof(units[0]))
                return -EINVAL;
            ms = units[i].ms;
        }
        text += length;
        text += strspn(text, " ");
        if (__builtin_mul_overflow(value, ms, &value) || __builtin_add_overflow(total, value, &total))
            return -ERANGE;
    }
    *ret_ms = total;
    return 0;
}

int text_parse_bool(const char *text, bool *ret_value)
{
    static const char *const yes[] = {"yes", "true", "on", "1", "y", "t"};
    static const char *const no[] = {"no", "false", "off", "0", "n", "f"};

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcasecmp(text, yes[i]) == 0) {
            *ret_value = true;
            return 0;
        }
        if (strcasecmp(text, no[i]) == 0) {
            *ret_value = false;
            return 0;
        }
    }
    return -EINVAL;
}

char *text_format_bytes(char *ret_text, size_t size, uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes / 1000;
    size_t unit = 0;

    if (bytes < 1000) {
        snprintf(ret_text, size, "%" PRIu64 " B", bytes);
        return ret_text;
    }
    for (; value >= 999.95 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1000;
    snprintf(ret_text, size, "%.1f %s", value, units[unit]);
    return ret_text;
}

char *text_format_duration(char *ret_text, size_t size, uint64_t ms)
{
    if (ms < 60000)
        snprintf(ret_text, size, "%.1fs", (double)ms / 1000);
    else if (ms < 3600000)
        snprintf(ret_text, size, "%" PRIu64 "min %" PRIu64 "s", ms / 60000, ms / 1000 % 60);
    else
        snprintf(ret_text, size, "%" PRIu64 "h %" PRIu64 "min", ms / 3600000, ms / 60000 % 60);
    return ret_text;
}

bool text_has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_has_suffix(const char *text, const char *suffix)
{
    size_t length = strlen(text), suffix_length = strlen(suffix);

    return length >= suffix_length && strcmp(text + length - suffix_length, suffix) == 0;
}

/* Finds where the host begins in an address, of which `word` has the `length` bytes after "://". SIZE_MAX if
 * the text was cut off within the password, so that no host is left. */
static size_t find_host(const char *word, size_t length)
{
    size_t end = strcspn(word, "/?#");
    const char *at = memrchr(word, '@', end < length ? end : length);

    if (at)
        return (size_t)(at - word) + 1;
    /* There is no @ before the path. Unless a port follows the colon, what follows it is a password, which
     * has a slash in it or is cut off before its @. */
    if (end > length)
        end = length;
    size_t colon = *word == '[' ? strcspn(word, "]") : 0;
    colon += strcspn(word + colon, ":");
    if (colon >= end || colon + 1 + strspn(word + colon + 1, "0123456789:;,.)") >= end)
        return 0;
    at = memrchr(word, '@', length);
    return at ? (size_t)(at - word) + 1 : SIZE_MAX;
}

/* Puts three dots, or as many as fit, in place of the text from `start` to `end`. Returns how much shorter it
 * gets. */
static size_t hide(char *start, char *end)
{
    size_t size = (size_t)(end - start), dots = size < 3 ? size : 3;

    memset(start, '.', dots);
    memmove(start + dots, end, strlen(end) + 1);
    return size - dots;
}

/* Hides what follows "PORT/" up to the last @ of the address, or to its query, if there is an @: a password
 * with a slash in it may begin like a port. Returns how much shorter the text gets. */
static size_t hide_behind_port(char *word, size_t length)
{
    size_t end = strcspn(word, "/?#"), path_end = strcspn(word, "?#");
    size_t colon = *word == '[' ? strcspn(word, "]") : 0;
    char *at = memrchr(word, '@', length);

    colon += strcspn(word + colon, ":");
    if (!at || at < word + end || colon >= end || word[end] != '/')
        return 0;
    return hide(word + end + 1, at < word + path_end ? at : word + path_end);
}

void text_hide_secrets(char *text)
{
    char *word = text;

    while ((word = strstr(word, "://"))) {
        word += strlen("://");
        word += strspn(word, "/"); /* some programs accept more than two slashes */
        size_t length = strcspn(word, " \t\r\n\"'<>"), host = find_host(word, length);
        if (host == SIZE_MAX) {
            hide(word, word + length);
            continue;
        }
        memmove(word, word + host, strlen(word + host) + 1);
        length -= host;
        length -= hide_behind_port(word, length);
        size_t query = strcspn(word, "?#");
        /* Punctuation at the end belongs to the sentence. */
        while (length > query + 4 && strchr(":;,)", word[length - 1]))
            length--;
        if (length >= query + 4)
            hide(word + query + 1, word + length);
    }
}
