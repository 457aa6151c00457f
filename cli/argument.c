/* SPDX-License-Identifier: MIT */
#include "cli/argument.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/event_line.h"
#include "common/base/alloc.h"
#include "common/base/text.h"
#include "common/base/timestamp.h"
#include "common/base/utf8.h"
#include "common/image/chunker.h"
#include "common/image/manifest.h"

enum {
    OPTIONS_MAX = 32,
    OPTION_FIRST = 256, /* what getopt_long() returns for the first row, unless that has a short form */
};

/* For getopt_long() that returned '?' or ':': what is wrong with the option before argv[optind]. */
static bool set_option_error(int result, char **argv, struct error *error)
{
    const char *option = argv[optind - 1];
    /* Do not show what follows the "=" of a long option: it may be secret. */
    int length = (int)strcspn(option, "=");

    if (length > 100)
        length = 100;
    if (result == ':')
        return error_set(error, ERROR_REFUSED, "%.*s needs a value", length, option);
    /* optopt is set for a short option, and for a long one that was given a value it does not take. */
    if (option[0] == '-' && option[1] == '-')
        return error_set(error, ERROR_REFUSED, optopt ? "%.*s takes no value" : "there is no option %.*s",
                         length, option);
    return error_set(error, ERROR_REFUSED, "there is no option -%c", optopt);
}

static bool take_option(const struct argument_option *option, void *owner, struct error *error)
{
    void *member = (char *)owner + option->offset;
    CLEANUP_FREE char *typed = alloc_printf("--%s", option->name);

    if (option->take)
        return option->take(typed, optarg, member, error);
    *(bool *)member = true;
    return true;
}

bool argument_parse_options(const struct argument_option *options, const char *help, int argc, char **argv,
                            void *owner, struct error *error)
{
    struct option accepted[OPTIONS_MAX + 2] = {0};
    int result, count = 0;

    for (; options[count].name; count++) {
        assert(count < OPTIONS_MAX);
        const char *name = options[count].name;
        accepted[count] = (struct option){.name = name,
                                          .has_arg = options[count].take ? required_argument : no_argument,
                                          .val = strcmp(name, "quiet") == 0 ? 'q' : OPTION_FIRST + count};
    }
    accepted[count] = (struct option){.name = "help", .val = 'h'};
    opterr = 0;
    optind = 0; /* makes glibc start over: the program's own options were parsed before */
    while ((result = getopt_long(argc, argv, ":qh", accepted, NULL)) != -1) {
        if (result == 'h') {
            fputs(help, stdout);
            error->kind = ERROR_NONE;
            return false;
        }
        int row = 0;
        while (row < count && accepted[row].val != result)
            row++;
        if (row == count)
            return set_option_error(result, argv, error);
        if (!take_option(&options[row], owner, error))
            return false;
    }
    return true;
}

int argument_end(const char *verb, const struct error *error)
{
    return error->kind == ERROR_NONE ? 0 : event_line_write_usage(verb, error);
}

bool argument_take_text(const char *option, char *value, void *member, struct error *error)
{
    memcpy(member, &value, sizeof(value));
    return true;
}

bool argument_take_printable(const char *option, char *value, void *member, struct error *error)
{
    if (!utf8_is_printable(value, MANIFEST_TEXT_MAX))
        return error_set(error, ERROR_REFUSED, "%s takes 1 to %d bytes of printable UTF-8", option,
                         MANIFEST_TEXT_MAX);
    return argument_take_text(option, value, member, error);
}

bool argument_take_time(const char *option, char *value, void *member, struct error *error)
{
    uint64_t seconds = 0;

    int result = value[0] == '@' ? text_parse_u64(value + 1, &seconds) : timestamp_parse(value, &seconds);
    if (result < 0 || seconds == 0 || seconds > TIMESTAMP_MAX)
        return error_set(error, ERROR_REFUSED,
                         "%s takes a time like 2026-01-31T12:00:00Z, or @ and seconds since 1970, not %.100s",
                         option, value);
    *(uint64_t *)member = seconds;
    return true;
}

bool argument_take_duration(const char *option, char *value, void *member, struct error *error)
{
    uint64_t ms;

    if (text_parse_duration(value, &ms) < 0 || ms == 0)
        return error_set(error, ERROR_REFUSED, "%s takes a time such as 30s or 5min, not %.100s", option,
                         value);
    *(uint64_t *)member = ms;
    return true;
}

bool argument_take_average(const char *option, char *value, void *member, struct error *error)
{
    struct chunker chunker;
    uint64_t bytes;

    if (text_parse_size(value, &bytes) < 0 || bytes > UINT32_MAX ||
        chunker_init(&chunker, (uint32_t)bytes) < 0)
        return error_set(error, ERROR_REFUSED, "%s takes a power of two from %dK to %dK, not %.100s", option,
                         CHUNKER_AVERAGE_MIN / 1024, CHUNKER_AVERAGE_MAX / 1024, value);
    *(uint32_t *)member = (uint32_t)bytes;
    return true;
}

bool argument_parse_chunk_size(const char *text, uint32_t *ret_bytes, struct error *error)
{
    uint64_t bytes;

    if (text_parse_size(text, &bytes) < 0 || bytes == 0 || bytes > MANIFEST_CHUNK_SIZE_MAX)
        return error_set(
            error, ERROR_REFUSED,
            "%.100s is no CHUNK_SIZE: it takes 1 to 1G bytes, with K, M or G for multiples of 1024", text);
    *ret_bytes = (uint32_t)bytes;
    return true;
}

bool argument_check_access(const char *path, struct error *error)
{
    if (access(path, R_OK) == 0)
        return true;
    error_set_errno(error, errno, "cannot read %s", path);
    event_line_write_text("unable_to_access_file", path);
    return false;
}
