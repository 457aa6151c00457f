/* SPDX-License-Identifier: MIT */
#include "cli/daemon_client.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/plain_text.h"
#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/text.h"

enum {
    ANSWER_TIMEOUT_S = 30,
    HEADER_LINE_MAX = 4096,
    HEADER_LINES_MAX = 64,
    /* The status is some 2 KB, a long history or plan some 100 KB. */
    BODY_MAX = 4 << 20,
    LINE_MAX_BYTES = 1 << 20,
};

/* How the end of the body is known. */
enum framing {
    FRAMING_LENGTH,
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
};

struct daemon_client {
    int fd;
    char *path; /* for the sentences */
    char buffer[16384];
    size_t begin, end;
    unsigned http_status;
    enum framing framing;
    uint64_t left;       /* of the body, or of the chunk */
    bool is_first_chunk; /* the others have CR LF before their size */
    bool is_over;        /* the body has ended */
};

enum { END_OF_INPUT = -1, READ_FAILED = -2 };

static bool set_connect_error(struct error *error, int code, const char *path)
{
    if (code == ENOENT || code == ECONNREFUSED)
        return error_set(
            error, ERROR_REFUSED,
            "no moonsinterd listens at %s: start it (systemctl start moonsinterd), or name its socket with "
            "--socket",
            path);
    if (code == EACCES)
        return error_set(
            error, ERROR_REFUSED,
            "you may not open %s: ask as root, or as a member of the group in [Api] Group=", path);
    return error_set_errno(error, code, "cannot connect to moonsinterd at %s", path);
}

bool daemon_client_new(const char *socket_path, struct daemon_client **ret_client, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};

    if (!*socket_path || strlen(socket_path) >= sizeof(address.sun_path))
        return error_set(error, ERROR_REFUSED, "a socket's path has 1 to %zu bytes, not %zu",
                         sizeof(address.sun_path) - 1, strlen(socket_path));
    memcpy(address.sun_path, socket_path, strlen(socket_path));

    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(error, errno, "cannot create a Unix socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return set_connect_error(error, errno, socket_path);

    struct daemon_client *client = alloc_zeroed(sizeof(*client));
    client->fd = file_take_fd(&fd);
    client->path = alloc_string(socket_path);
    *ret_client = client;
    return true;
}

struct daemon_client *daemon_client_free(struct daemon_client *client)
{
    if (!client)
        return NULL;
    close(client->fd);
    free(client->path);
    free(client);
    return NULL;
}

/* The next byte of the connection, END_OF_INPUT, or READ_FAILED with the error set. */
static int take_byte(struct daemon_client *client, struct error *error)
{
    while (client->begin == client->end) {
        ssize_t count = recv(client->fd, client->buffer, sizeof(client->buffer), 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            error_set(error, ERROR_SYSTEM, "moonsinterd at %s has not answered for %d seconds; see its log",
                      client->path, ANSWER_TIMEOUT_S);
            return READ_FAILED;
        }
        /* A reset is how a Unix socket tells that the other side closed it with something unread. */
        if (count == 0 || (count < 0 && errno == ECONNRESET))
            return END_OF_INPUT;
        if (count < 0) {
            error_set_errno(error, errno, "cannot read from moonsinterd at %s", client->path);
            return READ_FAILED;
        }
        client->begin = 0;
        client->end = (size_t)count;
    }
    return (unsigned char)client->buffer[client->begin++];
}

static bool set_garbled(struct daemon_client *client, struct error *error)
{
    return error_set(error, ERROR_FORMAT, "what listens at %s does not answer as moonsinterd does",
                     client->path);
}

static bool set_hung_up(struct daemon_client *client, struct error *error)
{
    return error_set(error, ERROR_SYSTEM,
                     "moonsinterd at %s closed the connection: it was stopped, or it has too many clients",
                     client->path);
}

/* A line of the head, or of a chunk's frame, without CR LF. */
static bool read_head_line(struct daemon_client *client, char ret_line[HEADER_LINE_MAX], struct error *error)
{
    size_t size = 0;

    for (;;) {
        int c = take_byte(client, error);
        if (c == READ_FAILED)
            return false;
        if (c == END_OF_INPUT)
            return set_hung_up(client, error);
        if (c == '\n')
            break;
        if (c == '\0' || size == HEADER_LINE_MAX - 1)
            return set_garbled(client, error);
        ret_line[size++] = (char)c;
    }
    if (size && ret_line[size - 1] == '\r')
        size--;
    ret_line[size] = '\0';
    return true;
}

static bool read_chunk_size(struct daemon_client *client, struct error *error)
{
    char line[HEADER_LINE_MAX];
    char *end;

    if (!client->is_first_chunk) {
        if (!read_head_line(client, line, error))
            return false;
        if (*line)
            return set_garbled(client, error);
    }
    client->is_first_chunk = false;
    if (!read_head_line(client, line, error))
        return false;
    if (!isxdigit((unsigned char)line[0]) || strspn(line, "0123456789abcdefABCDEF") > 8)
        return set_garbled(client, error);
    client->left = strtoull(line, &end, 16);
    if (*end && *end != ';' && *end != ' ')
        return set_garbled(client, error);
    if (client->left > 0)
        return true;
    client->is_over = true;
    do {
        if (!read_head_line(client, line, error))
            return false;
    } while (*line);
    return true;
}

