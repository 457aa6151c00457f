/* SPDX-License-Identifier: MIT */
/* Laid over a program, this lets a test set its clock: Unix time is shifted by the seconds in the file that
 * CLOCK_SHIFT names, and each byte in the FIFO that CLOCK_SET names is a setting of the clock, which cancels
 * the timers that ask for it as the kernel does (timerfd_create(2)). The machine's clock stays as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int clock_fd = -1;

time_t time(time_t *ret_now)
{
    struct timespec now;
    FILE *file = fopen(getenv("CLOCK_SHIFT"), "re");
    long shift = 0;

    clock_gettime(CLOCK_REALTIME, &now);
    if (file) {
        if (fscanf(file, "%ld", &shift) != 1)
            shift = 0;
        fclose(file);
    }
    if (ret_now)
        *ret_now = now.tv_sec + shift;
    return now.tv_sec + shift;
}

int timerfd_create(int clock, int flags)
{
    int (*next)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "timerfd_create");

    if (clock != CLOCK_REALTIME)
        return next(clock, flags);
    /* For writing too, so that it is not at its end where nobody writes. */
    return clock_fd = open(getenv("CLOCK_SET"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
    int (*next)(int, int, const struct itimerspec *, struct itimerspec *) =
        (int (*)(int, int, const struct itimerspec *, struct itimerspec *))dlsym(RTLD_NEXT,
                                                                                 "timerfd_settime");

    if (fd != clock_fd)
        return next(fd, flags, new, old);
    /* Without both flags nothing is cancelled, and a timer that is not set is not either. */
    if (flags == (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) && new->it_value.tv_sec > 0)
        return 0;
    errno = EINVAL;
    return -1;
}

ssize_t read(int fd, void *data, size_t size)
{
    ssize_t (*next)(int, void *, size_t) = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    ssize_t result = next(fd, data, fd == clock_fd && fd >= 0 ? 1 : size);

    if (fd != clock_fd || fd < 0 || result <= 0)
        return result;
    errno = ECANCELED;
    return -1;
}
