/* SPDX-License-Identifier: MIT */
#include "cli/session_options.h"

#include <getopt.h>
#include <stdlib.h>

#include "cli/argument.h"
#include "common/base/alloc.h"
#include "common/base/text.h"
#include "common/sinter/plan.h"

enum {
    OPTION_CONNECTIONS = 256,
    OPTION_RATE_LIMIT,
    OPTION_STALL_TIMEOUT,
    OPTION_RETRY_FOR,
    OPTION_PROXY,
    OPTION_CA_FILE,
    OPTION_CLIENT_CERTIFICATE,
    OPTION_CLIENT_KEY,
    OPTION_PINNED_PUBLIC_KEY,
    OPTION_HEADER,
    OPTION_PART,
    OPTION_JSON,
    OPTION_KEY,
    OPTION_REQUIRE_SIGNATURE,
};

static const struct option options[] = {
    {"connections", required_argument, NULL, OPTION_CONNECTIONS},
    {"rate-limit", required_argument, NULL, OPTION_RATE_LIMIT},
    {"stall-timeout", required_argument, NULL, OPTION_STALL_TIMEOUT},
    {"retry-for", required_argument, NULL, OPTION_RETRY_FOR},
    {"proxy", required_argument, NULL, OPTION_PROXY},
    {"ca-file", required_argument, NULL, OPTION_CA_FILE},
    {"client-certificate", required_argument, NULL, OPTION_CLIENT_CERTIFICATE},
    {"client-key", required_argument, NULL, OPTION_CLIENT_KEY},
    {"pinned-public-key", required_argument, NULL, OPTION_PINNED_PUBLIC_KEY},
    {"header", required_argument, NULL, OPTION_HEADER},
    {"key", required_argument, NULL, OPTION_KEY},
    {"require-signature", no_argument, NULL, OPTION_REQUIRE_SIGNATURE},
    {"part", required_argument, NULL, OPTION_PART},
    {"json", no_argument, NULL, OPTION_JSON},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool take_duration(const char *option, uint64_t *ret_ms, struct error *error)
{
    uint64_t ms;

    if (text_parse_duration(optarg, &ms) < 0 || ms == 0)
        return error_set(error, ERROR_REFUSED, "%s takes a time such as 30s or 5min, not %.100s", option,
                         optarg);
    *ret_ms = ms;
    return true;
}

static bool take_header(struct session_options *taken, char *argument, struct error *error)
{
    CLEANUP_FREE char *text = http_settings_take_header_argument(argument);

    return http_settings_add_headers(taken->headers, "", text, error) || error_prefix(error, "--header");
}

static bool take_pins(struct session_options *taken, const char *text, struct error *error)
{
    const char *why = http_settings_check_pins(text);

    if (why)
        return error_set(error, ERROR_REFUSED, "--pinned-public-key %.200s %s", text, why);
    taken->http.pinned_public_key = text;
    return true;
}

static bool take_option(struct session_options *taken, int option, char **argv, struct error *error)
{
    uint64_t number;

    switch (option) {
    case OPTION_CONNECTIONS:
        if (text_parse_u64(optarg, &number) < 0 || number < 1 || number > HTTP_CONNECTIONS_MAX)
            return error_set(error, ERROR_REFUSED, "--connections takes a number from 1 to %d, not %.100s",
                             HTTP_CONNECTIONS_MAX, optarg);
        taken->http.connections = (unsigned)number;
        return true;
    case OPTION_RATE_LIMIT:
        if (text_parse_size(optarg, &number) < 0 || number == 0)
            return error_set(error, ERROR_REFUSED,
                             "--rate-limit takes bytes a second such as 500K, not %.100s", optarg);
        taken->http.rate_limit_bytes_s = number;
        return true;
    case OPTION_STALL_TIMEOUT:
        return take_duration("--stall-timeout", &taken->http.stall_timeout_ms, error);
    case OPTION_RETRY_FOR:
        return take_duration("--retry-for", &taken->give_up_ms, error);
    case OPTION_PROXY:
        free(taken->proxy);
        taken->proxy = http_settings_take_url_argument(optarg);
        return true;
    case OPTION_CA_FILE:
        taken->http.ca_file = optarg;
        return true;
    case OPTION_CLIENT_CERTIFICATE:
        taken->http.client_certificate = optarg;
        return true;
    case OPTION_CLIENT_KEY:
        taken->http.client_key = optarg;
        return true;
    case OPTION_HEADER:
        return take_header(taken, optarg, error);
    case OPTION_PINNED_PUBLIC_KEY:
        return take_pins(taken, optarg, error);
    case OPTION_KEY:
        return trust_options_add_key(&taken->trust_options, optarg, error);
    case OPTION_REQUIRE_SIGNATURE:
        taken->trust_options.required = true;
        return true;
    case OPTION_PART:
        return session_images_add_part(&taken->images, optarg, error);
    case OPTION_JSON:
        taken->json = true;
        return true;
    case 'q':
        taken->quiet = true;
        return true;
    case 'h':
        taken->help = true;
        return true;
    default:
        return argument_set_option_error(option, argv, error);
    }
}

bool session_options_parse(struct session_options *taken, int argc, char **argv, struct error *error)
{
    int option;

    opterr = 0;
    optind = 0; /* makes glibc start over: the program's own options were parsed before */
    while ((option = getopt_long(argc, argv, ":qh", options, NULL)) != -1)
        if (!take_option(taken, option, argv, error))
            return false;
    if (taken->help)
        return true;
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
