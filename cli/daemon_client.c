/* SPDX-License-Identifier: MIT */
#include "cli/daemon_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#include <curl/curl.h>

#include "cli/plain_text.h"
#include "common/base/alloc.h"

enum {
    ANSWER_TIMEOUT_S = 30,
    PAUSE_MS = 100,
    HEAD_MAX = 64 << 10,
    /* The status is some 2 KB, a long history or plan some 100 KB. */
    BODY_MAX = 4 << 20,
    LINE_MAX_BYTES = 1 << 20,
};

/* One request and its answer. */
struct exchange {
    const char *socket_path;
    CURL *easy;
    size_t head_bytes;
    long http_status;
    char *text; /* the body, or the line under way; zero-terminated */
    size_t size, room;
    daemon_client_line_fn take; /* NULL: the whole body is kept */
    void *owner;
    bool is_enough; /* `take` wants no more */
    bool is_garbled;
};

static bool set_hung_up(const struct exchange *exchange, struct error *error)
{
    return error_set(error, ERROR_SYSTEM,
                     "moonsinterd at %s closed the connection: it was stopped, or it has too many clients",
                     exchange->socket_path);
}

static int connect_errno(const struct exchange *exchange)
{
    long code = 0;

    curl_easy_getinfo(exchange->easy, CURLINFO_OS_ERRNO, &code);
    return (int)code;
}

static bool set_connect_error(const struct exchange *exchange, struct error *error)
{
    int code = connect_errno(exchange);

    if (code == 0)
        return set_hung_up(exchange, error); /* see is_crowded() */
    if (code == ENOENT || code == ECONNREFUSED)
        return error_set(
            error, ERROR_REFUSED,
            "no moonsinterd listens at %s: start it (systemctl start moonsinterd), or name its socket with "
            "--socket",
            exchange->socket_path);
    if (code == EACCES)
        return error_set(error, ERROR_REFUSED,
                         "you may not open %s: ask as root, or as a member of the group in [Api] Group=",
                         exchange->socket_path);
    return error_set_errno(error, code, "cannot connect to moonsinterd at %s", exchange->socket_path);
}

static bool set_garbled(const struct exchange *exchange, struct error *error)
{
    return error_set(error, ERROR_FORMAT, "what listens at %s does not answer as moonsinterd does",
                     exchange->socket_path);
}

static bool set_error(const struct exchange *exchange, CURLcode code, struct error *error)
{
    if (exchange->is_garbled)
        return set_garbled(exchange, error);
    /* curl has many codes; those not named here mean that the answer was not one of HTTP. */
    switch ((int)code) {
    case CURLE_COULDNT_CONNECT:
        return set_connect_error(exchange, error);
    case CURLE_OPERATION_TIMEDOUT:
        return error_set(error, ERROR_SYSTEM,
                         "moonsinterd at %s has not answered for %d seconds; see its log",
                         exchange->socket_path, ANSWER_TIMEOUT_S);
    case CURLE_SEND_ERROR:
        /* The daemon closed the connection before it was asked; its answer says why, but curl does not read
         * it. */
        return error_set(error, ERROR_REFUSED,
                         "moonsinterd at %s took no request: too many clients are connected, or it was just "
                         "stopped; try again in a moment",
                         exchange->socket_path);
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return set_hung_up(exchange, error);
    default:
        return set_garbled(exchange, error);
    }
}

/* Returning less than it was given makes curl end the transfer. */
static size_t on_header(char *line, size_t unit, size_t size, void *arg)
{
    struct exchange *exchange = arg;

    exchange->head_bytes += size;
    exchange->is_garbled = exchange->head_bytes > HEAD_MAX;
    return exchange->is_garbled ? 0 : size;
}

static bool append(struct exchange *exchange, const char *data, size_t size, size_t max)
{
    exchange->is_garbled = size > max - exchange->size;
    if (exchange->is_garbled)
        return false;
    exchange->text = alloc_grow(exchange->text, 1, exchange->size + size + 1, &exchange->room);
    memcpy(exchange->text + exchange->size, data, size);
    exchange->size += size;
    exchange->text[exchange->size] = '\0';
    return true;
}

static bool take_lines(struct exchange *exchange, const char *data, size_t size)
{
    for (const char *end; (end = memchr(data, '\n', size)); data = end + 1) {
        size_t length = (size_t)(end - data);
        if (!append(exchange, data, length, LINE_MAX_BYTES))
            return false;
        exchange->is_garbled = strlen(exchange->text) != exchange->size;
        exchange->is_enough = !exchange->is_garbled && !exchange->take(exchange->owner, exchange->text);
        if (exchange->is_garbled || exchange->is_enough)
            return false;
        exchange->size = 0;
        size -= length + 1;
    }
    return append(exchange, data, size, LINE_MAX_BYTES);
}

static bool has_succeeded(const struct exchange *exchange)
{
    return exchange->http_status == 200 || exchange->http_status == 202;
}

