/* SPDX-License-Identifier: MIT */
/*
 * The program's log: lines on stderr, with the "<N>" priority that journald understands when stderr is the
 * journal's. Only the programs log (daemon/ and cli/), once, where a decision is made; the engine in common/
 * returns errors instead. errno is kept. Never waits for a reader: what nobody takes is lost, and how much
 * that was is said when somebody does. The loop's thread only.
 */
#pragma once

#include <stdbool.h>

/* Numbers are syslog's, as journald reads them. */
enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/* Sets the least important level shown, and whether lines carry "<N>" (true when $JOURNAL_STREAM is set). */
void log_init(enum log_level max_level, bool priorities);

/* Writes one line; line feeds within it become blanks, so that hostile text cannot forge a second line,
 * and addresses lose what may be secret in them: see text_hide_secrets(). */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
