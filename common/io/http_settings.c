/* SPDX-License-Identifier: MIT */
#include "common/io/http_settings.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/image/url.h"

/* Whether the `length` bytes of `name` name a header that the user may not set: those that request ranges,
 * frame a message, or would make the answer's bytes differ from the file's. */
static bool is_reserved(const char *name, size_t length)
{
    static const char *const reserved[] = {
        "range",          "accept-encoding", "te",      "transfer-encoding",
        "content-length", "trailer",         "upgrade", "connection",
        "host",           "expect",
    };

    if (length >= 3 && strncasecmp(name, "if-", 3) == 0)
        return true;
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (strlen(reserved[i]) == length && strncasecmp(name, reserved[i], length) == 0)
            return true;
    return false;
}

const char *http_settings_check_header(const char *line)
{
    size_t length = strcspn(line, ":");

    if (!line[length] || length == 0)
        return "must read \"Name: value\"";
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)line[i]) && !strchr("!#$%&'*+-.^_`|~", line[i]))
            return "has a character in its name that HTTP does not allow there";
    if (is_reserved(line, length))
        return "is a header that moonsinter must set itself; remove it";
    const char *value = line + length + 1;
    if (!value[strspn(value, " \t")])
        return "has no value";
    for (; *value; value++)
        if (((unsigned char)*value < ' ' && *value != '\t') || *value == 0x7f)
            return "has a line feed or another control character in its value";
    if (strlen(line) > HTTP_SETTINGS_HEADER_SIZE_MAX)
        return "is longer than 4096 bytes";
    return NULL;
}

/* Adds one of the user's lines; `where` is for the message. */
static bool add_line(char **lines, const char *where, const char *line, struct error *error)
{
    const char *why = http_settings_check_header(line);
    size_t count = 0;

    /* Without a colon any part of the line may be secret, so none is shown. */
    if (why)
        return error_set(error, ERROR_REFUSED, "%s%.*s: %s", where,
                         strchr(line, ':') ? (int)strcspn(line, ":\r\n") : 0, line, why);
    while (lines[count])
        count++;
    if (count == HTTP_SETTINGS_HEADERS_MAX)
        return error_set(error, ERROR_REFUSED, "%s%.*s: is one header too many; %d are allowed", where,
                         (int)strcspn(line, ":"), line, HTTP_SETTINGS_HEADERS_MAX);
    lines[count] = alloc_string(line);
    return true;
}

static bool add_file(char **lines, const char *root, const char *path, struct error *error)
{
    CLEANUP_FREE char *rooted = alloc_printf("%s%s", root, path);
    CLEANUP_FREE char *data = NULL;
    size_t size, number = 1;

    if (!file_read_secret(rooted, HTTP_SETTINGS_HEADER_FILE_MAX, &data, &size, error))
        return false;
    if (strlen(data) != size)
        return error_set(error, ERROR_REFUSED, "%s has a zero byte in it; it must be lines of text", path);
    for (char *line = data, *end; line; line = end, number++) {
        end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        /* Files from Windows end their lines with CR LF; a CR anywhere else is an attempt to smuggle in a
         * second line. */
        size_t length = strlen(line);
        if (length && line[length - 1] == '\r')
            line[length - 1] = '\0';
        if (!line[strspn(line, " \t")] || *line == '#')
            continue;
        CLEANUP_FREE char *where = alloc_printf("%s:%zu: ", path, number);
        if (!add_line(lines, where, line, error))
            return false;
    }
    return true;
}

bool http_settings_add_headers(char **lines, const char *root, const char *text, struct error *error)
{
    size_t before = 0;

    while (lines[before])
        before++;
    if (*text == '@' ? add_file(lines, root, text + 1, error) : add_line(lines, "", text, error))
        return true;
    http_settings_clear_headers(lines + before);
    return false;
}

void http_settings_clear_headers(char **lines)
{
    for (; *lines; lines++) {
        free(*lines);
        *lines = NULL;
    }
}

char *http_settings_take_url_argument(char *argument)
{
    char *copy = alloc_string(argument);
    CLEANUP_FREE char *shown = url_for_display(argument);

    /* Pads with zeroes; an argument never grows. */
    if (strcmp(shown, argument) != 0)
        strncpy(argument, shown, strlen(argument));
    return copy;
}

char *http_settings_take_header_argument(char *argument)
{
    char *copy = alloc_string(argument);
    size_t name = strcspn(argument, ":");

    if (*argument != '@')
        memset(argument + name, 0, strlen(argument + name));
    return copy;
}

const char *http_settings_check_pins(const char *text)
{
    static const char prefix[] = "sha256//",
                      base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    /* In base64 32 bytes are 43 digits, the last of which carries only four bits, and one "=". */
    static const char last_digits[] = "AEIMQUYcgkosw048";
    enum { DIGITS = 43 };

    for (unsigned count = 1;; count++) {
        if (!text_has_prefix(text, prefix))
            return "must begin with sha256//";
        text += strlen(prefix);
        if (strspn(text, base64) != DIGITS || !strchr(last_digits, text[DIGITS - 1]) || text[DIGITS] != '=')
            return "must have 44 characters of base64 after sha256//, those of the SHA-256 of a public key";
        text += DIGITS + 1;
        if (!*text)
            return NULL;
        if (*text++ != ';')
            return "must have a ; between two keys and nothing else";
        if (count == HTTP_SETTINGS_PINS_MAX)
            return "names more than 8 keys";
    }
}