static size_t on_body(char *data, size_t unit, size_t size, void *arg)
{
    struct exchange *exchange = arg;

    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &exchange->http_status);
    if (!exchange->take || !has_succeeded(exchange))
        return append(exchange, data, size, BODY_MAX) ? size : 0;
    /* The stream has begun. It may be silent for long and has no end, so curl must not time it, nor (since
     * 8.4) count all of it against the limit for a body. Each line has a limit of its own. */
    curl_easy_setopt(exchange->easy, CURLOPT_LOW_SPEED_TIME, 0L);
    curl_easy_setopt(exchange->easy, CURLOPT_MAXFILESIZE, 0L);
    return take_lines(exchange, data, size) ? size : 0;
}

static bool set_options(struct exchange *exchange, const char *method, const char *target)
{
    CURL *easy = exchange->easy;
    bool ok = curl_easy_setopt(easy, CURLOPT_URL, target) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, exchange->socket_path) == CURLE_OK;

    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* not the environment's */
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    /* This also makes curl refuse lengths that it cannot count. */
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE, (long)BODY_MAX);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)ANSWER_TIMEOUT_S);
    if (strcmp(method, "POST") == 0)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
    return ok;
}

/* Whether the daemon's queue of connections is full: then curl, which does not wait, reports a failed
 * connection without an error of the system. */
static bool is_crowded(const struct exchange *exchange, CURLcode code)
{
    return code == CURLE_COULDNT_CONNECT && connect_errno(exchange) == 0;
}

static CURLcode perform(const struct exchange *exchange)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    CURLcode code = curl_easy_perform(exchange->easy);

    for (int i = 0; is_crowded(exchange, code) && i < ANSWER_TIMEOUT_S * 1000 / PAUSE_MS; i++) {
        nanosleep(&pause, NULL);
        code = curl_easy_perform(exchange->easy);
    }
    return code;
}

static bool ask(struct exchange *exchange, const char *method, const char *path, struct error *error)
{
    CLEANUP_FREE char *target = alloc_printf("http://moonsinter%s", path);
    size_t length = strlen(exchange->socket_path), most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

    if (length < 1 || length > most)
        return error_set(error, ERROR_REFUSED, "a socket's path has 1 to %zu bytes, not %zu", most, length);
    curl_global_init(CURL_GLOBAL_NOTHING);
    exchange->easy = curl_easy_init();
    if (!exchange->easy || !set_options(exchange, method, target)) {
        curl_easy_cleanup(exchange->easy);
        return error_set(error, ERROR_SYSTEM, "libcurl %s here has no Unix sockets; install another one",
                         curl_version_info(CURLVERSION_NOW)->version);
    }
    CURLcode code = perform(exchange);
    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &exchange->http_status);
    bool ok = code == CURLE_OK || exchange->is_enough || set_error(exchange, code, error);
    curl_easy_cleanup(exchange->easy);
    return ok;
}

/* Parses the whole body as an object. If it is an error answer, {"error": {"code", "message"}}, sets its
 * sentence as the error. */
static bool parse_body(const struct exchange *exchange, struct json_object **ret_body, struct error *error)
{
    CLEANUP_JSON struct json_object *body = NULL;
    struct json_object *inner;
    const char *message;

    if (exchange->size == 0)
        return set_hung_up(exchange, error);
    if (!json_parse_object(exchange->text, exchange->size, "moonsinterd's answer", &body, error))
        return false;
    if (has_succeeded(exchange)) {
        *ret_body = body;
        body = NULL;
        return true;
    }
    if (json_get_object(body, "error", &inner) != JSON_MEMBER_OK ||
        json_get_string(inner, "message", &message) != JSON_MEMBER_OK)
        return set_garbled(exchange, error);
    /* The sentence may quote a server or a file name, so it must be made safe to show. */
    char text[sizeof(error->message)];
    return error_set(error, ERROR_REFUSED, "%s", plain_text_copy(text, sizeof(text), message));
}

bool daemon_client_request(const char *socket_path, const char *method, const char *path,
                           struct json_object **ret_body, struct error *error)
{
    struct exchange exchange = {.socket_path = socket_path};
    bool ok = ask(&exchange, method, path, error) && parse_body(&exchange, ret_body, error);

    free(exchange.text);
    return ok;
}

bool daemon_client_follow(const char *socket_path, daemon_client_line_fn take, void *owner,
                          bool *ret_was_there, struct error *error)
{
    struct exchange exchange = {.socket_path = socket_path, .take = take, .owner = owner};
    struct json_object *body;
    bool ok = ask(&exchange, "GET", "/v1/events", error);

    *ret_was_there = has_succeeded(&exchange);
    if (ok && !*ret_was_there)
        ok = parse_body(&exchange, &body, error);
    else if (ok && !exchange.is_enough)
        ok = error_set(error, ERROR_SYSTEM, "moonsinterd has stopped, or was restarted");
    free(exchange.text);
    return ok;
}
