/* SPDX-License-Identifier: MIT */
#include "common/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/base/try_write.h"

enum { LINE_SIZE = 1024 };

static struct {
    enum log_level max_level;
    bool priorities;
    /* What is left of a line of which only a part was taken. It is written before the next line, which would
     * otherwise look like its end. */
    char rest[LINE_SIZE + sizeof("<0>\n")];
    unsigned long lost; /* lines lost since the last one that was taken */
} log_settings = {.max_level = LOG_LEVEL_INFO};

void log_init(enum log_level max_level, bool priorities)
{
    log_settings.max_level = max_level;
    log_settings.priorities = priorities;
}

/* Writes the rest of the last line; false if some of it is left. */
static bool write_rest(void)
{
    size_t size = strlen(log_settings.rest);
    size_t done = try_write(STDERR_FILENO, log_settings.rest, size);

    memmove(log_settings.rest, log_settings.rest + done, size - done + 1);
    return done == size;
}

static bool write_line(enum log_level level, const char *line)
{
    char text[sizeof(log_settings.rest)];

    if (!write_rest())
        return false;
    int size = log_settings.priorities ? snprintf(text, sizeof(text), "<%d>%s\n", level, line)
                                       : snprintf(text, sizeof(text), "%s\n", line);
    size_t done = try_write(STDERR_FILENO, text, (size_t)size);
    if (done)
        snprintf(log_settings.rest, sizeof(log_settings.rest), "%s", text + done);
    return done > 0;
}

void log_write(enum log_level level, const char *format, ...)
{
    if (level > log_settings.max_level)
        return;

    int saved_errno = errno;
    char line[LINE_SIZE], lost[64];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    text_hide_secrets(line);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    snprintf(lost, sizeof(lost), "%lu lines before this one were not taken and are lost", log_settings.lost);
    if (log_settings.lost && write_line(LOG_LEVEL_WARNING, lost))
        log_settings.lost = 0;
    if (log_settings.lost || !write_line(level, line))
        log_settings.lost++;
    errno = saved_errno;
}
