/* SPDX-License-Identifier: MIT */
#include "common/io/http_request.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"
#include "common/base/wall_clock.h"
#include "common/io/http_fault.h"

enum {
    URL_MAX = 8 * 1024,      /* what common servers accept; curl itself would take 8 MB */
    DISCARD_MAX = 16 * 1024, /* of an error page or a redirect, to keep the connection */
    BODY_FIRST = 4 * 1024,   /* first allocation for a body of unknown length */
};

/* ---- the answer, as it arrives ---- */

/* Whether the header, now complete, belongs to the body that was requested. */
static bool is_body_welcome(const struct http_request *request)
{
    return http_answer_judge(&request->answer, &request->question, "", NULL) == HTTP_OUTCOME_OK;
}

/* Adds what the tally has newly counted to the sum of all requests. */
static void count(struct http_request *request)
{
    request->transport->received_bytes += request->tally.bytes - request->counted_bytes;
    request->counted_bytes = request->tally.bytes;
}

/* Returning less than it was given makes curl end the transfer. */
static size_t on_header_line(char *line, size_t unit, size_t size, void *arg)
{
    struct http_request *request = arg;
    const char *url = NULL;
    bool was_complete = request->answer.complete;

    if (request->state != HTTP_REQUEST_STATE_ACTIVE)
        return 0;
    /* Trailers come inside the body and count as such. */
    if (!was_complete)
        http_tally_take_header(&request->tally, size);
    count(request);
    if (!http_answer_take_line(&request->answer, line, size)) {
        request->too_long = true;
        return 0;
    }
    if (!request->answer.complete || was_complete)
        return size;

    curl_easy_getinfo(request->easy, CURLINFO_EFFECTIVE_URL, &url);
    if (!request->https_only && url && strncasecmp(url, "https:", strlen("https:")) == 0) {
        request->https_only = true;
        HTTP_TRANSPORT_SET(request->easy, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    }
    http_tally_begin_body(&request->tally);
    request->body_welcome = is_body_welcome(request);
    if (request->body_welcome && request->question.range)
        request->fit = http_answer_fit(&request->answer, &request->question, &request->lead);
    /* Of a success other than the requested one not a byte of the body is read. */
    bool success = request->answer.status >= 200 && request->answer.status < 300;
    return success && !request->body_welcome ? 0 : size;
}

/* Makes room for `size` more bytes and a zero after them; at most the question's size. */
static bool grow_body(struct http_request *request, size_t size)
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

/* Whether the rate limit lets `size` bytes pass now. If not, curl keeps them and stops reading. */
static bool pass_rate_limit(struct http_request *request, size_t size)
{
    struct http_transport *transport = request->transport;

    if (rate_limit_take(&transport->rate_limit, wall_clock_steady_ns(), size))
        return true;
    request->paused = ++transport->pauses;
    return false;
}

static void take(struct http_request *request, const char *data, size_t size)
{
    memcpy(request->body + request->body_size, data, size);
    request->body_size += size;
    if (request->progress && size)
        request->progress(request->owner, size);
}

/* Takes a piece of a whole file; false if more is of no use. */
static bool take_file(struct http_request *request, const char *data, size_t size)
{
    request->too_long = size > request->question.size - request->body_size;
    if (request->too_long)
        return false;
    request->no_memory = !grow_body(request, size);
    if (request->no_memory)
        return false;
    take(request, data, size);
    return true;
}

/* Takes a piece of a range; false if more is of no use. If the header said so, there are bytes before and
 * behind the requested ones. */
static bool take_range(struct http_request *request, const char *data, size_t size)
{
    const struct http_answer *answer = &request->answer;
    size_t lead = size < request->lead ? size : (size_t)request->lead;
    size_t room = request->fit - request->body_size, fit = size - lead < room ? size - lead : room;
    size_t rest = size - lead - fit;
    bool announced = answer->status == 206 && answer->range_last - request->question.offset >= request->fit;

    request->too_long = rest && !announced;
    if (request->too_long)
        return false;
    request->lead -= lead;
    request->surplus += rest;
    request->enough = request->surplus > DISCARD_MAX;
    take(request, data + lead, fit);
    return !request->enough;
}

static size_t on_body(char *data, size_t unit, size_t size, void *arg)
{
    struct http_request *request = arg;

    if (request->state != HTTP_REQUEST_STATE_ACTIVE)
        return 0;
    if (!pass_rate_limit(request, size))
        return CURL_WRITEFUNC_PAUSE;
    http_tally_take_body(&request->tally, size);
    count(request);
    if (!request->body_welcome)
        return request->tally.told_bytes <= DISCARD_MAX ? size : 0;

    if (!(request->question.range ? take_range(request, data, size) : take_file(request, data, size)))
        return 0;
    return request->state == HTTP_REQUEST_STATE_ACTIVE ? size : 0;
}

/* curl's debug callback, used to count the bytes of a body as they came, with chunked encoding: curl tells
 * them nowhere else. It may also be called for curl's internal handles, which have no request. */
static int on_told(CURL *easy, curl_infotype type, char *data, size_t size, void *arg)
{
    struct http_request *request = NULL;

    if (type != CURLINFO_DATA_IN)
        return 0;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &request);
    if (request && request->state == HTTP_REQUEST_STATE_ACTIVE) {
        http_tally_take_wire(&request->tally, size);
        count(request);
    }
    return 0;
}

