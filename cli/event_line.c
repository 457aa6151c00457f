/* SPDX-License-Identifier: MIT */
#include "cli/event_line.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/plain_text.h"
#include "cli/tell.h"
#include "common/base/alloc.h"

struct json_object *event_line_new(const char *name)
{
    struct json_object *event = json_object_new_object();

    json_add_string(event, "event", name);
    return event;
}

void event_line_write(struct json_object *event)
{
    const char *text = json_to_text(event);
    size_t size = strlen(text) + 2; /* making it safe to show never makes it longer */
    CLEANUP_FREE char *line = alloc_zeroed(size);

    if (isatty(STDOUT_FILENO))
        plain_text_copy(line, size - 1, text);
    else
        memcpy(line, text, size - 2);
    strcat(line, "\n");
    output_write(line, strlen(line));
    json_object_put(event);
}

void event_line_write_value(const char *name, uint64_t value)
{
    struct json_object *event = event_line_new(name);

    json_add_u64(event, "value", value);
    event_line_write(event);
}

void event_line_write_text(const char *name, const char *value)
{
    struct json_object *event = event_line_new(name);

    json_add_string(event, "value", value);
    event_line_write(event);
}

static void write_failed(const struct error *error)
{
    struct json_object *event = event_line_new("failed");

    json_add_string(event, "kind", error_kind_name(error->kind));
    json_add_string(event, "message", error->message);
    event_line_write(event);
}

void event_line_tell(const char *verb, const char *text)
{
    CLEANUP_FREE char *plain = plain_text_new(text);
    CLEANUP_FREE char *line = alloc_printf("moonsinter %s: %s\n", verb, plain);

    tell(line);
}

int event_line_tell_failure(const char *verb, const struct error *error)
{
    event_line_tell(verb, error->message);
    return 1;
}

int event_line_write_failure(const char *verb, const struct error *error)
{
    event_line_tell_failure(verb, error);
    write_failed(error);
    return 1;
}

int event_line_write_usage(const char *verb, const struct error *error)
{
    const char *blank = verb ? " " : "", *name = verb ? verb : "";

    CLEANUP_FREE char *plain = plain_text_new(error->message);
    CLEANUP_FREE char *line =
        alloc_printf("moonsinter%s%s: %s; see moonsinter%s%s --help\n", blank, name, plain, blank, name);

    tell(line);
    write_failed(error);
    return 2;
}

int event_line_finish(int exit_status)
{
    /* After a signal a slow reader is not waited for. */
    bool is_told = fflush(stdout) == 0 && !ferror(stdout);

    is_told = output_finish(exit_status < EVENT_LINE_BY_SIGNAL) && is_told;
    if (is_told || exit_status != 0)
        return exit_status;
    tell(
        "moonsinter: the work is done, but standard output is closed or full and lacks some of what was to be said; "
        "give it a reader or room\n");
    return 1;
}
