#include "common/io/http.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

#include <curl/curl.h>
#include <event2/event.h>

#include "common/base/alloc.h"
#include "common/io/http_answer.h"
#include "common/io/http_fault.h"

enum {
    DEFAULT_CONNECTIONS = 4,
    DEFAULT_STALL_MS = 30 * 1000,
    CONNECT_MAX_MS =
        30 * 1000, /* names, TCP, proxy and TLS together; the stall timeout where that is shorter */
    STALL_BYTES_S = 100,
    REDIRECTS_MAX = 5,
    URL_MAX = 8 * 1024,         /* what common servers accept; curl itself would take 8 MB */
    RECEIVE_BUFFER = 64 * 1024, /* one for each request under way */
    DISCARD_MAX = 16 * 1024,    /* of an error page, so that its connection can be used again */
    BODY_FIRST = 4 * 1024,      /* first allocation for a body of unknown length */
};

/* An option that curl refuses here is one it was built without: http_new() looked for those. */
#define SET(easy, option, value)                                                                             \
    do {                                                                                                     \
        CURLcode set_code_ = curl_easy_setopt(easy, option, value);                                          \
        assert(set_code_ == CURLE_OK);                                                                       \
    } while (0)

enum request_state {
    REQUEST_STATE_WAITING,   /* for its turn */
    REQUEST_STATE_ACTIVE,    /* in curl's hands */
    REQUEST_STATE_CANCELLED, /* likewise, to be freed as soon as curl returns */
    REQUEST_STATE_DONE,      /* its callback is running */
};

TAILQ_HEAD(request_list, http_request);

struct http {
    struct event_base *base;
    CURLM *multi;
    struct event *timer; /* the one timeout curl asks for */
    struct request_list requests;
    unsigned active;
    bool in_curl; /* curl is on the stack: nothing may be added to it or removed */
    bool busy;    /* http_turn() is on the stack: http_free() is left to it */
    bool closing; /* http_free() was called meanwhile */
    uint64_t received_bytes;

    unsigned connections;
    uint64_t rate_limit_bytes_s; /* of one request; 0 = none */
    uint64_t stall_timeout_ms;
    char *proxy, *ca_file, *client_certificate, *client_key;
    struct curl_slist *fields;
};

struct http_request {
    TAILQ_ENTRY(http_request) entry; /* http::requests */
    struct http *http;
    enum request_state state;
    CURL *easy;
    char *url;
    struct curl_slist *fields;
    http_done_fn done;
    http_progress_fn progress;
    void *owner;
    struct http_question question;
    struct http_answer answer;
    bool went_https; /* some hop was encrypted, so that none after it may not be */
    bool too_long;   /* the body, or the header */
    bool no_memory;
    uint64_t received_bytes;
    char *body; /* the caller's buffer for a range, else ours */
    size_t body_size, body_capacity;
    char fault[CURL_ERROR_SIZE];
};

static void http_turn(struct http *http, curl_socket_t fd, int kinds);

/* ---- curl's view of the loop ---- */

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    int kinds = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

    http_turn(arg, fd, kinds);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    http_turn(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_change(CURLM *multi, long timeout_ms, void *arg)
{
    struct http *http = arg;

    if (timeout_ms < 0) {
        event_del(http->timer);
    } else {
        struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
        event_add(http->timer, &timeout);
    }
    return 0;
}

/* `socket_arg` is the socket's event, NULL at first. It may be the one whose callback is running: libevent
 * allows freeing that. */
static int on_socket_change(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http *http = arg;
    struct event *event = NULL;

    if (socket_arg)
        event_free(socket_arg);
    if (what != CURL_POLL_REMOVE) {
        short kinds = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);
        event = event_new(http->base, fd, kinds | EV_PERSIST, on_socket, http);
        if (!event || event_add(event, NULL) < 0)
            abort();
    }
    curl_multi_assign(http->multi, fd, event);
    return 0;
}

/* curl's own sockets would be inherited by every program the daemon starts. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- the answer, as it arrives ---- */

/* A final header whose body is wanted, so far as the header tells. */
static bool request_wants_body(const struct http_request *request)
{
    long status = request->answer.status;

    return request->answer.complete && (status == 200 || status == 206) &&
           http_answer_judge(&request->answer, &request->question, "", NULL) == HTTP_OUTCOME_OK;
}