/* Called by curl whenever something came, and once a second. Other than 0 ends the transfer. */
static int on_turn(void *arg, curl_off_t total, curl_off_t now, curl_off_t upload_total,
                   curl_off_t upload_now)
{
    struct http_request *request = arg;
    uint64_t now_ns = wall_clock_steady_ns();

    if (request->state != HTTP_REQUEST_STATE_ACTIVE)
        return 1;
    http_tally_take_count(&request->tally, now > 0 ? (uint64_t)now : 0,
                          request->answer.complete && !request->paused);
    count(request);
    request->passed_too_long = request->tally.passed_bytes > DISCARD_MAX;
    /* During a pause curl keeps bytes that were counted as received, but not as body: so nothing is judged
     * then. */
    request->padded = !request->paused && http_tally_is_too_much(&request->tally);
    if (request->passed_too_long || request->padded)
        return 1;
    if (!request->begun_ns)
        request->begun_ns = now_ns;
    /* Every answer must begin in time, also one without a deadline: curl sets no bound to a proxy that talks
     * much before it lets us through. */
    bool hurried = request->has_deadline || !request->answer.complete;
    request->too_slow = hurried && (now_ns - request->begun_ns) / 1000000 >
                                       http_transport_deadline_ms(request->transport, request->body_size);
    return request->too_slow;
}

/* ---- the answer, as a whole ---- */

/* " of 1000", or "" if the size is not known. */
static char *expected_size(const struct http_request *request)
{
    if (request->question.range)
        return alloc_printf(" of %zu", request->fit);
    if (request->answer.has_length)
        return alloc_printf(" of %" PRIu64, request->answer.length);
    return alloc_string("");
}

/* Judges the whole answer, after curl is done with it. */
static enum http_outcome judge_response(struct http_request *request, CURLcode code, struct error *error)
{
    CLEANUP_FREE char *where = http_fault_where(request->easy, request->url);
    const struct http_question *question = &request->question;
    const struct http_answer *answer = &request->answer;
    long status = 0;

