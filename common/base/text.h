/* SPDX-License-Identifier: MIT */
/*
 * Numbers, sizes and durations as people write them. Every parser takes the whole string or refuses it:
 * returns 0, -EINVAL for what does not parse, -ERANGE for what does not fit; outputs untouched on failure.
 * Never blocks; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits only, no sign, no blanks. */
int text_parse_u64(const char *text, uint64_t *ret_value);

/* Bytes: digits and at most one of K, M, G, T (1024-based, either case). */
int text_parse_size(const char *text, uint64_t *ret_bytes);

/* Durations as systemd.time(7) writes them: "5min", "1h 30min", "500ms"; a bare number is seconds. */
int text_parse_duration(const char *text, uint64_t *ret_ms);

/* yes/no, true/false, on/off, 1/0, as systemd reads them. */
int text_parse_bool(const char *text, bool *ret_value);

/* Bytes for people: "3.4 MB", 1000-based as networks and disks are sold. `size` of 16 always suffices. */
char *text_format_bytes(char *ret_text, size_t size, uint64_t bytes);

/* Milliseconds for people: "1h 5min", "12.3s"; `size` of 32 always suffices. */
char *text_format_duration(char *ret_text, size_t size, uint64_t ms);

/* True where `text` begins with `prefix`. */
bool text_has_prefix(const char *text, const char *prefix);

/* True where `text` ends with `suffix`. */
bool text_has_suffix(const char *text, const char *suffix);

/* Takes out of a sentence, in place, what may be secret in the addresses that stand in it: user and password,
 * and what follows a "?", a "#", or a port, where an @ comes behind it. For messages: addresses of ours do
 * not come here (see common/image/url.h), but somebody may write one where it does not belong. */
void text_hide_secrets(char *text);
