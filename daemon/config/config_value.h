/* SPDX-License-Identifier: MIT */
/*
 * What single values of the settings may look like, beyond the numbers and durations of common/base/text.h.
 * Each returns NULL where the value is good, else half a sentence that goes on after "KEY=VALUE: ". Pure; any
 * thread.
 */
#pragma once

#include <stdbool.h>

#include "daemon/config/config.h"

/* An http:// or https:// address of a file. */
const char *config_value_check_url(const char *text);

/* A proxy as curl takes it: [SCHEME://]HOST[:PORT]; schemes http, https, socks4, socks4a, socks5, socks5h. */
const char *config_value_check_proxy(const char *text);

/* An absolute path, or PARTUUID=, PARTLABEL=, LABEL=, UUID= and a name. */
const char *config_value_check_slot(const char *text);

/* An absolute path without "." or ".." in it. */
const char *config_value_check_path(const char *text);

/* rauc or mender. */
const char *config_value_check_uboot_variables(const char *text);

/* The file name of one of systemd-boot's entries, NAME.conf or NAME.efi, without counters. */
const char *config_value_check_entry(const char *text);

/* A slot's name to a boot program: a word that is no option. */
const char *config_value_check_boot_name(const char *text);

/* A name of a group as useradd(8) allows it, or a number. */
const char *config_value_check_group(const char *text);
const char *config_value_check_units(const char *text);

/* "Sat,Sun 02:00-04:00", "Mon..Fri 22:00-06:00", "02:00-04:00"; *ret_window is untouched on failure. */
const char *config_value_parse_window(const char *text, struct config_window *ret_window);

/* Whether the settings can hold this text at all: no control characters (a tab is fine). */
bool config_value_is_printable(const char *text);
