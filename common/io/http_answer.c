/* SPDX-License-Identifier: MIT */
#include "common/io/http_answer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/base/text.h"
#include "common/base/wall_clock.h"

/* "HTTP/1.1 206 Partial Content" or "HTTP/2 206"; 0 for anything else. */
static long read_status(const char *line)
{
    const char *c = strchr(line, ' ');

    if (!c || strspn(c + 1, "0123456789") != 3)
        return 0;
    return (c[1] - '0') * 100 + (c[2] - '0') * 10 + (c[3] - '0');
}

/* "bytes 0-9/100" or "bytes 0-9/ *" (without the blank). */
static bool read_content_range(struct http_answer *answer, const char *value)
{
    char first[24], last[24], total[24], end;
    uint64_t range_first, range_last, range_total = 0;

    if (strncasecmp(value, "bytes ", strlen("bytes ")) != 0)
        return false;
    if (sscanf(value + strlen("bytes "), " %23[0-9]-%23[0-9]/%23[0-9*]%c", first, last, total, &end) != 3)
        return false;
    if (text_parse_u64(first, &range_first) < 0 || text_parse_u64(last, &range_last) < 0)
        return false;
    if (strcmp(total, "*") != 0 && (text_parse_u64(total, &range_total) < 0 || range_last >= range_total))
        return false;
    if (range_first > range_last || range_last == UINT64_MAX)
        return false;
    answer->range_first = range_first;
    answer->range_last = range_last;
    answer->range_total = range_total;
    return true;
}

/* Reads only HTTP's present date format ("Sun, 06 Nov 1994 08:49:37 GMT"); dates in the two obsolete formats
 * count as not sent. */
static int64_t read_date(const char *value)
{
    struct tm tm = {0};
    const char *end = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &tm);

    if (!end || *end)
        return 0;
    int64_t seconds = wall_clock_of_utc(&tm);
    return seconds > 0 ? seconds : 0;
}

static void read_retry_after(struct http_answer *answer, const char *value)
{
    uint64_t seconds;
    int result = text_parse_u64(value, &seconds);

    if (result == 0 && seconds <= HTTP_ANSWER_RETRY_MAX_MS / 1000)
        answer->retry_after_ms = seconds * 1000;
    else if (result == 0 || value[strspn(value, "0123456789")] == '\0')
        answer->retry_after_ms = *value ? HTTP_ANSWER_RETRY_MAX_MS : 0;
    else
        answer->retry_at = read_date(value);
}

/* Whether a list of codings has one that changes a file's bytes. Servers also name codings that do not:
 * "identity", "none", "utf-8", "binary", and "aws-chunked" for files uploaded in pieces. */
static bool has_compression(const char *value)
{
    static const char *const names[] = {
        "gzip",  "x-gzip",  "compress", "x-compress", "deflate", "br",  "zstd", "dcb",  "dcz",
        "bzip2", "x-bzip2", "xz",       "x-xz",       "lzma",    "lz4", "exi",  "sdch", "pack200-gzip"};

    while (*(value += strspn(value, " \t,"))) {
        size_t size = strcspn(value, " \t,;");
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            if (strlen(names[i]) == size && strncasecmp(value, names[i], size) == 0)
                return true;
        value += strcspn(value, ",");
    }
    return false;
}

static void read_field(struct http_answer *answer, const char *name, const char *value)
{
    if (strcasecmp(name, "ETag") == 0) {
        if (strlen(value) < sizeof(answer->etag))
            strcpy(answer->etag, value);
    } else if (strcasecmp(name, "Last-Modified") == 0) {
        if (strlen(value) < sizeof(answer->last_modified))
            strcpy(answer->last_modified, value);
    } else if (strcasecmp(name, "Content-Length") == 0) {
        answer->has_length = text_parse_u64(value, &answer->length) == 0;
    } else if (strcasecmp(name, "Content-Range") == 0) {
        /* Of two such fields either could be meant, so neither is believed. */
        answer->bad_range |= answer->has_range || !read_content_range(answer, value);
        answer->has_range = !answer->bad_range;
    } else if (strcasecmp(name, "Content-Encoding") == 0) {
        answer->encoded |= has_compression(value);
    } else if (strcasecmp(name, "Content-Type") == 0) {
        answer->html = strncasecmp(value, "text/html", strlen("text/html")) == 0 ||
                       strncasecmp(value, "application/xhtml", strlen("application/xhtml")) == 0;
    } else if (strcasecmp(name, "Retry-After") == 0) {
        read_retry_after(answer, value);
    } else if (strcasecmp(name, "Date") == 0) {
        answer->date = read_date(value);
    }
}

