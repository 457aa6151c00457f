/* SPDX-License-Identifier: MIT */
#include "daemon/host/route_watch.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/io/watch.h"

enum {
    MESSAGES_SIZE = 8192, /* what the kernel puts into one datagram at most, unless more is asked for */
    /* Read at most in one turn of the loop; the socket stays readable for the rest. */
    DATAGRAMS_MAX = 32,
};

struct route_watch {
    int fd;
    struct watch *readable;
    route_watch_fn came;
    void *owner;
};

/* Walks the messages without the kernel's NLMSG_OK and NLMSG_NEXT, which cast const away and compare signed
 * with unsigned numbers. */
static bool tells_of_new(const char *data, size_t size)
{
    struct nlmsghdr message;

    while (size >= sizeof(message)) {
        memcpy(&message, data, sizeof(message));
        if (message.nlmsg_len < sizeof(message) || message.nlmsg_len > size)
            return false;
        if (message.nlmsg_type == RTM_NEWROUTE || message.nlmsg_type == RTM_NEWADDR)
            return true;
        size_t step = NLMSG_ALIGN(message.nlmsg_len);
        data += step < size ? step : size;
        size -= step < size ? step : size;
    }
    return false;
}

static void on_readable(void *owner, int fd)
{
    struct route_watch *watch = owner;
    char data[MESSAGES_SIZE];
    bool found = false;

    for (int i = 0; i < DATAGRAMS_MAX; i++) {
        struct sockaddr_nl from = {.nl_pid = 0};
        socklen_t from_size = sizeof(from);
        ssize_t size = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&from, &from_size);
        /* There were so many messages that the kernel dropped some. */
        if (size < 0 && errno == ENOBUFS)
            found = true;
        else if (size < 0)
            break;
        /* Anybody may send to a netlink socket; the kernel's number is 0. */
        else if (from.nl_pid == 0)
            found |= tells_of_new(data, (size_t)size);
    }
    if (found)
        watch->came(watch->owner);
}

bool route_watch_new(struct event_base *base, route_watch_fn came, void *owner,
                     struct route_watch **ret_watch, struct error *error)
{
    struct sockaddr_nl address = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
    };
    CLEANUP_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_set_errno(error, errno, "the kernel does not tell of new routes");
    struct route_watch *watch = alloc_zeroed(sizeof(*watch));
    *watch = (struct route_watch){.fd = file_take_fd(&fd), .came = came, .owner = owner};
    watch->readable = watch_new(base, WATCH_READABLE, watch->fd, on_readable, watch);
    if (!watch_start(watch->readable)) {
        route_watch_free(watch);
        return error_set(error, ERROR_SYSTEM, "the kernel's news of routes cannot be watched");
    }
    *ret_watch = watch;
    return true;
}

struct route_watch *route_watch_free(struct route_watch *watch)
{
    if (!watch)
        return NULL;
    watch_free(watch->readable);
    close(watch->fd);
    free(watch);
    return NULL;
}