    if (request->no_memory) {
        error_set(error, ERROR_SYSTEM, "there is no memory for %s; free some and try again", where);
        return HTTP_OUTCOME_TRANSIENT;
    }
    if (request->passed_too_long) {
        error_set(error, ERROR_REMOTE,
                  "the redirect at %s has a body of more than %d bytes; check the server's redirects", where,
                  DISCARD_MAX);
        return HTTP_OUTCOME_FAILED;
    }
    if (request->padded) {
        error_set(error, ERROR_REMOTE,
                  "the server sent %" PRIu64 " bytes beside the body of %s, of which %" PRIu64
                  " came, such as extensions of chunks; check the server and what is between",
                  http_tally_beside(&request->tally), where,
                  request->tally.told_bytes + request->tally.passed_bytes);
        return HTTP_OUTCOME_FAILED;
    }
    if (request->too_slow) {
        error_set(error, ERROR_NETWORK,
                  "timeout for %s: only %zu bytes came within %" PRIu64
                  " s; check the network and the server, or try again later",
                  where, request->body_size, (wall_clock_steady_ns() - request->begun_ns) / 1000000000);
        return HTTP_OUTCOME_TRANSIENT;
    }
    if (request->enough && request->body_size == request->fit)
        code = CURLE_OK;
    /* A single header line of more than 100 KB is CURLE_TOO_LARGE since curl 8.6, a code that older headers
     * do not name, and before it was told as want of memory. */
    bool too_long_line = (code == CURLE_OUT_OF_MEMORY || code == 100) && answer->status && !answer->complete;
    if (request->too_long || too_long_line) {
        /* A range that is too long is a wrong answer; the other limits are our own. */
        bool range = answer->complete && question->range;
        if (answer->complete && answer->html && answer->status == 200)
            return http_answer_set_page(where, error);
        error_set(error, range ? ERROR_MISMATCH : ERROR_REFUSED,
                  "the server sent more for %s than the %zu bytes %s; check the URL and the server", where,
                  answer->complete ? question->size : HTTP_ANSWER_HEADER_MAX,
                  !answer->complete ? "a header may have"
                  : range           ? "asked for"
                                    : "allowed");
        if (answer->complete && !range)
            error->code = EFBIG;
        return HTTP_OUTCOME_FAILED;
    }
    /* A complete header is believed even if the rest broke off; but about redirects curl knows more. */
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
    bool redirect = status >= 300 && status < 400;
    if (answer->complete && answer->status == status && (!redirect || code == CURLE_OK)) {
        enum http_outcome outcome = http_answer_judge(answer, question, where, error);
        if (outcome != HTTP_OUTCOME_OK)
            return outcome;
    }
    bool short_range = code == CURLE_OK && question->range && request->body_size < request->fit;
    if (code == CURLE_PARTIAL_FILE || short_range) {
        CLEANUP_FREE char *expected = expected_size(request);
        error_set(error, ERROR_NETWORK, "%s broke off after %zu%s bytes; try again", where,
                  request->body_size, expected);
        return HTTP_OUTCOME_TRANSIENT;
    }
    if (code != CURLE_OK)
        return http_fault_judge(request->easy, code, request->reason, where, request->https_only, error);
    if (!answer->complete || answer->status != status) {
        error_set(error, ERROR_REMOTE, "the answer to %s makes no sense as HTTP; check the server", where);
        return HTTP_OUTCOME_FAILED;
    }
    if (!question->range && http_answer_is_page(request->body, request->body_size))
        return http_answer_set_page(where, error);
    return HTTP_OUTCOME_OK;
}

void http_request_take_response(struct http_request *request, CURLcode code,
                                struct http_response *ret_response)
{
    const struct http_answer *answer = &request->answer;
    bool range = request->question.range;
    long redirects = 0;

    curl_easy_getinfo(request->easy, CURLINFO_REDIRECT_COUNT, &redirects);
    /* An empty body must be an allocated string, too. */
    if (code == CURLE_OK && !range && request->body_welcome && !grow_body(request, 0))
        request->no_memory = true;

    *ret_response = (struct http_response){0};
    ret_response->outcome = judge_response(request, code, &ret_response->error);
    ret_response->status = answer->status;
    ret_response->etag = *answer->etag ? answer->etag : NULL;
    ret_response->last_modified = *answer->last_modified ? answer->last_modified : NULL;
    ret_response->retry_after_ms = http_answer_retry_after_ms(answer, (int64_t)wall_clock_now_s());
    ret_response->received_bytes = request->tally.bytes;
    /* A redirect that could not be followed is the first server's fault, so nobody else has answered. */
    ret_response->redirected =
        redirects > 0 && code != CURLE_TOO_MANY_REDIRECTS && code != CURLE_UNSUPPORTED_PROTOCOL;
    bool ok = ret_response->outcome == HTTP_OUTCOME_OK;
    ret_response->if_range_unheard = ret_response->outcome == HTTP_OUTCOME_FAILED &&
                                     http_answer_if_range_unheard(answer, &request->question);
    if (answer->status == 206)
        ret_response->total_size = answer->range_total ? answer->range_total : request->question.total_size;
    else if (ok)
        ret_response->total_size = request->body_size;
    if (ok || (range && ret_response->outcome == HTTP_OUTCOME_TRANSIENT))
        ret_response->body_size = request->body_size;
    if (ok && !range) {
        request->body[request->body_size] = '\0';
        ret_response->body = request->body;
        request->body = NULL;
    }
}

/* ---- a new request ---- */

static void add_field(struct http_request *request, const char *name, const char *value)
{
    CLEANUP_FREE char *line = alloc_printf("%s: %s", name, value);

    http_transport_append(&request->own_fields, line);
    http_transport_append(&request->all_fields, line);
}

/* Called for each hop, when it is connected and before its header is written: the last moment to choose the
 * header. The user's fields may authenticate us to one server, so no other server gets them. */