/* Returning less than it was given makes curl end the transfer. */
static size_t on_header_line(char *line, size_t unit, size_t size, void *arg)
{
    struct http_request *request = arg;
    const char *url = NULL;

    if (request->state != REQUEST_STATE_ACTIVE)
        return 0;
    if (!http_answer_take_line(&request->answer, line, size)) {
        request->too_long = true;
        return 0;
    }
    if (!request->answer.complete)
        return size;

    curl_easy_getinfo(request->easy, CURLINFO_EFFECTIVE_URL, &url);
    if (!request->went_https && url && strncasecmp(url, "https:", strlen("https:")) == 0) {
        request->went_https = true;
        SET(request->easy, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    }
    /* A success that is not the one asked for is not worth a byte of its body. */
    long status = request->answer.status;
    return (status == 200 || status == 206) && !request_wants_body(request) ? 0 : size;
}

/* Room for `size` more bytes and the zero after them; the question's size bounds it. */
static bool request_grow_body(struct http_request *request, size_t size)
{
    size_t need = request->body_size + size + 1, capacity = request->body_capacity;

    if (need <= capacity)
        return true;
    if (capacity == 0 && request->answer.has_length)
        capacity = (size_t)request->answer.length + 1;
    else
        capacity = capacity ? capacity * 2 : BODY_FIRST;
    if (capacity > request->question.size + 1)
        capacity = request->question.size + 1;
    if (capacity < need)
        capacity = need;

    char *body = realloc(request->body, capacity);
    if (!body)
        return false;
    request->body = body;
    request->body_capacity = capacity;
    return true;
}

static size_t on_body(char *data, size_t unit, size_t size, void *arg)
{
    struct http_request *request = arg;

    if (request->state != REQUEST_STATE_ACTIVE)
        return 0;
    request->received_bytes += size;
    request->http->received_bytes += size;
    if (!request_wants_body(request))
        return request->received_bytes <= DISCARD_MAX ? size : 0;

    if (size > request->question.size - request->body_size) {
        request->too_long = true;
        return 0;
    }
    if (!request->question.range && !request_grow_body(request, size)) {
        request->no_memory = true;
        return 0;
    }
    memcpy(request->body + request->body_size, data, size);
    request->body_size += size;
    if (request->progress)
        request->progress(request->owner, size);
    return request->state == REQUEST_STATE_ACTIVE ? size : 0;
}

/* ---- the end of a request ---- */

static enum http_outcome request_judge(struct http_request *request, CURLcode code, struct error *error)
{
    CLEANUP_FREE char *where = http_fault_where(request->easy, request->url);
    const struct http_question *question = &request->question;
    const struct http_answer *answer = &request->answer;
    long status = 0;

    if (request->no_memory) {
        error_set(error, ERROR_SYSTEM, "there is no memory for %s; free some and try again", where);
        return HTTP_OUTCOME_TRANSIENT;
    }
    if (request->too_long) {
        error_set(error, ERROR_REMOTE,
                  "the server sent more for %s than the %zu bytes %s; check the URL and the server", where,
                  answer->complete ? question->size : HTTP_ANSWER_HEADER_MAX,
                  !answer->complete ? "a header may have"
                  : question->range ? "asked for"
                                    : "allowed");
        return HTTP_OUTCOME_FAILED;
    }
    /* An answer that is complete so far as its status tells needs no curl to judge it, except for redirects.
     */
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    bool redirect = status >= 300 && status < 400;
    if (answer->complete && answer->status == status && (!redirect || code == CURLE_OK)) {
        enum http_outcome outcome = http_answer_judge(answer, question, where, error);
        if (outcome != HTTP_OUTCOME_OK)
            return outcome;
    }
    if (code == CURLE_PARTIAL_FILE ||
        (code == CURLE_OK && question->range && request->body_size < question->size)) {
        error_set(error, ERROR_NETWORK, "%s ended after %zu of %zu bytes; try again", where,
                  request->body_size,
                  question->range || !answer->has_length ? question->size : (size_t)answer->length);
        return HTTP_OUTCOME_TRANSIENT;
    }
    if (code != CURLE_OK)
        return http_fault_judge(request->easy, code, request->fault, where, request->went_https, error);
    if (!answer->complete || answer->status != status) {
        error_set(error, ERROR_REMOTE, "the answer to %s makes no sense as HTTP; check the server", where);
        return HTTP_OUTCOME_FAILED;
    }
    return HTTP_OUTCOME_OK;
}

/* Takes it out of curl and frees it; nothing of it is called any more. */
static void request_free(struct http_request *request)
{
    struct http *http = request->http;

    assert(!http->in_curl);
    if (request->state == REQUEST_STATE_ACTIVE || request->state == REQUEST_STATE_CANCELLED) {
        curl_multi_remove_handle(http->multi, request->easy);
        http->active--;
    }
    if (request->state != REQUEST_STATE_DONE)
        TAILQ_REMOVE(&http->requests, request, entry);
    curl_easy_cleanup(request->easy);
    curl_slist_free_all(request->fields);
    free(request->url);
    free(request->question.etag);
    if (!request->question.range)
        free(request->body);
    free(request);
}

static void request_finish(struct http_request *request, CURLcode code)
{
    struct http *http = request->http;
    struct http_response response = {0};
    const struct http_answer *answer = &request->answer;

    /* An empty body is a string of its own, too. */
    if (code == CURLE_OK && !request->question.range && request_wants_body(request))
        request->no_memory |= !request_grow_body(request, 0);
    response.outcome = request_judge(request, code, &response.error);
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &response.status);
    curl_multi_remove_handle(http->multi, request->easy);
    TAILQ_REMOVE(&http->requests, request, entry);
    http->active--;
    request->state = REQUEST_STATE_DONE;

    response.etag = *answer->etag ? answer->etag : NULL;
    response.last_modified = *answer->last_modified ? answer->last_modified : NULL;
    response.retry_after_ms = http_answer_retry_after_ms(answer, time(NULL));
    response.received_bytes = request->received_bytes;
    if (answer->status == 206)
        response.total_size = answer->range_total ? answer->range_total : request->question.total_size;
    else if (response.outcome == HTTP_OUTCOME_OK)
        response.total_size = request->body_size;
    if (response.outcome == HTTP_OUTCOME_OK && !request->question.range) {
        request->body[request->body_size] = '\0';
        response.body = request->body;
        response.body_size = request->body_size;
        request->body = NULL;
    }
    if (request->question.range)
        response.body_size = request->body_size;
    request->done(request->owner, &response);
    free(response.body);
    request_free(request);
}

