/* SPDX-License-Identifier: MIT */
/*
 * How long to wait before something is tried again, and how often to try: all the numbers, by what is tried.
 * A wait is drawn between 0 and a bound that doubles from the first to the longest, see common/io/backoff.h.
 */
#pragma once

enum {
    /* A small file: manifest, signature, table, a section of the pack. Also all files of a release, when they
     * do not fit each other or the image was replaced meanwhile. */
    RETRY_FILE_FIRST_MS = 1000,
    RETRY_FILE_MAX_MS = 30 * 1000,
    /* A redirector may lead to a better server next time; after so many refusals in a row it is believed. */
    RETRY_FILE_REFUSALS_MAX = 4,

    /* A range of the image or the pack. */
    RETRY_RANGE_FIRST_MS = 1000,
    RETRY_RANGE_MAX_MS = 60 * 1000,
    /* How long useless answers are borne before they end the transfer, if nobody asked for patience and no
     * good answer ever came; also if they are of another image, as then its manifest must be read. */
    RETRY_RANGE_REFUSED_MAX_MS = 5 * 1000,
    RETRY_RANGE_REFUSED_WAIT_MAX_MS = 4 * 1000,
    /* Bytes that do not fit the table are fetched once more: a proxy may have damaged them. */
    RETRY_RANGE_MISFITS_MAX = 2,

    /* The command, when the image is replaced during the download: how often it begins anew within its time,
     * as a server whose files change all the time would keep it reading for ever; and after how many readings
     * of the same manifest it gives up, unless patience was asked for. */
    RETRY_ROUNDS_MAX = 16,
    RETRY_IDLE_ROUNDS_MAX = 2,

    /* The daemon's next check after a failed one. A glitch passes in seconds; but a server that stays down
     * must soon not be asked more often than the interval says. */
    RETRY_CHECK_FIRST_MS = 10 * 1000,
    RETRY_CHECK_FLOOR_MS = 2 * 1000,
    RETRY_CHECK_MAX_MS = 60 * 60 * 1000,
    /* A failed installation may have cost many megabytes and much wear. */
    RETRY_INSTALL_FIRST_MS = 60 * 1000,
    RETRY_INSTALL_FLOOR_MS = 10 * 1000,
    RETRY_INSTALL_MAX_MS = 6 * 60 * 60 * 1000,

    /* A slot on trial: the wait before asking again whether the server answers, within the deadline of all
     * health checks. */
    RETRY_HEALTH_SERVER_MS = 5 * 1000,

    /* A verdict that could not be written down: by then the medium or the boot loader's file may be there
     * again. */
    RETRY_VERDICT_MS = 30 * 1000,

    /* A held reboot, or one that failed, is judged again at least this often, since the clock may be set or
     * an inhibitor may end. */
    RETRY_REBOOT_MS = 60 * 1000,
};
