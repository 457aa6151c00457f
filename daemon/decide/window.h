/* SPDX-License-Identifier: MIT */
/*
 * Maintenance windows on the wall clock: is one open, and when does the next one open. Times are local, as
 * the machine's time zone has them now, also where the clock is put forward or back within a window. Pure but
 * for the time zone, which the C library reads anew where /etc/localtime changed. The loop's thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/config/config.h"

/* Whether a window is open at `now_s` (Unix time). *ret_until_s: when it closes, or else when the next one
 * opens. A window opens at the first moment at which the clock shows its begin and closes at the last at
 * which it shows its end, so in a repeated hour it is open both times. A begin that the clock leaps over is
 * the moment of the leap, and such a window then has its whole length. `count` is at least 1. */
bool window_find(const struct config_window *windows, size_t count, uint64_t now_s, uint64_t *ret_until_s);
