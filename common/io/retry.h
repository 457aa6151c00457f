/* SPDX-License-Identifier: MIT */
/*
 * How long is waited before something is tried again, and how often it is: all the numbers, by what is tried.
 * A wait is drawn between 0 and a bound that doubles from the first to the longest, see common/io/backoff.h.
 */
#pragma once

enum {
    /* A small file: manifest, signature, table, a section of the pack. So it is as well where all of a
     * release is asked for once more, because its files do not fit each other or the image was replaced
     * meanwhile. */
    RETRY_FILE_FIRST_MS = 1000,
    RETRY_FILE_MAX_MS = 30 * 1000,
    /* A redirector may lead on to a better place next time; so many refusals in a row are its word. */
    RETRY_FILE_REFUSALS_MAX = 4,

    /* A range of the image or the pack. */
    RETRY_RANGE_FIRST_MS = 1000,
    RETRY_RANGE_MAX_MS = 60 * 1000,
    /* Answers for so long, of no use all of them, are the server's last word where nobody asked for patience
     * and nothing better ever came; and so they are of another image, for then its manifest is to be read. */
    RETRY_RANGE_REFUSED_MAX_MS = 5 * 1000,
    RETRY_RANGE_REFUSED_WAIT_MAX_MS = 4 * 1000,
    /* Bytes from the server that do not fit the table are asked for once more: a proxy may have mangled them.
     */
    RETRY_RANGE_MISFITS_MAX = 2,

    /* The command, where the image is replaced during its download: how often it begins anew, while there is
     * time, for a server whose files never come to rest would have it read for ever; and unless patience was
     * asked for, so many readings of the same manifest are enough. */
    RETRY_ROUNDS_MAX = 16,
    RETRY_IDLE_ROUNDS_MAX = 2,

    /* The daemon's next look at the server. A glitch passes in seconds; a server that is down must not be
     * asked faster than the interval for long. */
    RETRY_CHECK_FIRST_MS = 10 * 1000,
    RETRY_CHECK_FLOOR_MS = 2 * 1000,
    RETRY_CHECK_MAX_MS = 60 * 60 * 1000,
    /* A failed installation may have cost many megabytes and much wear. */
    RETRY_INSTALL_FIRST_MS = 60 * 1000,
    RETRY_INSTALL_FLOOR_MS = 10 * 1000,
    RETRY_INSTALL_MAX_MS = 6 * 60 * 60 * 1000,

    /* A slot on trial: whether the server answers, within the deadline of all its checks. */
    RETRY_HEALTH_SERVER_MS = 5 * 1000,
};
