/* SPDX-License-Identifier: MIT */
#include "daemon/face/api_http.h"

#include <string.h>
#include <strings.h>

/* A piece of the input, not zero-terminated. */
struct span {
    const char *data;
    size_t size;
};

/* Headers that may occur only once, since two of them could contradict each other. */
enum {
    SEEN_HOST = 1 << 0,
    SEEN_CONTENT_LENGTH = 1 << 1,
};

static bool refuse(struct api_http_refusal *refusal, unsigned http_status, const char *code,
                   const char *message)
{
    *refusal = (struct api_http_refusal){http_status, code, message};
    return false;
}

static bool refuse_malformed(struct api_http_refusal *refusal, const char *message)
{
    return refuse(refusal, 400, "bad-request", message);
}

/* RFC 9110, 5.6.2: the characters of methods and header names. */
static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct span span)
{
    for (size_t i = 0; i < span.size; i++)
        if (!is_token_char(span.data[i]))
            return false;
    return span.size > 0;
}

static bool span_is(struct span span, const char *text)
{
    return span.size == strlen(text) && strncasecmp(span.data, text, span.size) == 0;
}

static struct span span_trim(struct span span)
{
    while (span.size && (span.data[0] == ' ' || span.data[0] == '\t')) {
        span.data++;
        span.size--;
    }
    while (span.size && (span.data[span.size - 1] == ' ' || span.data[span.size - 1] == '\t'))
        span.size--;
    return span;
}

/* Cuts off what stands before `separator` and the separator; false where there is none. */
static bool span_cut(struct span *rest, char separator, struct span *ret_piece)
{
    const char *end = rest->size ? memchr(rest->data, separator, rest->size) : NULL;

    if (!end)
        return false;
    *ret_piece = (struct span){rest->data, (size_t)(end - rest->data)};
    rest->size -= ret_piece->size + 1;
    rest->data = end + 1;
    return true;
}

/* Is `name` one of the comma-separated words? */
static bool list_contains(struct span list, const char *name)
{
    struct span word;

    while (span_cut(&list, ',', &word))
        if (span_is(span_trim(word), name))
            return true;
    return span_is(span_trim(list), name);
}

/* Refuses control characters and line feeds without carriage return (or the other way round), as soon as they
 * arrive: a client that ends its lines so would otherwise wait for an answer until its time is up. */
static bool check_characters(const char *data, size_t size, struct api_http_refusal *refusal)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)data[i];
        bool is_break =
            c == '\r' ? i + 1 == size || data[i + 1] == '\n' : c == '\n' && i > 0 && data[i - 1] == '\r';
        if (!is_break && ((c < ' ' && c != '\t') || c == 0x7f))
            return refuse_malformed(refusal,
                                    "the request's head has a control character or a line that does not end "
                                    "in CR LF");
    }
    return true;
}

static bool parse_request_line(struct span line, struct api_http_head *head, struct api_http_refusal *refusal)
{
    struct span method, target, piece;

    if (!span_cut(&line, ' ', &method) || !span_cut(&line, ' ', &target) || !is_token(method))
        return refuse_malformed(refusal, "the request line is not METHOD PATH HTTP/1.1");
    if (method.size >= sizeof(head->method))
        return refuse_malformed(refusal, "the request's method is none of HTTP's");
    if (target.size == 0 || target.data[0] != '/')
        return refuse_malformed(refusal, "the request's path does not begin with /");
    for (size_t i = 0; i < target.size; i++)
        if ((unsigned char)target.data[i] <= ' ' || (unsigned char)target.data[i] >= 0x7f ||
            target.data[i] == '#')
            return refuse_malformed(refusal, "the request's path has characters that do not belong there");

    /* Versions are case-sensitive (RFC 9112, 2.3). */
    head->is_http_1_0 = line.size == 8 && memcmp(line.data, "HTTP/1.0", 8) == 0;
    if (!head->is_http_1_0 && !(line.size == 8 && memcmp(line.data, "HTTP/1.1", 8) == 0))
        return refuse_malformed(refusal, "the request line does not end in HTTP/1.1 (or HTTP/1.0)");
    head->keep_alive = !head->is_http_1_0;

    if (span_cut(&target, '?', &piece))
        target = piece;
    size_t length = target.size < sizeof(head->path) ? target.size : sizeof(head->path) - 1;
    memcpy(head->method, method.data, method.size);
    memcpy(head->path, target.data, length);
    return true;
}