/* Whether a status line may come now: nothing came before, or a 1xx or a redirect. */
static bool may_begin(const struct http_answer *answer)
{
    return answer->status < 200 || (answer->status >= 300 && answer->status < 400);
}

bool http_answer_take_line(struct http_answer *answer, const char *line, size_t size)
{
    char text[512];
    size_t header_bytes = answer->header_bytes + size;

    answer->header_bytes = header_bytes;
    if (header_bytes > HTTP_ANSWER_HEADER_MAX)
        return false;

    while (size > 0 && strchr("\r\n\t ", line[size - 1]))
        size--;
    if (size == 0) {
        answer->complete = answer->status >= 200;
        return true;
    }
    /* All fields that are used are shorter than `text`, but the reason in a status line may be longer. */
    if (size >= sizeof(text))
        size = strncasecmp(line, "HTTP/", 5) == 0 ? sizeof(text) - 1 : 0;
    memcpy(text, line, size);
    text[size] = '\0';

    if (strncasecmp(text, "HTTP/", strlen("HTTP/")) == 0) {
        if (may_begin(answer))
            *answer = (struct http_answer){.status = read_status(text), .header_bytes = header_bytes};
        return true;
    }
    char *colon = strchr(text, ':');
    if (answer->complete || !colon)
        return true;
    *colon = '\0';
    read_field(answer, text, colon + 1 + strspn(colon + 1, " \t"));
    return true;
}

uint64_t http_answer_retry_after_ms(const struct http_answer *answer, int64_t now)
{
    /* A device's clock may be off by years until it is set, so the wait is reckoned from the server's own
     * Date. */
    int64_t since = answer->date ? answer->date : now;

    if (answer->retry_at == 0)
        return answer->retry_after_ms;
    if (answer->retry_at <= since)
        return 0;
    if (answer->retry_at - since > HTTP_ANSWER_RETRY_MAX_MS / 1000)
        return HTTP_ANSWER_RETRY_MAX_MS;
    return (uint64_t)(answer->retry_at - since) * 1000;
}

/* Whether the ETags name the same entity, by HTTP's weak comparison. */
static bool etags_match(const char *a, const char *b)
{
    if (text_has_prefix(a, "W/"))
        a += strlen("W/");
    if (text_has_prefix(b, "W/"))
        b += strlen("W/");
    return strcmp(a, b) == 0;
}

bool http_answer_etag_is_strong(const char *etag)
{
    size_t length = strlen(etag);

    if (length < 2 || etag[0] != '"' || etag[length - 1] != '"')
        return false;
    for (const char *c = etag + 1; c < etag + length - 1; c++)
        if ((unsigned char)*c <= ' ' || *c == '"' || *c == 0x7f)
            return false;
    return true;
}

/* " Not Found" for 404, "" for a status without a well-known name; the server's own words are not
 * repeated. */
static const char *status_name(long status)
{
    static const struct {
        long status;
        const char *name;
    } names[] = {
        {304, " Not Modified"},
        {400, " Bad Request"},
        {401, " Unauthorized"},
        {403, " Forbidden"},
        {404, " Not Found"},
        {405, " Method Not Allowed"},
        {408, " Request Timeout"},
        {410, " Gone"},
        {416, " Range Not Satisfiable"},
        {429, " Too Many Requests"},
        {407, " Proxy Authentication Required"},
        {500, " Internal Server Error"},
        {501, " Not Implemented"},
        {502, " Bad Gateway"},
        {503, " Service Unavailable"},
        {504, " Gateway Timeout"},
        {505, " HTTP Version Not Supported"},
        {511, " Network Authentication Required"},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].status == status)
            return names[i].name;
    return "";
}

