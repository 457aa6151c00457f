/* SPDX-License-Identifier: MIT */
#include "cli/publish/report/template.h"

#include <assert.h>
#include <string.h>

#include "cli/plain_text.h"
#include "common/base/alloc.h"

enum { NAME_SIZE = 32 };

/* The values in which names are looked up, the innermost first. */
struct scope {
    struct json_object *values;
    const struct scope *outer;
};

static struct json_object *find(const struct scope *scope, const char *name)
{
    struct json_object *value = NULL;

    while (scope && !json_object_object_get_ex(scope->values, name, &value))
        scope = scope->outer;
    return value;
}

static void write_text(FILE *out, const char *text)
{
    static const char special[] = "&<>\"'";
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    CLEANUP_FREE char *plain = plain_text_new(text);

    for (const char *at = plain; *at; at++) {
        const char *found = strchr(special, *at);
        if (found)
            fputs(entities[found - special], out);
        else
            fputc(*at, out);
    }
}

static const char *write_section(FILE *out, const char *text, struct json_object *value, bool is_inverted,
                                 const struct scope *scope);

/* Writes up to the end of the section that `text` is in, and returns what follows it. If `out` is NULL, it
 * only finds that end. */
static const char *write_part(FILE *out, const char *text, const struct scope *scope)
{
    for (const char *tag; (tag = strstr(text, "{{"));) {
        const char *begin = tag + 2 + (strchr("#^/", tag[2]) != NULL), *end = strstr(begin, "}}");
        char name[NAME_SIZE] = {0};
        assert(end && (size_t)(end - begin) < sizeof(name));
        memcpy(name, begin, (size_t)(end - begin));
        if (out)
            fwrite(text, 1, (size_t)(tag - text), out);
        text = end + 2;
        if (tag[2] == '/')
            return text;
        struct json_object *value = find(scope, name);
        if (begin > tag + 2)
            text = write_section(out, text, value, tag[2] == '^', scope);
        else if (out && value)
            write_text(out, json_object_get_string(value));
    }
    if (out)
        fputs(text, out);
    return text;
}

static const char *write_section(FILE *out, const char *text, struct json_object *value, bool is_inverted,
                                 const struct scope *scope)
{
    bool is_list = json_object_is_type(value, json_type_array);
    size_t count = is_list ? json_object_array_length(value) : (size_t)json_object_get_boolean(value);

    if (is_inverted)
        count = count == 0;
    for (size_t i = 0; out && i < count; i++) {
        struct scope inner = {.values = is_list && !is_inverted ? json_object_array_get_idx(value, i)
                                                                : scope->values,
                              .outer = scope};
        write_part(out, text, &inner);
    }
    return write_part(NULL, text, scope);
}

void template_write(FILE *out, const char *template, struct json_object *values)
{
    const struct scope scope = {.values = values};

    write_part(out, template, &scope);
}
