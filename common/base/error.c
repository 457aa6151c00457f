/* SPDX-License-Identifier: MIT */
#include "common/base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"

bool error_set(struct error *error, enum error_kind kind, const char *format, ...)
{
    if (!error)
        return false;

    va_list args;
    va_start(args, format);
    error->kind = kind;
    error->code = 0;
    vsnprintf(error->message, sizeof(error->message), format, args);
    va_end(args);
    text_hide_secrets(error->message);
    return false;
}

bool error_set_errno(struct error *error, int code, const char *format, ...)
{
    if (!error)
        return false;

    char text[128];
    va_list args;
    va_start(args, format);
    error->kind = ERROR_SYSTEM;
    error->code = abs(code);
    int length = vsnprintf(error->message, sizeof(error->message), format, args);
    va_end(args);
    if (length < 0)
        return false;
    text_hide_secrets(error->message);
    length = (int)strlen(error->message);
    if ((size_t)length + 1 < sizeof(error->message))
        snprintf(error->message + length, sizeof(error->message) - (size_t)length, ": %s",
                 strerror_r(error->code, text, sizeof(text)));
    return false;
}

bool error_prefix(struct error *error, const char *format, ...)
{
    if (!error)
        return false;

    char message[sizeof(error->message)];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof(message))
        return false;
    text_hide_secrets(message);
    length = (int)strlen(message);
    snprintf(message + length, sizeof(message) - (size_t)length, ": %.*s",
             (int)(sizeof(message) - (size_t)length), error->message);
    memcpy(error->message, message, sizeof(message));
    return false;
}

bool error_pass(struct error *error, const struct error *cause)
{
    if (error)
        *error = *cause;
    return false;
}

const char *error_kind_name(enum error_kind kind)
{
    static const char *const names[] = {
        [ERROR_NONE] = "none",     [ERROR_NETWORK] = "network",     [ERROR_REMOTE] = "remote",
        [ERROR_FORMAT] = "format", [ERROR_MISMATCH] = "mismatch",   [ERROR_REFUSED] = "refused",
        [ERROR_SYSTEM] = "system", [ERROR_CANCELLED] = "cancelled",
    };

    assert(kind < sizeof(names) / sizeof(names[0]));
    return names[kind];
}
