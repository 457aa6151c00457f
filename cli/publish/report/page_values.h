/* SPDX-License-Identifier: MIT */
/*
 * Collects the values of a page for template.h. Pure.
 */
#pragma once

#include "common/base/json.h"

/* Add an empty list under `name`, and an empty object to the end of a list; both belong to what they were
 * added to. */
struct json_object *page_values_add_list(struct json_object *values, const char *name);
struct json_object *page_values_add_item(struct json_object *list);

/* Bytes as people read them, "1.4 MB". */
void page_values_add_size(struct json_object *values, const char *name, uint64_t bytes);

/* part / whole as a percentage, with two digits. */
void page_values_add_share(struct json_object *values, const char *name, uint64_t part, uint64_t whole);
