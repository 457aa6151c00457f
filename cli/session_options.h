/* SPDX-License-Identifier: MIT */
/* The arguments that `clone` and `plan` share. Reads the keys that are named. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/session_images.h"
#include "cli/trust_options.h"
#include "common/image/url.h"
#include "common/io/http_settings.h"

/* Must not be moved once it was parsed: `http` points into it. */
struct session_options {
    struct url *url;
    struct session_images images;
    struct http_settings http;
    char *proxy;
    char *headers[HTTP_SETTINGS_HEADERS_MAX + 1];
    uint64_t give_up_ms; /* 0 = the default */
    struct trust_options trust_options;
    struct trust trust;
    bool json, quiet;
};

/* Reads the arguments of the verb argv[0] into *taken, which is all zero before; `help` and a failure are as
 * in argument_parse_options(). session_options_finish() must follow in every case. */
bool session_options_parse(struct session_options *taken, const char *help, int argc, char **argv,
                           struct error *error);

/* Frees what the options hold. */
void session_options_finish(struct session_options *taken);
