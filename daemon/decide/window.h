/* SPDX-License-Identifier: MIT */
/*
 * Maintenance windows by the wall clock: is one open, and when does the next one open. Times are local, by
 * the machine's present time zone, even if the clock is put forward or back within a window. Pure, except
 * for the time zone, which the C library reads again when /etc/localtime changes. Never blocks; the loop's
 * thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/config/config.h"

/* Whether a window is open at `now_s` (Unix time). *ret_until_s: when it closes, or else when the next one
 * opens. A window opens the first time the clock shows its begin and closes the last time it shows its end,
 * so in a repeated hour it is open both times. If the clock leaps over the begin, the window opens at the
 * leap and has its whole length. `count` is at least 1. */
bool window_find(const struct config_window *windows, size_t count, uint64_t now_s, uint64_t *ret_until_s);
