#include "daemon/notify.h"

#ifdef HAVE_SYSTEMD

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <time.h>

#include <systemd/sd-daemon.h>

#include "common/base/alloc.h"

/* A sentence as one line: a line feed in it would begin a second variable. */
static char *one_line(const char *text)
{
    char *line = alloc_string(text);

    for (char *at = line; *at; at++)
        if (*at == '\n' || *at == '\r')
            *at = ' ';
    return line;
}

/* A manager that does not listen is no reason to stop updating, so results are not looked at here. */
static void notify_with_status(const char *variable, const char *status)
{
    if (!status) {
        sd_notify(0, variable);
        return;
    }
    CLEANUP_FREE char *line = one_line(status);
    sd_notifyf(0, "%s%sSTATUS=%s", variable, *variable ? "\n" : "", line);
}

void notify_ready(const char *status)
{
    notify_with_status("READY=1", status);
}

void notify_status(const char *status)
{
    notify_with_status("", status);
}

void notify_reloading(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
               (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void notify_stopping(const char *status)
{
    notify_with_status("STOPPING=1", status);
}

uint64_t notify_watchdog_interval_ms(void)
{
    uint64_t interval_us;

    if (sd_watchdog_enabled(0, &interval_us) <= 0)
        return 0;
    return interval_us < 1000 ? 1 : interval_us / 1000;
}

void notify_watchdog(void)
{
    sd_notify(0, "WATCHDOG=1");
}

void notify_extend_timeout(uint64_t ms)
{
    sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, ms * 1000);
}

bool notify_take_listen_fd(int *ret_fd, struct error *error)
{
    int count = sd_listen_fds(1);

    if (count < 0)
        return error_set_errno(error, count, "cannot read what sockets the service manager handed over");
    if (count == 0) {
        *ret_fd = -1;
        return true;
    }
    if (count > 1)
        return error_set(
            error, ERROR_REFUSED,
            "the service manager handed over %d sockets; moonsinterd.socket must have one ListenStream=",
            count);
    int result = sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_STREAM, 1);
    if (result < 0)
        return error_set_errno(error, result, "cannot look at the socket the service manager handed over");
    if (result == 0)
        return error_set(error, ERROR_REFUSED,
                         "the socket the service manager handed over is no listening Unix stream socket; see "
                         "moonsinterd.socket");
    /* sd_listen_fds() made it close-on-exec; blocking is how systemd hands it over. */
    int flags = fcntl(SD_LISTEN_FDS_START, F_GETFL);
    if (flags < 0 || fcntl(SD_LISTEN_FDS_START, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_set_errno(error, errno,
                               "cannot make the socket the service manager handed over non-blocking");
    *ret_fd = SD_LISTEN_FDS_START;
    return true;
}

#else

void notify_ready(const char *status)
{
}

void notify_status(const char *status)
{
}

void notify_reloading(void)
{
}

void notify_stopping(const char *status)
{
}

uint64_t notify_watchdog_interval_ms(void)
{
    return 0;
}

void notify_watchdog(void)
{
}

void notify_extend_timeout(uint64_t ms)
{
}

bool notify_take_listen_fd(int *ret_fd, struct error *error)
{
    *ret_fd = -1;
    return true;
}

#endif