/* Frees what was cancelled while curl ran, then fills the free places in the order of calling. */
static void http_sweep(struct http *http)
{
    struct http_request *request, *next;

    for (request = TAILQ_FIRST(&http->requests); request; request = next) {
        next = TAILQ_NEXT(request, entry);
        if (request->state == REQUEST_STATE_CANCELLED)
            request_free(request);
    }
    TAILQ_FOREACH(request, &http->requests, entry)
    {
        if (http->active >= http->connections)
            break;
        if (request->state != REQUEST_STATE_WAITING)
            continue;
        CURLMcode code = curl_multi_add_handle(http->multi, request->easy);
        assert(code == CURLM_OK);
        request->state = REQUEST_STATE_ACTIVE;
        http->active++;
    }
}

static void http_destroy(struct http *http)
{
    /* Closing the connections still takes their sockets' events away, one by one. */
    if (http->multi)
        curl_multi_cleanup(http->multi);
    if (http->timer)
        event_free(http->timer);
    curl_slist_free_all(http->fields);
    free(http->proxy);
    free(http->ca_file);
    free(http->client_certificate);
    free(http->client_key);
    free(http);
    curl_global_cleanup();
}

/* Lets curl work, then calls back for all that ended: callbacks may start, cancel and free as they like,
 * since curl is not on the stack then. */
static void http_turn(struct http *http, curl_socket_t fd, int kinds)
{
    CURLMsg *message;
    int count;

    http->busy = http->in_curl = true;
    curl_multi_socket_action(http->multi, fd, kinds, &count);
    http->in_curl = false;

    http_sweep(http);
    while ((message = curl_multi_info_read(http->multi, &count))) {
        struct http_request *request;
        /* The message dies with its handle's removal. */
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
        request_finish(request, code);
        http_sweep(http);
    }
    http->busy = false;
    if (http->closing)
        http_destroy(http);
}

/* ---- starting and cancelling ---- */

/* What goes into a request's header must not begin another line there. */
static bool is_field_text(const char *text)
{
    for (const char *c = text; *c; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            return false;
    return true;
}

static void request_add_field(struct http_request *request, const char *name, const char *value)
{
    CLEANUP_FREE char *line = alloc_printf("%s: %s", name, value);
    struct curl_slist *fields = curl_slist_append(request->fields, line);

    if (!fields)
        abort();
    request->fields = fields;
}

static void request_set_speed(struct http_request *request)
{
    const struct http *http = request->http;
    uint64_t rate = http->rate_limit_bytes_s;
    long stall_s = (long)((http->stall_timeout_ms + 999) / 1000);
    long buffer = RECEIVE_BUFFER, stall_bytes_s = STALL_BYTES_S;

    if (rate) {
        SET(request->easy, CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)rate);
        /* curl takes a buffer whole and then pauses; a pause is not to look like a stall. */
        if (rate < RECEIVE_BUFFER)
            buffer = rate > 1024 ? (long)rate : 1024;
        if (rate / 2 < STALL_BYTES_S)
            stall_bytes_s = (long)rate / 2;
    }
    SET(request->easy, CURLOPT_BUFFERSIZE, buffer);
    SET(request->easy, CURLOPT_LOW_SPEED_LIMIT, stall_bytes_s);
    SET(request->easy, CURLOPT_LOW_SPEED_TIME, stall_s);
    SET(request->easy, CURLOPT_CONNECTTIMEOUT_MS,
        (long)(http->stall_timeout_ms < CONNECT_MAX_MS ? http->stall_timeout_ms : CONNECT_MAX_MS));
}

