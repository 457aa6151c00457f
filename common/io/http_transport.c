/* SPDX-License-Identifier: MIT */
#include "common/io/http_transport.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/base/alloc.h"
#include "common/base/version.h"
#include "common/io/http_settings.h"

enum {
    DEFAULT_CONNECTIONS = HTTP_CONNECTIONS_DEFAULT,
    DEFAULT_STALL_MS = 30 * 1000,
    STALL_MAX_MS = 24 * 3600 * 1000, /* curl counts in long */
    CONNECT_MAX_MS = 30 * 1000,      /* name, TCP, proxy and TLS; the stall timeout if shorter */
    STALL_BYTES_S = 100,
    DEADLINE_STALLS = 4, /* a deadline is so many stall timeouts ... */
    DEADLINE_BYTES_S =
        1024, /* ... and the time for the bytes at this rate: even a poor GPRS line has twice as much */
    RECEIVE_BUFFER = 64 * 1024, /* one for each request under way */
    RECEIVE_BUFFER_MIN = 1024,  /* curl's own lower bound */
};

bool http_transport_is_field_text(const char *text)
{
    for (const char *c = text; *c; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            return false;
    return true;
}

void http_transport_append(struct curl_slist **lines, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*lines, line);

    if (!longer)
        abort();
    *lines = longer;
}

static bool set_fields(struct http_transport *transport, const char *const *fields, struct error *error)
{
    for (; fields && *fields; fields++) {
        const char *why = http_settings_check_header(*fields);
        if (why)
            return error_set(error, ERROR_REFUSED, "header '%.*s' %s", (int)strcspn(*fields, ": \t\r\n"),
                             *fields, why);
        http_transport_append(&transport->fields, *fields);
    }
    return true;
}

bool http_transport_init(struct http_transport *transport, const struct http_settings *settings,
                         struct error *error)
{
    unsigned connections = settings->connections ? settings->connections : DEFAULT_CONNECTIONS;
    uint64_t stall_ms = settings->stall_timeout_ms ? settings->stall_timeout_ms : DEFAULT_STALL_MS;

    *transport = (struct http_transport){
        .connections = connections,
        .rate_limit.rate_bytes_s = settings->rate_limit_bytes_s,
        .stall_timeout_ms = stall_ms < STALL_MAX_MS ? stall_ms : STALL_MAX_MS,
        .proxy = alloc_string(settings->proxy),
        .ca_file = alloc_string(settings->ca_file),
        .client_certificate = alloc_string(settings->client_certificate),
        .client_key = alloc_string(settings->client_key),
        .pinned_public_key = alloc_string(settings->pinned_public_key),
        .fields_for = alloc_string(settings->headers_for),
    };
    const char *why =
        transport->pinned_public_key ? http_settings_check_pins(transport->pinned_public_key) : NULL;
    if (why)
        return error_set(error, ERROR_REFUSED, "the pinned public key %s %s", transport->pinned_public_key,
                         why);
    return set_fields(transport, settings->headers, error);
}

void http_transport_finish(struct http_transport *transport)
{
    curl_slist_free_all(transport->fields);
    free(transport->proxy);
    free(transport->ca_file);
    free(transport->client_certificate);
    free(transport->client_key);
    free(transport->pinned_public_key);
    free(transport->fields_for);
}

/* A part of a URL as curl reads it, freed by curl_free(). */
static char *url_part(CURLU *parts, CURLUPart part)
{
    char *text = NULL;

    curl_url_get(parts, part, &text, CURLU_DEFAULT_PORT);
    return text;
}

