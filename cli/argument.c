/* SPDX-License-Identifier: MIT */
#include "cli/argument.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "cli/event_line.h"
#include "common/base/text.h"
#include "common/base/timestamp.h"
#include "common/base/utf8.h"
#include "common/image/chunker.h"
#include "common/image/manifest.h"

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

bool argument_parse_average(const char *text, uint32_t *ret_bytes, struct error *error)
{
    struct chunker chunker;
    uint64_t bytes;

    if (text_parse_size(text, &bytes) < 0 || bytes > UINT32_MAX ||
        chunker_init(&chunker, (uint32_t)bytes) < 0)
        return error_set(error, ERROR_REFUSED, "--average takes a power of two from %dK to %dK, not %.100s",
                         CHUNKER_AVERAGE_MIN / 1024, CHUNKER_AVERAGE_MAX / 1024, text);
    *ret_bytes = (uint32_t)bytes;
    return true;
}

bool argument_parse_time(const char *option, const char *text, uint64_t *ret_seconds, struct error *error)
{
    uint64_t seconds = 0;
    int result = text[0] == '@' ? text_parse_u64(text + 1, &seconds) : timestamp_parse(text, &seconds);

    if (result < 0 || seconds == 0 || seconds > TIMESTAMP_MAX)
        return error_set(error, ERROR_REFUSED,
                         "%s takes a time like 2026-01-31T12:00:00Z, or @ and seconds since 1970, not %.100s",
                         option, text);
    *ret_seconds = seconds;
    return true;
}

bool argument_check_text(const char *option, const char *text, struct error *error)
{
    if (!utf8_is_printable(text, MANIFEST_TEXT_MAX))
        return error_set(error, ERROR_REFUSED, "%s takes 1 to %d bytes of printable UTF-8", option,
                         MANIFEST_TEXT_MAX);
    return true;
}

bool argument_set_option_error(int result, char **argv, struct error *error)
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

bool argument_check_access(const char *path, struct error *error)
{
    if (access(path, R_OK) == 0)
        return true;
    error_set_errno(error, errno, "cannot read %s", path);
    event_line_write_text("unable_to_access_file", path);
    return false;
}