static void request_set_connection(struct http_request *request)
{
    const struct http *http = request->http;
    CURL *easy = request->easy;

    SET(easy, CURLOPT_NOSIGNAL, 1L);
    /* curl would otherwise wait, on the loop, for a name server that does not answer before it lets go of a
     * cancelled or timed-out request. */
    SET(easy, CURLOPT_QUICK_EXIT, 1L);
    SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (request->went_https)
        SET(easy, CURLOPT_PIPEWAIT, 1L);
    if (http->proxy)
        SET(easy, CURLOPT_PROXY, http->proxy);
    if (http->ca_file) {
        /* Instead of the system's, of which curl would else keep the folder. */
        SET(easy, CURLOPT_CAINFO, http->ca_file);
        SET(easy, CURLOPT_CAPATH, NULL);
    }
    if (http->client_certificate)
        SET(easy, CURLOPT_SSLCERT, http->client_certificate);
    if (http->client_key)
        SET(easy, CURLOPT_SSLKEY, http->client_key);
}

static struct http_request *request_new(struct http *http, const char *url, http_done_fn done, void *owner)
{
    struct http_request *request = alloc_zeroed(sizeof(*request));

    assert(!http->closing);
    request->http = http;
    request->done = done;
    request->owner = owner;
    request->url = alloc_string(url);
    request->went_https = strncasecmp(url, "https:", strlen("https:")) == 0;
    request->easy = curl_easy_init();
    if (!request->easy)
        abort();
    for (const struct curl_slist *field = http->fields; field; field = field->next)
        if (!(request->fields = curl_slist_append(request->fields, field->data)))
            abort();

    CURL *easy = request->easy;
    SET(easy, CURLOPT_PRIVATE, request);
    SET(easy, CURLOPT_ERRORBUFFER, request->fault);
    /* An empty URL comes back as malformed, as a senseless one does. */
    SET(easy, CURLOPT_URL, strlen(url) <= URL_MAX ? url : "");
    SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(easy, CURLOPT_REDIR_PROTOCOLS_STR, request->went_https ? "https" : "http,https");
    SET(easy, CURLOPT_FOLLOWLOCATION, 1L);
    SET(easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    SET(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    SET(easy, CURLOPT_USERAGENT, "moonsinter/" MOONSINTER_VERSION);
    SET(easy, CURLOPT_HEADERFUNCTION, on_header_line);
    SET(easy, CURLOPT_HEADERDATA, request);
    SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    SET(easy, CURLOPT_WRITEDATA, request);
    request_set_connection(request);
    request_set_speed(request);
    return request;
}

static struct http_request *request_start(struct http_request *request)
{
    struct http *http = request->http;

    if (request->fields)
        SET(request->easy, CURLOPT_HTTPHEADER, request->fields);
    TAILQ_INSERT_TAIL(&http->requests, request, entry);
    if (!http->busy)
        http_sweep(http);
    return request;
}

struct http_request *http_get(struct http *http, const struct http_get *get, http_done_fn done, void *owner)
{
    struct http_request *request = request_new(http, get->url, done, owner);

    assert(get->max_size < SIZE_MAX);
    request->question.size = get->max_size;
    request->progress = get->progress;
    if (get->if_none_match && is_field_text(get->if_none_match)) {
        request_add_field(request, "If-None-Match", get->if_none_match);
        request->question.conditional = true;
    } else if (get->if_modified_since && is_field_text(get->if_modified_since)) {
        request_add_field(request, "If-Modified-Since", get->if_modified_since);
        request->question.conditional = true;
    }
    return request_start(request);
}

struct http_request *http_get_range(struct http *http, const struct http_get_range *get, http_done_fn done,
                                    void *owner)
{
    struct http_request *request = request_new(http, get->url, done, owner);
    struct http_question *question = &request->question;
    char range[48];

    assert(get->size > 0 && get->offset <= UINT64_MAX - get->size);
    question->range = true;
    question->offset = get->offset;
    question->size = get->size;
    question->total_size = get->total_size;
    question->etag = alloc_string(get->etag);
    request->body = (char *)get->buffer;
    request->progress = get->progress;
    snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, get->offset, get->offset + get->size - 1);
    SET(request->easy, CURLOPT_RANGE, range);
    if (get->etag && http_answer_etag_is_strong(get->etag)) {
        request_add_field(request, "If-Range", get->etag);
        question->if_range = true;
    }
    return request_start(request);
}

struct http_request *http_cancel(struct http_request *request)
{
    if (!request || request->state == REQUEST_STATE_DONE)
        return NULL;