/* The next byte of the body, END_OF_INPUT at its end in due form, or READ_FAILED. */
static int take_body_byte(struct daemon_client *client, struct error *error)
{
    if (client->framing == FRAMING_CHUNKED && client->left == 0 && !client->is_over &&
        !read_chunk_size(client, error))
        return READ_FAILED;
    if (client->is_over || (client->framing == FRAMING_LENGTH && client->left == 0))
        return END_OF_INPUT;
    int c = take_byte(client, error);
    if (c == END_OF_INPUT && client->framing != FRAMING_CLOSE) {
        set_hung_up(client, error);
        return READ_FAILED;
    }
    if (client->framing != FRAMING_CLOSE)
        client->left--;
    return c;
}

static bool read_header(struct daemon_client *client, char *line, struct error *error)
{
    char *value = strchr(line, ':');

    if (!value)
        return set_garbled(client, error);
    *value++ = '\0';
    value += strspn(value, " \t");
    if (strcasecmp(line, "Content-Length") == 0) {
        if (text_parse_u64(value, &client->left) < 0)
            return set_garbled(client, error);
        client->framing = FRAMING_LENGTH;
    } else if (strcasecmp(line, "Transfer-Encoding") == 0) {
        if (strcasecmp(value, "chunked") != 0)
            return set_garbled(client, error);
        client->framing = FRAMING_CHUNKED;
        client->is_first_chunk = true;
        client->left = 0;
    }
    return true;
}

static bool read_head(struct daemon_client *client, struct error *error)
{
    char line[HEADER_LINE_MAX];

    if (!read_head_line(client, line, error))
        return false;
    if (!text_has_prefix(line, "HTTP/1.") || strlen(line) < 12 || line[8] != ' ' ||
        strspn(line + 9, "0123456789") != 3)
        return set_garbled(client, error);
    client->http_status = (unsigned)strtoul(line + 9, NULL, 10);
    client->framing = FRAMING_CLOSE;
    for (unsigned i = 0; i < HEADER_LINES_MAX; i++) {
        if (!read_head_line(client, line, error))
            return false;
        if (!*line)
            return true;
        if (!read_header(client, line, error))
            return false;
    }
    return set_garbled(client, error);
}

static bool send_request(struct daemon_client *client, const char *method, const char *path,
                         struct error *error)
{
    CLEANUP_FREE char *text =
        alloc_printf("%s %s HTTP/1.1\r\nHost: moonsinter\r\nContent-Length: 0\r\n\r\n", method, path);
    size_t size = strlen(text), sent = 0;

    while (sent < size) {
        ssize_t count = send(client->fd, text + sent, size - sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        /* Who hangs up may have said why: read_head() tells. */
        if (count < 0 && (errno == EPIPE || errno == ECONNRESET))
            break;
        if (count < 0)
            return error_set_errno(error, errno, "cannot write to moonsinterd at %s", client->path);
        sent += (size_t)count;
    }
    return read_head(client, error);
}

static bool read_body(struct daemon_client *client, struct json_object **ret_body, struct error *error)
{
    CLEANUP_FREE char *text = NULL;
    size_t size = 0, room = 0;
    int c;

    while ((c = take_body_byte(client, error)) >= 0) {
        if (size == BODY_MAX)
            return set_garbled(client, error);
        if (size == room) {
            room = room ? room * 2 : 4096;
            text = realloc(text, room);
            if (!text)
                abort();
        }
        text[size++] = (char)c;
    }
    if (c == READ_FAILED)
        return false;
    return json_parse_object(text ? text : "", size, "moonsinterd's answer", ret_body, error);
}

/* The sentence of {"error": {"code", "message"}}. */
static bool set_error_answer(struct daemon_client *client, struct json_object *body, struct error *error)
{
    struct json_object *inner;
    const char *message;

    if (json_get_object(body, "error", &inner) != JSON_MEMBER_OK ||
        json_get_string(inner, "message", &message) != JSON_MEMBER_OK)
        return set_garbled(client, error);
    /* It may quote a server or a file name, and is going to be shown. */
    char text[sizeof(error->message)];
    return error_set(error, ERROR_REFUSED, "%s", plain_text_copy(text, sizeof(text), message));
}

static bool has_succeeded(const struct daemon_client *client)
{
    return client->http_status == 200 || client->http_status == 202;
}

bool daemon_client_request(struct daemon_client *client, const char *method, const char *path,
                           struct json_object **ret_body, struct error *error)
{
    CLEANUP_JSON struct json_object *body = NULL;

    if (!send_request(client, method, path, error) || !read_body(client, &body, error))
        return false;
    if (!has_succeeded(client))
        return set_error_answer(client, body, error);
    *ret_body = body;
    body = NULL;
    return true;
}

bool daemon_client_subscribe(struct daemon_client *client, struct error *error)
{
    CLEANUP_JSON struct json_object *body = NULL;
    struct timeval for_ever = {0};

    if (!send_request(client, "GET", "/v1/events", error))
        return false;
    if (!has_succeeded(client))
        return read_body(client, &body, error) ? set_error_answer(client, body, error) : false;
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof(for_ever));
    return true;
}

bool daemon_client_read_line(struct daemon_client *client, char **ret_line, struct error *error)
{
    CLEANUP_FREE char *line = NULL;
    size_t size = 0, room = 0;

    for (;;) {
        int c = take_body_byte(client, error);
        if (c == READ_FAILED)
            return false;
        if (c == END_OF_INPUT && size > 0)
            return set_hung_up(client, error);
        if (c == END_OF_INPUT) {
            *ret_line = NULL;
            return true;
        }
        if (size == LINE_MAX_BYTES || c == '\0')
            return set_garbled(client, error);
        if (size + 1 >= room) {
            room = room ? room * 2 : 4096;
            line = realloc(line, room);
            if (!line)
                abort();
        }
        if (c == '\n')
            break;
        line[size++] = (char)c;
    }
    line[size] = '\0';
    *ret_line = line;
    line = NULL;
    return true;
}
