#include "common/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/text.h"

static struct {
    enum log_level max_level;
    bool priorities;
} log_settings = {.max_level = LOG_LEVEL_INFO};

void log_init(enum log_level max_level, bool priorities)
{
    log_settings.max_level = max_level;
    log_settings.priorities = priorities;
}

void log_write(enum log_level level, const char *format, ...)
{
    if (level > log_settings.max_level)
        return;

    int saved_errno = errno;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    text_hide_secrets(line);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    if (log_settings.priorities)
        fprintf(stderr, "<%d>%s\n", level, line);
    else
        fprintf(stderr, "%s\n", line);
    errno = saved_errno;
}
