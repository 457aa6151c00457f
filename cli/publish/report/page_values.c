/* SPDX-License-Identifier: MIT */
#include "cli/publish/report/page_values.h"

#include <stdio.h>

#include "common/base/text.h"

struct json_object *page_values_add_list(struct json_object *values, const char *name)
{
    struct json_object *list = json_object_new_array();

    json_object_object_add(values, name, list);
    return list;
}

struct json_object *page_values_add_item(struct json_object *list)
{
    struct json_object *item = json_object_new_object();

    json_object_array_add(list, item);
    return item;
}

void page_values_add_size(struct json_object *values, const char *name, uint64_t bytes)
{
    char text[16];

    json_add_string(values, name, text_format_bytes(text, sizeof(text), bytes));
}

void page_values_add_share(struct json_object *values, const char *name, uint64_t part, uint64_t whole)
{
    char text[32];

    snprintf(text, sizeof(text), "%.2f", whole ? 100 * (double)part / (double)whole : 0);
    json_add_string(values, name, text);
}
