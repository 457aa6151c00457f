/* SPDX-License-Identifier: MIT */
#include "daemon/face/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wall_clock.h"

/* What the manager has not been told yet. Only the newest message of each kind matters; but a start, a reload
 * and the end of the reload are three messages, in this order. */
static struct {
    bool ready;         /* READY=1 of the start */
    char reloading[64]; /* RELOADING=1 with its time stamp; "" = nothing to send */
    bool reloaded;      /* READY=1 that ends the reload */
    bool stopping;
    char *status;
    bool watchdog;
    notify_waiting_fn *on_waiting;
    void *owner;
    bool complained;
} untold;

/* Makes one line of a sentence: a line feed would begin a second variable. */
static char *one_line(const char *text)
{
    char *line = alloc_string(text);

    for (char *at = line; *at; at++)
        if (*at == '\n' || *at == '\r')
            *at = ' ';
    return line;
}

/* Returns 0 or -errno; -EAGAIN if the manager's queue is full. sd_notify() is not used, because it would
 * block the loop until the manager reads. */
static int send_datagram(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (!path)
        return 0;
    size_t length = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || length < 2 || length >= sizeof(address.sun_path))
        return -EAFNOSUPPORT;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* a name in the abstract name space */
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (sendto(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&address, size) <
        0)
        return -errno;
    return 0;
}

/* A manager that cannot be reached is logged, and is no reason to stop updating. */
static void complain_once(int result)
{
    if (!untold.complained)
        log_warning("the service manager at NOTIFY_SOCKET=%s cannot be told how this service is: %s",
                    getenv("NOTIFY_SOCKET"), strerror(-result));
    untold.complained = true;
}

/* The state message to be sent first, as a line; "" = none. */
static const char *first_state(void)
{
    return untold.ready        ? "READY=1\n"
           : *untold.reloading ? untold.reloading
           : untold.reloaded   ? "READY=1\n"
           : untold.stopping   ? "STOPPING=1\n"
                               : "";
}

static void forget_first_state(void)
{
    if (untold.ready)
        untold.ready = false;
    else if (*untold.reloading)
        *untold.reloading = '\0';
    else if (untold.reloaded)
        untold.reloaded = false;
    else
        untold.stopping = false;
}

bool notify_flush(void)
{
    for (;;) {
        const char *state = first_state(), *status = untold.status;
        if (!*state && !status && !untold.watchdog)
            return true;
        CLEANUP_FREE char *text =
            alloc_printf("%s%s%s%s%s", state, status ? "STATUS=" : "", status ? status : "",
                         status ? "\n" : "", untold.watchdog ? "WATCHDOG=1\n" : "");
        text[strlen(text) - 1] = '\0';
        int result = send_datagram(text);
        if (result == -EAGAIN || result == -ENOBUFS || result == -ENOMEM)
            return false;
        if (result < 0)
            complain_once(result);
        forget_first_state();
        free(untold.status);
        untold.status = NULL;
        untold.watchdog = false;
    }
}

static void tell(const char *status)
{
    if (status) {
        free(untold.status);
        untold.status = one_line(status);
    }
    if (!notify_flush() && untold.on_waiting)
        untold.on_waiting(untold.owner);
}

void notify_on_waiting(notify_waiting_fn *on_waiting, void *owner)
{
    untold.on_waiting = on_waiting;
    untold.owner = owner;
}

void notify_ready(const char *status)
{
    if (*untold.reloading)
        untold.reloaded = true;
    else
        untold.ready = true;
    tell(status);
}

void notify_status(const char *status)
{
    tell(status);
}

void notify_reloading(void)
{
    /* If an earlier reload and its end still wait, this one replaces both. */
    snprintf(untold.reloading, sizeof(untold.reloading), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n",
             wall_clock_steady_ns() / 1000);
    untold.reloaded = false;
    tell(NULL);
}

void notify_stopping(const char *status)
{
    untold.stopping = true;
    tell(status);
}

uint64_t notify_watchdog_interval_ms(void)
{
    uint64_t interval_us = 0;

#ifdef HAVE_SYSTEMD
    if (sd_watchdog_enabled(0, &interval_us) <= 0)
        return 0;
#endif
    return interval_us > 0 && interval_us < 1000 ? 1 : interval_us / 1000;
}

void notify_watchdog(void)
{
    untold.watchdog = true;
    tell(NULL);
}

bool notify_take_listen_fd(int *ret_fd, struct error *error)
{
    *ret_fd = -1;
#ifdef HAVE_SYSTEMD
    int count = sd_listen_fds(1);
    if (count < 0)
        return error_set_errno(error, count, "cannot read what sockets the service manager handed over");
    if (count > 1)
        return error_set(
            error, ERROR_REFUSED,
            "the service manager handed over %d sockets; moonsinterd.socket must have one ListenStream=",
            count);
    if (count == 1)
        *ret_fd = SD_LISTEN_FDS_START;
#endif
    return true;
}
