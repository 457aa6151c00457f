/* SPDX-License-Identifier: MIT */
/*
 * The sections [Part NAME], one for each part of a set: they stand as often as there are parts, so their keys
 * are a table of their own, and each part has a place and origins of its own. Used by the files of
 * daemon/config only. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "daemon/config/config.h"
#include "daemon/config/config_table.h"

/* How the section is called where no part is meant in particular. */
#define CONFIG_PART_SECTION "Part NAME"

/* Whether a section is one of a part, whatever its name is worth. */
bool config_part_is_section(const char *section);

/* The part that such a section is of, added where there was none, by its index in config->parts. Returns
 * NULL, or half a sentence that goes on after "[SECTION]"; then nothing has changed. */
const char *config_part_take(struct config *config, const char *section, unsigned *ret_part);

/* The row of that key in config_part_keys; config_part_key_count if there is none. */
size_t config_part_find_key(const char *key);

/* Row `index` for one part: its offset is in struct config, so that config_key_set() takes it. */
struct config_key config_part_key(unsigned part, size_t index);

/* Takes out the parts that have no place because drop-ins took both back, with their origins. */
void config_part_drop_empty(struct config *config);

/* Frees what the parts hold. */
void config_part_clear_all(struct config *config);

/* What is wrong with the parts that are left: a place that is missing, or that stands twice, be it as a slot.
 */
void config_part_check(const struct config *config, struct config_problems *problems);
