/* SPDX-License-Identifier: MIT */
#include "daemon/config/config_value.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/base/text.h"
#include "common/image/url.h"

enum {
    URL_MAX = 2048, /* what servers and proxies commonly take */
};

bool config_value_is_printable(const char *text)
{
    for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++)
        if ((*byte < 0x20 && *byte != '\t') || *byte == 0x7f)
            return false;
    return true;
}

const char *config_value_check_url(const char *text)
{
    const char *why = url_check(text);

    if (why)
        return why;
    if (strlen(text) > URL_MAX)
        return "is longer than 2048 characters";
    if (strpbrk(text, "\"<>"))
        return "holds a character that must be written as %XX in an address";
    if (strchr(text, '#'))
        return "must not have a #fragment";
    return NULL;
}

const char *config_value_check_proxy(const char *text)
{
    static const char *const schemes[] = {"http://",    "https://",  "socks4://",
                                          "socks4a://", "socks5://", "socks5h://"};
    const char *separator = strstr(text, "://");

    if (strpbrk(text, " \t"))
        return "must not hold blanks";
    if (!separator)
        return url_check_authority(text);
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strncasecmp(text, schemes[i], strlen(schemes[i])) == 0)
            return url_check_authority(separator + 3);
    return "has a scheme other than http, https, socks4, socks4a, socks5 or socks5h";
}

const char *config_value_check_slot(const char *text)
{
    static const char *const tags[] = {"PARTUUID=", "PARTLABEL=", "LABEL=", "UUID="};

    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        if (!text_has_prefix(text, tags[i]))
            continue;
        const char *name = text + strlen(tags[i]);
        if (!*name)
            return "names nothing after the =";
        if (strlen(name) > 255)
            return "is longer than any such name can be";
        return NULL;
    }
    if (*text != '/')
        return "must be an absolute path, or PARTUUID=, PARTLABEL=, LABEL= or UUID= with a name";
    return config_value_check_path(text);
}

const char *config_value_check_path(const char *text)
{
    if (*text != '/')
        return "must be an absolute path";
    if (strlen(text) >= 1024)
        return "is longer than 1023 characters";
    for (const char *part = text; part; part = strchr(part, '/')) {
        part++;
        size_t length = strcspn(part, "/");
        if ((length == 1 && *part == '.') || (length == 2 && part[0] == '.' && part[1] == '.'))
            return "must not have . or .. in it";
    }
    return NULL;
}

const char *config_value_check_group(const char *text)
{
    size_t length = strlen(text);

    if (length > 32)
        return "is longer than 32 characters";
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '_' &&
            (i == 0 || (text[i] != '-' && text[i] != '.')))
            return "is no name of a group";
    return NULL;
}

const char *config_value_check_units(const char *text)
{
    static const char *const kinds[] = {".service", ".socket", ".target", ".mount",
                                        ".device",  ".path",   ".timer",  ".swap"};

    while (*text) {
        size_t length = strcspn(text, " \t");
        bool known = false;
        for (size_t i = 0; i < length; i++)
            if (!isalnum((unsigned char)text[i]) && !strchr(":-_.\\@", text[i]))
                return "must be names of units with blanks between";
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
            known |= length > strlen(kinds[i]) && length < 256 &&
                     strncmp(text + length - strlen(kinds[i]), kinds[i], strlen(kinds[i])) == 0;
        if (!known || *text == '-')
            return "must be names of units like app.service or network-online.target";
        text += length + strspn(text + length, " \t");
    }
    return NULL;
}

const char *config_value_check_uboot_variables(const char *text)
{
    return strcmp(text, "rauc") == 0 || strcmp(text, "mender") == 0 ? NULL : "must be rauc or mender";
}

const char *config_value_check_entry(const char *text)
{
    size_t length = strlen(text);

    if (length > 128)
        return "is longer than 128 characters";
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && (i == 0 || !strchr("._-", text[i])))
            return "must be a file name of letters, digits, \".\", \"_\" and \"-\", without counters";
    if (length <= 5 || !(text_has_suffix(text, ".conf") || text_has_suffix(text, ".efi")))
        return "must end with .conf or .efi";
    return NULL;
}

const char *config_value_check_boot_name(const char *text)
{
    size_t length = strlen(text);

    if (length == 0 || length > 60)
        return "must be a word of at most 60 characters";
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && (i == 0 || !strchr("._-", text[i])))
            return "must be a word of letters, digits, \".\", \"_\" and \"-\"";
    return NULL;
}

/* Reads one of "Mon" ... "Sun" (or written out) at *text and moves past it; -1 where there is none. */
static int take_day(const char **text)
{
    static const char *const days[] = {"monday", "tuesday",  "wednesday", "thursday",
                                       "friday", "saturday", "sunday"};
    size_t length = 0;

    while (isalpha((unsigned char)(*text)[length]))
        length++;
    for (int i = 0; i < 7; i++)
        if ((length == 3 || length == strlen(days[i])) && strncasecmp(*text, days[i], length) == 0) {
            *text += length;
            return i;
        }
    return -1;
}

/* Reads "HH:MM" at *text into minutes since midnight and moves past it; -1 where there is none. */
static int take_time(const char **text)
{
    const char *at = *text;
    int value[2];

    for (int i = 0; i < 2; i++) {
        if (!isdigit((unsigned char)at[0]) || !isdigit((unsigned char)at[1]))
            return -1;
        value[i] = (at[0] - '0') * 10 + (at[1] - '0');
        at += 2;
        if (i == 0 && *at++ != ':')
            return -1;
    }
    if (value[0] > 24 || value[1] > 59 || (value[0] == 24 && value[1] != 0))
        return -1;
    *text = at;
    return value[0] * 60 + value[1];
}

/* Reads "Mon..Fri,Sun" at *text into bits and moves past it; 0 where it does not parse. */
static uint8_t take_days(const char **text)
{
    uint8_t days = 0;

    for (;;) {
        int first = take_day(text), last = first;
        if (first < 0)
            return 0;
        if (text_has_prefix(*text, "..")) {
            *text += 2;
            last = take_day(text);
            if (last < 0)
                return 0;
        }
        for (int day = first;; day = (day + 1) % 7) {
            days |= (uint8_t)(1u << day);
            if (day == last)
                break;
        }
        if (**text != ',')
            return days;
        ++*text;
    }
}

const char *config_value_parse_window(const char *text, struct config_window *ret_window)
{
    static const char *const why = "must read like \"Sat,Sun 02:00-04:00\" or \"Mon..Fri 22:00-06:00\"";
    uint8_t days = 0x7f;

    if (isalpha((unsigned char)*text)) {
        days = take_days(&text);
        if (!days || *text != ' ')
            return why;
        text += strspn(text, " ");
    }
    int begin = take_time(&text);
    if (begin < 0 || *text++ != '-')
        return why;
    int end = take_time(&text);
    if (end < 0 || *text)
        return why;
    if (begin == end || begin == 24 * 60)
        return "is a window without any time in it";
    *ret_window =
        (struct config_window){.days = days, .begin_min = (uint16_t)begin, .end_min = (uint16_t)end};
    return NULL;
}
