/* SPDX-License-Identifier: MIT */
/*
 * Text in EFI variables, as efivarfs shows them: one file a variable, four bytes of attributes and then
 * the value, here UTF-16LE with a zero at its end. A write is one write(2) of the whole; the firmware
 * replaces the variable or leaves it as it was. Variables that are not on the kernel's list are immutable
 * files until that flag is taken away, which needs CAP_LINUX_IMMUTABLE. May block on the firmware: pool
 * threads, or before the loop runs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

enum { EFI_VARIABLE_TEXT_SIZE = 256 }; /* with the zero; more than any entry used here has */

/* Reads the text of the variable whose file is `path` into `ret_text` (of EFI_VARIABLE_TEXT_SIZE); "" where
 * there is no such variable. It may hold anything: a character that is not printable ASCII reads as "?", and
 * a longer text is cut. */
bool efi_variable_read(const char *path, char *ret_text, struct error *error);

/* Sets the variable, unless it holds `text` already, and reads it back. */
bool efi_variable_write(const char *path, const char *text, struct error *error);

/* Removes the variable, if it is there. */
bool efi_variable_remove(const char *path, struct error *error);

/* Reads a number of eight bytes; false where there is no such variable. */
bool efi_variable_read_u64(const char *path, uint64_t *ret_value);