bool http_transport_is_same_origin(const char *url, const char *other)
{
    static const CURLUPart kinds[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    CURLU *left = curl_url(), *right = curl_url();

    if (!left || !right)
        abort();
    bool same = curl_url_set(left, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_set(right, CURLUPART_URL, other, 0) == CURLUE_OK;
    for (size_t i = 0; same && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char *a = url_part(left, kinds[i]), *b = url_part(right, kinds[i]);
        same = a && b && strcasecmp(a, b) == 0;
        curl_free(a);
        curl_free(b);
    }
    curl_url_cleanup(left);
    curl_url_cleanup(right);
    return same;
}

static void set_speed(const struct http_transport *transport, CURL *easy)
{
    uint64_t share = transport->rate_limit.rate_bytes_s / transport->connections;
    long stall_s = (long)((transport->stall_timeout_ms + 999) / 1000);
    long buffer = RECEIVE_BUFFER, stall_bytes_s = STALL_BYTES_S;

    if (transport->rate_limit.rate_bytes_s) {
        /* HTTP/1.1, because a paused connection holds the server back. Of a paused HTTP/2 stream curl 7.88
         * keeps all that its window lets the server send, up to 32 MB. */
        HTTP_TRANSPORT_SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        /* The rate limit passes a whole buffer and then makes it wait, so a buffer holds one second's share,
         * within curl's bounds. And a share below the stall limit must not look like a stall. */
        if (share < RECEIVE_BUFFER)
            buffer = share > RECEIVE_BUFFER_MIN ? (long)share : RECEIVE_BUFFER_MIN;
        if (share / 2 < STALL_BYTES_S)
            stall_bytes_s = (long)share / 2 + 1;
    }
    HTTP_TRANSPORT_SET(easy, CURLOPT_BUFFERSIZE, buffer);
    HTTP_TRANSPORT_SET(easy, CURLOPT_LOW_SPEED_LIMIT, stall_bytes_s);
    HTTP_TRANSPORT_SET(easy, CURLOPT_LOW_SPEED_TIME, stall_s);
    HTTP_TRANSPORT_SET(
        easy, CURLOPT_CONNECTTIMEOUT_MS,
        (long)(transport->stall_timeout_ms < CONNECT_MAX_MS ? transport->stall_timeout_ms : CONNECT_MAX_MS));
}

uint64_t http_transport_deadline_ms(const struct http_transport *transport, uint64_t bytes)
{
    uint64_t rate = transport->rate_limit.rate_bytes_s / transport->connections / 2;

    if (!transport->rate_limit.rate_bytes_s || rate > DEADLINE_BYTES_S)
        rate = DEADLINE_BYTES_S;
    return DEADLINE_STALLS * transport->stall_timeout_ms + bytes / (rate ? rate : 1) * 1000;
}

/* curl's own sockets would be inherited by every program the daemon starts. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void set_connection(const struct http_transport *transport, CURL *easy, bool secure)
{
    HTTP_TRANSPORT_SET(easy, CURLOPT_NOSIGNAL, 1L);
    /* Otherwise curl, when a request is cancelled or timed out, would block the loop until a silent name
     * server has timed out. */
    HTTP_TRANSPORT_SET(easy, CURLOPT_QUICK_EXIT, 1L);
    HTTP_TRANSPORT_SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    HTTP_TRANSPORT_SET(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    HTTP_TRANSPORT_SET(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    HTTP_TRANSPORT_SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    HTTP_TRANSPORT_SET(easy, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (secure)
        HTTP_TRANSPORT_SET(easy, CURLOPT_PIPEWAIT, 1L);
    if (transport->proxy) {
        HTTP_TRANSPORT_SET(easy, CURLOPT_PROXY, transport->proxy);
        /* So that no_proxy of the environment does not bypass this proxy. */
        HTTP_TRANSPORT_SET(easy, CURLOPT_NOPROXY, "");
    }
    if (transport->ca_file) {
        /* Only this file counts: curl would otherwise also use the system's folder of certificates. */
        HTTP_TRANSPORT_SET(easy, CURLOPT_CAINFO, transport->ca_file);
        HTTP_TRANSPORT_SET(easy, CURLOPT_CAPATH, (char *)NULL);
    }
    if (transport->client_certificate)
        HTTP_TRANSPORT_SET(easy, CURLOPT_SSLCERT, transport->client_certificate);
    if (transport->client_key)
        HTTP_TRANSPORT_SET(easy, CURLOPT_SSLKEY, transport->client_key);
    /* Otherwise OpenSSL would ask for an encrypted key's password at the terminal, and block the loop. */
    HTTP_TRANSPORT_SET(easy, CURLOPT_KEYPASSWD, "");
    if (transport->pinned_public_key)
        HTTP_TRANSPORT_SET(easy, CURLOPT_PINNEDPUBLICKEY, transport->pinned_public_key);
}

void http_transport_apply(const struct http_transport *transport, CURL *easy, bool secure)
{
    char agent[128];

    HTTP_TRANSPORT_SET(easy, CURLOPT_PROTOCOLS_STR, transport->pinned_public_key ? "https" : "http,https");
    HTTP_TRANSPORT_SET(easy, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    HTTP_TRANSPORT_SET(easy, CURLOPT_FOLLOWLOCATION, 1L);
    HTTP_TRANSPORT_SET(easy, CURLOPT_MAXREDIRS, (long)HTTP_TRANSPORT_REDIRECTS_MAX);
    HTTP_TRANSPORT_SET(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    snprintf(agent, sizeof(agent), "moonsinter/%s", version_text());
    HTTP_TRANSPORT_SET(easy, CURLOPT_USERAGENT, agent);
    set_connection(transport, easy, secure);
    set_speed(transport, easy);
}
