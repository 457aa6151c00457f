/* SPDX-License-Identifier: MIT */
#include "daemon/host/os_release.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "daemon/decide/record.h"

enum {
    FILE_SIZE_MAX = 64 * 1024, /* usual files have some hundred bytes */
    VALUE_SIZE_MAX = 1024,
};

/* One shell word: quotes and backslashes as os-release(5) allows them; false where it is no such word. */
static bool unquote(const char *text, size_t size, char *ret_value)
{
    char quote = 0;
    size_t used = 0;

    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (quote ? c == quote : c == '"' || c == '\'') {
            quote = (char)(quote ? 0 : c);
            continue;
        }
        if (c == '\\' && quote != '\'' && i + 1 < size)
            c = text[++i];
        if (used == VALUE_SIZE_MAX - 1)
            return false;
        ret_value[used++] = c;
    }
    ret_value[used] = 0;
    return !quote;
}

/* The last of several counts, as in a shell. */
static void find_value(const char *text, const char *key, char *ret_value)
{
    size_t key_size = strlen(key);
    char value[VALUE_SIZE_MAX];

    *ret_value = 0;
    for (const char *line = text; *line;) {
        size_t size = strcspn(line, "\n"), used = size;
        while (used && (line[used - 1] == ' ' || line[used - 1] == '\t' || line[used - 1] == '\r'))
            used--;
        if (used > key_size && memcmp(line, key, key_size) == 0 && line[key_size] == '=' &&
            unquote(line + key_size + 1, used - key_size - 1, value))
            memcpy(ret_value, value, sizeof(value));
        line += size + (line[size] == '\n');
    }
}

char *os_release_find_version(const char *text, char *ret_version, size_t size)
{
    char value[VALUE_SIZE_MAX];

    find_value(text, "IMAGE_VERSION", value);
    if (!*value)
        find_value(text, "VERSION_ID", value);
    if (strlen(value) >= size)
        *value = 0;
    record_copy_text(ret_version, size, value);
    return ret_version;
}

char *os_release_read_version(const char *root, char *ret_version, size_t size)
{
    static const char *const places[] = {"/etc/os-release", "/usr/lib/os-release"};

    *ret_version = 0;
    for (size_t i = 0; i < 2 && !*ret_version; i++) {
        CLEANUP_FREE char *path = alloc_printf("%s%s", root, places[i]);
        CLEANUP_FREE char *text = NULL;
        struct stat status;
        struct error error;
        size_t text_size;
        /* Only a regular file: reading a pipe could hang for ever. */
        if (file_status(path, &status) == 0 && S_ISREG(status.st_mode) &&
            file_read(path, FILE_SIZE_MAX, &text, &text_size, &error))
            os_release_find_version(text, ret_version, size);
    }
    return ret_version;
}
