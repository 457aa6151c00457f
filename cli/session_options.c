/* SPDX-License-Identifier: MIT */
#include "cli/session_options.h"

#include <getopt.h>
#include <stdlib.h>

#include "cli/argument.h"
#include "common/base/alloc.h"
#include "common/base/text.h"
#include "common/sinter/plan.h"

static bool take_connections(const char *option, char *value, void *member, struct error *error)
{
    uint64_t number;

    if (text_parse_u64(value, &number) < 0 || number < 1 || number > HTTP_CONNECTIONS_MAX)
        return error_set(error, ERROR_REFUSED, "%s takes a number from 1 to %d, not %.100s", option,
                         HTTP_CONNECTIONS_MAX, value);
    *(unsigned *)member = (unsigned)number;
    return true;
}

static bool take_rate(const char *option, char *value, void *member, struct error *error)
{
    uint64_t bytes_s;

    if (text_parse_size(value, &bytes_s) < 0 || bytes_s == 0)
        return error_set(error, ERROR_REFUSED, "%s takes bytes a second such as 500K, not %.100s", option,
                         value);
    *(uint64_t *)member = bytes_s;
    return true;
}

static bool take_proxy(const char *option, char *value, void *member, struct error *error)
{
    char **proxy = member;

    free(*proxy);
    *proxy = http_settings_take_url_argument(value);
    return true;
}

static bool take_header(const char *option, char *value, void *member, struct error *error)
{
    CLEANUP_FREE char *text = http_settings_take_header_argument(value);

    return http_settings_add_headers(member, "", text, error) || error_prefix(error, "%s", option);
}

static bool take_pins(const char *option, char *value, void *member, struct error *error)
{
    const char *why = http_settings_check_pins(value);

    return why ? error_set(error, ERROR_REFUSED, "%s %.200s %s", option, value, why)
               : argument_take_text(option, value, member, error);
}

static const struct argument_option options[] = {
    {"connections", take_connections, offsetof(struct session_options, http.connections)},
    {"rate-limit", take_rate, offsetof(struct session_options, http.rate_limit_bytes_s)},
    {"stall-timeout", argument_take_duration, offsetof(struct session_options, http.stall_timeout_ms)},
    {"retry-for", argument_take_duration, offsetof(struct session_options, give_up_ms)},
    {"proxy", take_proxy, offsetof(struct session_options, proxy)},
    {"ca-file", argument_take_text, offsetof(struct session_options, http.ca_file)},
    {"client-certificate", argument_take_text, offsetof(struct session_options, http.client_certificate)},
    {"client-key", argument_take_text, offsetof(struct session_options, http.client_key)},
    {"pinned-public-key", take_pins, offsetof(struct session_options, http.pinned_public_key)},
    {"header", take_header, offsetof(struct session_options, headers)},
    {"key", trust_options_take_key, offsetof(struct session_options, trust_options)},
    {"require-signature", NULL, offsetof(struct session_options, trust_options.required)},
    {"part", session_images_take_part, offsetof(struct session_options, images)},
    {"json", NULL, offsetof(struct session_options, json)},
    {"quiet", NULL, offsetof(struct session_options, quiet)},
    {NULL, NULL, 0},
};

bool session_options_parse(struct session_options *taken, const char *help, int argc, char **argv,
                           struct error *error)
{
    if (!argument_parse_options(options, help, argc, argv, taken, error))
        return false;
    if (argc - optind < 2)
        return error_set(error, ERROR_REFUSED, "it takes URL, OUTPUT and perhaps SEEDs, and got %d arguments",
                         argc - optind);
    CLEANUP_FREE char *address = http_settings_take_url_argument(argv[optind]);
    session_images_init(&taken->images, argv[optind + 1], argv + optind + 2);
    if (!url_new(address, &taken->url, error))
        return false;
    if (!*argv[optind + 1])
        return error_set(error, ERROR_REFUSED, "OUTPUT is empty; name a file or a block device");
    if (argc - optind - 2 > PLAN_SOURCE_SEED_LAST)
        return error_set(error, ERROR_REFUSED, "it takes %d SEEDs at most, and got %d", PLAN_SOURCE_SEED_LAST,
                         argc - optind - 2);
    taken->http.proxy = taken->proxy;
    taken->http.headers = (const char *const *)taken->headers;
    taken->http.headers_for = url_text_to_send(taken->url);
    return trust_options_get(&taken->trust_options, &taken->trust, error);
}

void session_options_finish(struct session_options *taken)
{
    session_images_finish(&taken->images);
    url_free(taken->url);
    free(taken->proxy);
    http_settings_clear_headers(taken->headers);
    trust_options_finish(&taken->trust_options);
}