static int on_before_request(void *arg, char *peer, char *own, int peer_port, int own_port)
{
    struct http_request *request = arg;
    const char *entitled = request->transport->fields_for ? request->transport->fields_for : request->url;
    const char *url = NULL;

    request->transport->requests_made++;
    curl_easy_getinfo(request->easy, CURLINFO_EFFECTIVE_URL, &url);
    bool all = url && http_transport_is_same_origin(url, entitled);
    HTTP_TRANSPORT_SET(request->easy, CURLOPT_HTTPHEADER, all ? request->all_fields : request->own_fields);
    return CURL_PREREQFUNC_OK;
}

static struct http_request *request_new(struct http_transport *transport, const char *url)
{
    struct http_request *request = alloc_zeroed(sizeof(*request));
    CURL *easy = curl_easy_init();

    if (!easy)
        abort();
    request->transport = transport;
    request->easy = easy;
    request->url = alloc_string(url);
    request->https_only = transport->pinned_public_key || strncasecmp(url, "https:", strlen("https:")) == 0;
    for (const struct curl_slist *field = transport->fields; field; field = field->next)
        http_transport_append(&request->all_fields, field->data);

    HTTP_TRANSPORT_SET(easy, CURLOPT_PRIVATE, request);
    HTTP_TRANSPORT_SET(easy, CURLOPT_ERRORBUFFER, request->reason);
    /* curl rejects an empty URL as malformed, so a URL that is too long fails in the same way. */
    HTTP_TRANSPORT_SET(easy, CURLOPT_URL, strlen(url) <= URL_MAX ? url : "");
    HTTP_TRANSPORT_SET(easy, CURLOPT_HEADERFUNCTION, on_header_line);
    HTTP_TRANSPORT_SET(easy, CURLOPT_HEADERDATA, request);
    HTTP_TRANSPORT_SET(easy, CURLOPT_PREREQFUNCTION, on_before_request);
    HTTP_TRANSPORT_SET(easy, CURLOPT_PREREQDATA, request);
    HTTP_TRANSPORT_SET(easy, CURLOPT_WRITEFUNCTION, on_body);
    HTTP_TRANSPORT_SET(easy, CURLOPT_WRITEDATA, request);
    HTTP_TRANSPORT_SET(easy, CURLOPT_DEBUGFUNCTION, on_told);
    HTTP_TRANSPORT_SET(easy, CURLOPT_VERBOSE, 1L);
    HTTP_TRANSPORT_SET(easy, CURLOPT_XFERINFOFUNCTION, on_turn);
    HTTP_TRANSPORT_SET(easy, CURLOPT_XFERINFODATA, request);
    HTTP_TRANSPORT_SET(easy, CURLOPT_NOPROGRESS, 0L);
    http_transport_apply(transport, easy, request->https_only);
    return request;
}

struct http_request *http_request_new_get(struct http_transport *transport, const struct http_get *get)
{
    struct http_request *request = request_new(transport, get->url);

    assert(get->max_size < SIZE_MAX);
    request->question.size = get->max_size;
    request->has_deadline = true;
    request->progress = get->progress;
    if (get->if_none_match && http_transport_is_field_text(get->if_none_match)) {
        add_field(request, "If-None-Match", get->if_none_match);
        request->question.conditional = true;
    } else if (get->if_modified_since && http_transport_is_field_text(get->if_modified_since)) {
        add_field(request, "If-Modified-Since", get->if_modified_since);
        request->question.conditional = true;
    }
    return request;
}

struct http_request *http_request_new_range(struct http_transport *transport,
                                            const struct http_get_range *get)
{
    struct http_request *request = request_new(transport, get->url);
    struct http_question *question = &request->question;
    char range[48];

    assert(get->size > 0 && get->offset <= UINT64_MAX - get->size);
    question->range = true;
    question->offset = get->offset;
    question->size = get->size;
    question->total_size = get->total_size;
    question->etag = alloc_string(get->etag);
    request->has_deadline = get->deadline;
    request->body = (char *)get->buffer;
    request->progress = get->progress;
    snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, get->offset, get->offset + get->size - 1);
    HTTP_TRANSPORT_SET(request->easy, CURLOPT_RANGE, range);
    if (get->etag && !get->no_if_range && http_answer_etag_is_strong(get->etag)) {
        add_field(request, "If-Range", get->etag);
        question->if_range = true;
    }
    return request;
}

void http_request_free(struct http_request *request)
{
    curl_easy_cleanup(request->easy);
    curl_slist_free_all(request->own_fields);
    curl_slist_free_all(request->all_fields);
    free(request->url);
    free(request->question.etag);
    if (!request->question.range)
        free(request->body);
    free(request);
}