    struct http *http = request->http;
    if (http->in_curl && request->state == REQUEST_STATE_ACTIVE) {
        request->state = REQUEST_STATE_CANCELLED;
        return NULL;
    }
    request_free(request);
    if (!http->busy)
        http_sweep(http);
    return NULL;
}

/* ---- setting up ---- */

/* Fields that this module sends itself, or whose answers it would not understand. */
static bool is_field_reserved(const char *field)
{
    static const char *const reserved[] = {
        "Range:", "If-", "Accept-Encoding:", "TE:", "Transfer-Encoding:", "Content-Length:", "Connection:"};

    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (strncasecmp(field, reserved[i], strlen(reserved[i])) == 0)
            return true;
    return false;
}

static bool http_set_fields(struct http *http, const char *const *fields, struct error *error)
{
    for (; fields && *fields; fields++) {
        const char *colon = strchr(*fields, ':');
        if (!colon || colon == *fields || !is_field_text(*fields))
            return error_set(error, ERROR_REFUSED,
                             "header '%.*s' is not of the form 'Name: value'; correct it",
                             (int)strcspn(*fields, ":\r\n"), *fields);
        if (is_field_reserved(*fields))
            return error_set(error, ERROR_REFUSED, "header '%.*s' is set by moonsinter itself; remove it",
                             (int)(colon - *fields), *fields);
        struct curl_slist *list = curl_slist_append(http->fields, *fields);
        if (!list)
            abort();
        http->fields = list;
    }
    return true;
}

static bool http_set_multi(struct http *http, struct error *error)
{
    http->multi = curl_multi_init();
    http->timer = evtimer_new(http->base, on_timer, http);
    if (!http->multi || !http->timer)
        return error_set(error, ERROR_SYSTEM,
                         "cannot set up downloads: out of memory; free some and try again");
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket_change);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer_change);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(http->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)http->connections);
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)http->connections);
    return true;
}

bool http_new(struct event_base *base, const struct http_settings *settings, struct http **ret_http,
              struct error *error)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return error_set(error, ERROR_SYSTEM,
                         "cannot set up downloads: libcurl does not start; reinstall libcurl");

    struct http *http = alloc_zeroed(sizeof(*http));
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
    TAILQ_INIT(&http->requests);
    http->base = base;
    http->connections = settings->connections ? settings->connections : DEFAULT_CONNECTIONS;
    http->stall_timeout_ms = settings->stall_timeout_ms ? settings->stall_timeout_ms : DEFAULT_STALL_MS;
    if (settings->rate_limit_bytes_s)
        http->rate_limit_bytes_s = settings->rate_limit_bytes_s / http->connections;
    if (settings->rate_limit_bytes_s && !http->rate_limit_bytes_s)
        http->rate_limit_bytes_s = 1;
    http->proxy = alloc_string(settings->proxy);
    http->ca_file = alloc_string(settings->ca_file);
    http->client_certificate = alloc_string(settings->client_certificate);
    http->client_key = alloc_string(settings->client_key);

    if (!(curl->features & CURL_VERSION_ASYNCHDNS) || !(curl->features & CURL_VERSION_SSL)) {
        error_set(error, ERROR_SYSTEM, "this libcurl (%s) was built without %s; install another",
                  curl->version,
                  curl->features & CURL_VERSION_SSL ? "a resolver that does not block" : "TLS");
    } else if (http_set_fields(http, settings->headers, error) && http_set_multi(http, error)) {
        *ret_http = http;
        return true;
    }
    http_destroy(http);
    return false;
}

struct http *http_free(struct http *http)
{
    if (!http)
        return NULL;

    struct http_request *request, *next;
    bool busy = http->busy;
    /* So that no place that gets free is given to the next request. */
    http->busy = true;
    for (request = TAILQ_FIRST(&http->requests); request; request = next) {
        next = TAILQ_NEXT(request, entry);
        http_cancel(request);
    }
    http->closing = true;
    if (!busy)
        http_destroy(http);
    return NULL;
}

uint64_t http_received_bytes(const struct http *http)
{
    return http->received_bytes;
}
