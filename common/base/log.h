/* SPDX-License-Identifier: MIT */
/*
 * The program's log: lines on stderr, for journald with the priority "<N>" in front. Only the daemon and the
 * command log, each thing once, where it is decided; the engine in common/ returns errors. errno is kept.
 * Does not wait for a reader: a line that stderr does not take at once is lost, and the next one that it
 * takes is preceded by how many were lost. The loop's thread only.
 */
#pragma once

#include <stdbool.h>

/* The numbers are those of syslog(3), which journald reads. */
enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/* Sets the least important level that is shown, and whether lines begin with "<N>", which is for the journal
 * ($JOURNAL_STREAM is set). Without it: LOG_LEVEL_INFO, and no "<N>". */
void log_init(enum log_level max_level, bool priorities);

/* Writes one line. Control characters become blanks, so that hostile text cannot make up a second line, and
 * the secrets of addresses are taken out by text_hide_secrets(). */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
