/* SPDX-License-Identifier: MIT */
/*
 * Reads and writes numbers, sizes and durations as people write them, and takes secrets out of sentences. A
 * parser takes a whole string or refuses it: it returns 0, -EINVAL if the form is wrong, -ERANGE if the
 * number is too large; outputs are untouched on failure. Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads decimal digits, without sign and blanks. */
int text_parse_u64(const char *text, uint64_t *ret_value);

/* Reads a number of bytes: digits and at most one of K, M, G, T (powers of 1024; either case). */
int text_parse_size(const char *text, uint64_t *ret_bytes);

/* Reads a duration as in systemd.time(7), with the units from milliseconds to weeks: "5min", "1h 30min",
 * "500ms"; a number without a unit is seconds. */
int text_parse_duration(const char *text, uint64_t *ret_ms);

/* Reads yes/no, y/n, true/false, t/f, on/off or 1/0 in either case, as systemd does. */
int text_parse_bool(const char *text, bool *ret_value);

/* Writes a number of bytes for people: "3.4 MB", in powers of 1000, as of networks and disks. 16 bytes always
 * suffice. Returns ret_text. */
char *text_format_bytes(char *ret_text, size_t size, uint64_t bytes);

/* Writes a duration for people: "1h 5min", "12.3s". 32 bytes always suffice. Returns ret_text. */
char *text_format_duration(char *ret_text, size_t size, uint64_t ms);

/* Whether `text` begins with `prefix`. */
bool text_has_prefix(const char *text, const char *prefix);

/* Whether `text` ends with `suffix`. */
bool text_has_suffix(const char *text, const char *suffix);

/* Takes what may be secret out of the addresses in a sentence, in place: user and password; what follows a
 * "?" or "#"; and what is between a port and a later "@", as the "port" may be the beginning of a password. A
 * last safeguard for messages: known addresses are shown by url_shown() (common/image/url.h), but people may
 * write an address in any setting or file. The text gets no longer. */
void text_hide_secrets(char *text);
