#include "common/io/http_wire.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* What was read from the socket since it was opened: all that came, but for what still lies in the kernel.
 * That is looked at second, so that what comes in between makes it less and not more. */
static bool read_count(int socket, uint64_t *ret_bytes)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    int waiting = 0;

    if (socket < 0 || getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received) ||
        ioctl(socket, FIONREAD, &waiting) < 0 || waiting < 0)
        return false;
    uint64_t came = info.tcpi_bytes_received;
    *ret_bytes = came > (uint64_t)waiting ? came - (uint64_t)waiting : 0;
    return true;
}

void http_wire_begin(struct http_wire *wire, int socket)
{
    wire->socket = socket;
    wire->known = read_count(socket, &wire->before);
    wire->counting = false;
}

int http_wire_port(int socket)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);

    if (getsockname(socket, (struct sockaddr *)&address, &size) < 0)
        return -1;
    if (address.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&address)->sin_port);
    return address.ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)&address)->sin6_port) : -1;
}

void http_wire_answered(struct http_wire *wire, bool shared)
{
    wire->counting = !shared;
}

static uint64_t excess(const struct http_wire *wire, uint64_t bytes, uint64_t free_bytes)
{
    uint64_t allowed = bytes + bytes / 8 + free_bytes;

    return wire->bytes > allowed ? wire->bytes - allowed : 0;
}

bool http_wire_look(struct http_wire *wire, uint64_t bytes)
{
    uint64_t now;

    if (!wire->known || !wire->counting || !read_count(wire->socket, &now))
        return true;
    /* Fewer than before are those of another connection, by the same number. */
    if (now > wire->before)
        wire->bytes += now - wire->before;
    wire->before = now;
    return excess(wire, bytes, HTTP_WIRE_EXCESS_MAX) == 0;
}

uint64_t http_wire_excess(const struct http_wire *wire, uint64_t bytes)
{
    return excess(wire, bytes, HTTP_WIRE_EXCESS_SMALL);
}