/* A status that is neither a success nor about the entity. */
static enum http_outcome judge_refusal(long status, const char *where, struct error *error)
{
    const char *advice = "check the URL and the server";
    /* These do not pass with time: what the server cannot do (501, 505), and a network that wants a login
     * (511). */
    bool lasting = status == 501 || status == 505 || status == 511;
    bool transient = status == 408 || status == 429 || (status >= 500 && !lasting);

    if (status == 404 || status == 410)
        advice = "check the URL and that the file is published";
    else if (status == 401 || status == 403)
        advice = "check the URL and the permissions and credentials there";
    else if (status == 407)
        advice = "check the proxy's user and password";
    else if (status == 511)
        advice = "log in to the network";
    else if (status == 304)
        advice = "it was not asked whether anything changed, check the server";
    else if (status >= 300 && status < 400)
        advice = "it names no place to go on to, check the server's redirect";
    else if (transient)
        advice = "try again later";
    error_set(error, ERROR_REMOTE, "the server answered %ld%s to %s; %s", status, status_name(status), where,
              advice);
    return transient ? HTTP_OUTCOME_TRANSIENT : HTTP_OUTCOME_FAILED;
}

size_t http_answer_fit(const struct http_answer *answer, const struct http_question *question,
                       uint64_t *ret_lead)
{
    uint64_t last = question->offset + question->size - 1;

    *ret_lead = 0;
    if (answer->status != 206)
        return question->size;
    *ret_lead = question->offset - answer->range_first;
    return (size_t)((answer->range_last < last ? answer->range_last : last) - question->offset + 1);
}

bool http_answer_if_range_unheard(const struct http_answer *answer, const struct http_question *question)
{
    return question->if_range && answer->status == 200 && !answer->encoded && *answer->etag &&
           etags_match(question->etag, answer->etag);
}

bool http_answer_is_page(const char *body, size_t size)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    size_t at = size >= 3 && memcmp(body, byte_order_mark, 3) == 0 ? 3 : 0;

    while (at < size && strchr(" \t\r\n", body[at]) && body[at])
        at++;
    return at < size && body[at] == '<';
}

enum http_outcome http_answer_set_page(const char *where, struct error *error)
{
    error_set(
        error, ERROR_REMOTE,
        "a web page came instead of %s: a login page of the network, a proxy's, or that of a wrong URL; "
        "check the network and the URL",
        where);
    return HTTP_OUTCOME_FAILED;
}

static enum http_outcome changed(const char *where, const char *what, struct error *error)
{
    error_set(error, ERROR_REMOTE, "%s was replaced on the server (%s); start again from its manifest", where,
              what);
    return HTTP_OUTCOME_CHANGED;
}

static enum http_outcome judge_partial(const struct http_answer *answer, const struct http_question *question,
                                       const char *where, struct error *error)
{
    uint64_t last = question->offset + question->size - 1;

    if (!answer->has_range) {
        error_set(error, ERROR_REMOTE, "the server sent a part of %s with %s Content-Range; check the server",
                  where, answer->bad_range ? "a senseless" : "no");
        return HTTP_OUTCOME_FAILED;
    }
    if (question->total_size && answer->range_total && answer->range_total != question->total_size)
        return changed(where, "its size is another", error);
    /* The server may send less than was requested (RFC 9110, 15.3.7), or a cache's whole blocks around it:
     * the fitting part is taken and the rest requested again. Tiny parts are refused, as they would take for
     * ever, except at the end. */
    bool fits =
        answer->range_first <= question->offset && answer->range_last >= question->offset &&
        question->offset - answer->range_first <= HTTP_ANSWER_LEAD_MAX &&
        (answer->range_last >= last || answer->range_last - question->offset + 1 >= HTTP_ANSWER_PART_MIN ||
         answer->range_last + 1 == answer->range_total);
    if (!fits) {
        error_set(error, ERROR_REMOTE,
                  "the server sent bytes %" PRIu64 "-%" PRIu64 " of %s when asked for %" PRIu64 "-%" PRIu64
                  "; check the server",
                  answer->range_first, answer->range_last, where, question->offset, last);
        return HTTP_OUTCOME_FAILED;
    }
    uint64_t announced = answer->range_last - answer->range_first + 1;
    if (answer->has_length && answer->length != announced) {
        error_set(error, ERROR_REMOTE,
                  "the server announced %" PRIu64 " bytes for a range of %" PRIu64
                  " bytes of %s; check the server",
                  answer->length, announced, where);
        return HTTP_OUTCOME_FAILED;
    }
    return HTTP_OUTCOME_OK;
}

