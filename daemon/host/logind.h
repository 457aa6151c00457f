/* SPDX-License-Identifier: MIT */
/*
 * Asks systemd-logind over the D-Bus system bus who holds off a shutdown, and to reboot. The only user of
 * sd-bus. Each call opens a connection of its own and waits up to some seconds for an answer, so pool
 * threads only. Built without libsystemd, it answers that there is no logind.
 */
#pragma once

#include <stdbool.h>

#include "common/base/error.h"

enum logind_answer {
    LOGIND_ANSWER_YES,       /* nobody objects, or the reboot is on its way */
    LOGIND_ANSWER_INHIBITED, /* somebody holds off shutdowns; the error (refused) names him */
    LOGIND_ANSWER_ABSENT,    /* there is no logind to ask */
    LOGIND_ANSWER_FAILED,    /* logind did not do what it was asked, see the error */
};

/* Whether anybody holds off shutdowns, as systemd-inhibit --what=shutdown --mode=block does. */
enum logind_answer logind_find_inhibitor(struct error *error);

/* Reboots the machine; `argument` is for its firmware, NULL = none. With `heed_inhibitors` only if nobody
 * holds it off. A program that only asked for a delay gets it from logind in either case. */
enum logind_answer logind_reboot(const char *argument, bool heed_inhibitors, struct error *error);