static bool parse_content_length(struct span value, struct api_http_head *head,
                                 struct api_http_refusal *refusal)
{
    uint64_t length = 0;

    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return refuse_malformed(refusal, "Content-Length is not a number");
        /* What does not fit is larger than any limit; the exact figure does not matter. */
        if (__builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, (uint64_t)(value.data[i] - '0'), &length))
            return refuse(refusal, 413, "too-large", "the request's body is too large");
    }
    if (value.size == 0)
        return refuse_malformed(refusal, "Content-Length is not a number");
    head->content_length = length;
    return true;
}

static bool parse_header(struct span line, unsigned *seen, struct api_http_head *head,
                         struct api_http_refusal *refusal)
{
    struct span name;

    /* This also refuses blanks before the colon and lines continued by leading blanks (RFC 9112, 5.1
     * and 5.2). */
    if (!span_cut(&line, ':', &name) || !is_token(name))
        return refuse_malformed(refusal, "a header is not of the form Name: value");
    struct span value = span_trim(line);

    if (span_is(name, "Host")) {
        if (*seen & SEEN_HOST)
            return refuse_malformed(refusal, "the request has two Host headers");
        *seen |= SEEN_HOST;
    } else if (span_is(name, "Content-Length")) {
        if (*seen & SEEN_CONTENT_LENGTH)
            return refuse_malformed(refusal, "the request has two Content-Length headers");
        *seen |= SEEN_CONTENT_LENGTH;
        return parse_content_length(value, head, refusal);
    } else if (span_is(name, "Transfer-Encoding")) {
        return refuse(refusal, 411, "length-required",
                      "send the body with Content-Length, not Transfer-Encoding");
    } else if (span_is(name, "Connection")) {
        if (list_contains(value, "close"))
            head->keep_alive = false;
        else if (head->is_http_1_0 && list_contains(value, "keep-alive"))
            head->keep_alive = true;
    } else if (span_is(name, "Expect")) {
        head->expects_continue = span_is(value, "100-continue") && !head->is_http_1_0;
    }
    return true;
}

/* `lines` ends after the CR LF of the last header. */
static bool parse_lines(struct span lines, struct api_http_head *head, struct api_http_refusal *refusal)
{
    unsigned seen = 0;
    struct span line;
    bool is_first = true;

    while (span_cut(&lines, '\n', &line)) {
        line.size--; /* the CR */
        if (!(is_first ? parse_request_line(line, head, refusal) : parse_header(line, &seen, head, refusal)))
            return false;
        is_first = false;
    }
    if (!head->is_http_1_0 && !(seen & SEEN_HOST))
        return refuse_malformed(refusal, "HTTP/1.1 demands a Host header; any value does");
    return true;
}

enum api_http_result api_http_parse_head(const char *data, size_t size, size_t max_size,
                                         struct api_http_head *ret_head, struct api_http_refusal *ret_refusal)
{
    const char *end = size ? memmem(data, size, "\r\n\r\n", 4) : NULL;
    size_t head_size = end ? (size_t)(end - data) + 4 : size;

    if (!check_characters(data, head_size < max_size ? head_size : max_size, ret_refusal))
        return API_HTTP_REFUSED;
    if (head_size > max_size) {
        refuse(ret_refusal, 413, "too-large", "the request's head is too large");
        return API_HTTP_REFUSED;
    }
    if (!end)
        return API_HTTP_INCOMPLETE;

    struct api_http_head head = {.size = head_size};
    if (!parse_lines((struct span){data, head_size - 2}, &head, ret_refusal))
        return API_HTTP_REFUSED;
    *ret_head = head;
    return API_HTTP_WHOLE;
}