/* Judges a 200 to a range request: the entity changed, or the range was the whole entity, or the server does
 * not know ranges. */
static enum http_outcome judge_whole_for_range(const struct http_answer *answer,
                                               const struct http_question *question, const char *where,
                                               struct error *error)
{
    bool whole = question->offset == 0 && (!question->total_size || question->total_size == question->size);

    /* A server may label every file text/html, so a body whose ETag or size is the expected one is not taken
     * for a web page. */
    bool known = (question->etag && *answer->etag) ||
                 (question->total_size && answer->has_length && answer->length == question->total_size) ||
                 (whole && answer->has_length && answer->length == question->size);

    if (answer->html && !known)
        return http_answer_set_page(where, error);
    if (question->if_range && !*answer->etag)
        return changed(where, "it has no ETag any more", error);
    if (question->total_size && answer->has_length && answer->length != question->total_size)
        return changed(where, "its size is another", error);
    if (whole && (!answer->has_length || answer->length == question->size))
        return HTTP_OUTCOME_OK;
    error_set(
        error, ERROR_REMOTE,
        "the server does not answer range requests for %s; serve it as a static file, with nothing that "
        "compresses or rewrites it",
        where);
    return HTTP_OUTCOME_FAILED;
}

static enum http_outcome judge_range(const struct http_answer *answer, const struct http_question *question,
                                     const char *where, struct error *error)
{
    bool pinned = question->etag || question->total_size;

    if (pinned && answer->status == 416)
        return changed(where, "it has no such range any more", error);
    if (pinned && (answer->status == 404 || answer->status == 410))
        return changed(where, "it is gone", error);
    if (answer->status != 200 && answer->status != 206)
        return judge_refusal(answer->status, where, error);
    if (question->etag && *answer->etag && !etags_match(question->etag, answer->etag))
        return answer->status == 200 && answer->html ? http_answer_set_page(where, error)
                                                     : changed(where, "its ETag is another", error);
    if (answer->status == 206)
        return judge_partial(answer, question, where, error);
    return judge_whole_for_range(answer, question, where, error);
}

static enum http_outcome judge_get(const struct http_answer *answer, const struct http_question *question,
                                   const char *where, struct error *error)
{
    if (answer->status == 304 && question->conditional)
        return HTTP_OUTCOME_NOT_MODIFIED;
    if (answer->status != 200)
        return judge_refusal(answer->status, where, error);
    if (answer->has_length && answer->length > question->size && answer->html)
        return http_answer_set_page(where, error);
    if (answer->has_length && answer->length > question->size) {
        error_set(error, ERROR_REFUSED, "%s has %" PRIu64 " bytes, more than the %zu allowed; check the URL",
                  where, answer->length, question->size);
        if (error)
            error->code = EFBIG;
        return HTTP_OUTCOME_FAILED;
    }
    return HTTP_OUTCOME_OK;
}

enum http_outcome http_answer_judge(const struct http_answer *answer, const struct http_question *question,
                                    const char *where, struct error *error)
{
    if (answer->encoded && answer->status >= 200 && answer->status < 300) {
        error_set(error, ERROR_REMOTE,
                  "the server sent %s compressed although not asked to; turn compression off for it there",
                  where);
        return HTTP_OUTCOME_FAILED;
    }
    return question->range ? judge_range(answer, question, where, error)
                           : judge_get(answer, question, where, error);
}
