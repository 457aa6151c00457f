/* SPDX-License-Identifier: MIT */
#include "daemon/config/config_files.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/folder.h"
#include "common/base/text.h"
#include "daemon/config/config_value.h"

enum {
    FILE_MAX = 64 * 1024, /* bytes of one file */
    LINE_MAX_BYTES =
        8 * 1024, /* of one line with its continuations; what ini_parse_stream() gets as buffer */
    DROPINS_MAX = 256,
    PROBLEMS_MAX = 100, /* more than that helps nobody */
};

/* A file on its way through inih. */
struct reading {
    const char *file;    /* for messages, without the tests' root */
    const char *next;    /* unread text */
    unsigned line;       /* of the text before `next` */
    unsigned first_line; /* where the logical line that inih has now begins */
    char part[64];       /* the line of a [Part NAME] without a key so far; "" = there is none */
    unsigned part_line;
    config_assignment_fn assignment;
    void *owner;
    struct config_problems *problems;
};

/* A drop-in by name, and the folder it is read from. */
struct dropin {
    char *name;
    const char *folder;
};

struct dropins {
    struct dropin items[DROPINS_MAX];
    size_t count;
};

void config_problems_add(struct config_problems *problems, bool is_error, const char *format, ...)
{
    char *message = NULL;
    va_list arguments;

    problems->errors += is_error;
    if (problems->count >= PROBLEMS_MAX)
        return;
    va_start(arguments, format);
    int length = vasprintf(&message, format, arguments);
    va_end(arguments);
    struct config_problem *items =
        length < 0 ? NULL : reallocarray(problems->items, problems->count + 1, sizeof(*items));
    if (!items)
        abort();
    problems->items = items;
    items[problems->count++] = (struct config_problem){.is_error = is_error, .message = message};
}

void config_problems_finish(struct config_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        free(problems->items[i].message);
    free(problems->items);
    *problems = (struct config_problems){0};
}

/* Copies the next line, its continuations joined by blanks, without the blanks around it; false at the end or
 * where it does not fit. */
static bool reading_take_line(struct reading *reading, char *line, size_t size, bool *ret_fits)
{
    size_t used = 0;
    bool continued = true;

    if (!*reading->next)
        return false;
    reading->first_line = reading->line + 1;
    *ret_fits = true;
    while (continued && *reading->next) {
        const char *from = reading->next;
        size_t length = strcspn(from, "\n");
        reading->next = from + length + (from[length] == '\n');
        reading->line++;
        while (length && strchr(" \t\r", from[length - 1]))
            length--;
        size_t blanks = strspn(from, " \t");
        blanks = blanks < length ? blanks : length;
        from += blanks;
        length -= blanks;
        /* As in systemd, a comment ends at its own line and may stand between continuations. */
        bool comment = length && (*from == '#' || *from == ';');
        if (comment && used == 0)
            break;
        if (comment)
            continue;
        continued = length && from[length - 1] == '\\';
        length -= continued;
        if (used + length + 2 > size) {
            *ret_fits = false;
            continue;
        }
        if (used)
            line[used++] = ' ';
        memcpy(line + used, from, length);
        used += length;
    }
    line[used] = 0;
    return true;
}

/* What inih would misread or silently ignore in the line; NULL = the line is fine. */
static const char *line_problem(const char *line)
{
    size_t length = strlen(line);

    if (!config_value_is_printable(line))
        return "holds a control character";
    if (*line == '[')
        return line[length - 1] == ']' && length > 2 && strcspn(line, "]") == length - 1
                   ? NULL
                   : "is no section: it must read [Name]";
    size_t key = strcspn(line, "=:");
    if (line[key] != '=')
        return "is neither a comment, a [Section] nor a Key=value";
    if (key == 0)
        return "names no key before the =";
    return NULL;
}

/* Reports a part of which nothing is said; inih does not tell of sections without keys. Any other section may
 * be empty. */
static void reading_end_section(struct reading *reading)
{
    if (*reading->part)
        config_problems_add(reading->problems, true,
                            "%s:%u: %s holds no key; it needs A= and B=", reading->file, reading->part_line,
                            reading->part);
    reading->part[0] = 0;
}

static void reading_begin_section(struct reading *reading, const char *line)
{
    reading_end_section(reading);
    reading->part_line = reading->first_line;
    if (text_has_prefix(line, "[Part ") || strcmp(line, "[Part]") == 0)
        snprintf(reading->part, sizeof(reading->part), "%s", line);
}

/* fgets() for inih: one logical line a call, so that line numbers are known here when the handler is called.
 */
static char *reading_next(char *buffer, int size, void *stream)
{
    struct reading *reading = stream;
    bool fits;

    /* inih takes "\n" off the end, hence one byte kept free. */
    while (reading_take_line(reading, buffer, (size_t)size - 1, &fits)) {
        const char *why = fits ? *buffer ? line_problem(buffer) : NULL : "is too long";
        if (why) {
            config_problems_add(reading->problems, true, "%s:%u: this line %s", reading->file,
                                reading->first_line, why);
        } else if (*buffer) {
            if (*buffer == '[')
                reading_begin_section(reading, buffer);
            return buffer;
        }
    }
    return NULL;
}

static int reading_assign(void *owner, const char *section, const char *name, const char *value)
{
    struct reading *reading = owner;
    struct config_assignment assignment = {
        .section = section,
        .key = name,
        .value = value,
        .file = reading->file,
        .line = reading->first_line,
    };

    reading->part[0] = 0;
    reading->assignment(reading->owner, &assignment);
    return 1;
}

static void read_text(struct reading *reading)
{
    /* Debian's inih lets these be set at run time; they are the library's own and have no other user here. */
    ini_allow_multiline = false;
    ini_allow_inline_comments = false;
    ini_use_stack = false;
    ini_allow_realloc = false;
    ini_initial_alloc = LINE_MAX_BYTES;
    ini_max_line = LINE_MAX_BYTES;
    int result = ini_parse_stream(reading_next, reading, reading_assign, reading);
    reading_end_section(reading);
    if (result != 0)
        config_problems_add(reading->problems, true, "%s: cannot be understood as an INI file",
                            reading->file);
}

/* Reads `path` under `root`. A missing file is a problem only where it was asked for by name. */
static void read_file(const struct config_request *request, const char *path, bool required,
                      config_assignment_fn assignment, void *owner, struct config_problems *problems)
{
    CLEANUP_FREE char *real = alloc_printf("%s%s", request->root ? request->root : "", path);
    CLEANUP_FREE char *text = NULL;
    struct error error = {0};
    size_t size;

    if (!file_read(real, FILE_MAX, &text, &size, &error)) {
        if (error.code != ENOENT || required)
            config_problems_add(problems, true, "%s", error.message);
        return;
    }
    if (memchr(text, 0, size)) {
        config_problems_add(problems, true, "%s: this is no text file", path);
        return;
    }
    struct reading reading = {
        .file = path, .next = text, .assignment = assignment, .owner = owner, .problems = problems};
    /* Editors on other systems put a byte order mark first. */
    if (text_has_prefix(text, "\xEF\xBB\xBF"))
        reading.next += 3;
    read_text(&reading);
}

/* Adds what stands in `folder`; a name already there is masked by the later folder, as in systemd. */
static void dropins_add_folder(struct dropins *dropins, const char *root, const char *folder,
                               struct config_problems *problems)
{
    CLEANUP_FREE char *real = alloc_printf("%s%s", root, folder);
    CLEANUP_FOLDER DIR *stream = opendir(real);

    if (!stream) {
        if (errno != ENOENT)
            config_problems_add(problems, true, "cannot read the folder %s: %s", folder, strerror(errno));
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!text_has_suffix(entry->d_name, ".conf")) {
            config_problems_add(problems, false, "%s/%s is not read: its name does not end in .conf", folder,
                                entry->d_name);
            continue;
        }
        size_t i = 0;
        while (i < dropins->count && strcmp(dropins->items[i].name, entry->d_name) != 0)
            i++;
        if (i == DROPINS_MAX) {
            config_problems_add(problems, true, "%s holds more than %d drop-ins", folder, DROPINS_MAX);
            break;
        }
        if (i == dropins->count)
            dropins->items[dropins->count++].name = alloc_string(entry->d_name);
        dropins->items[i].folder = folder;
    }
}

static int dropin_compare(const void *left, const void *right)
{
    const struct dropin *a = left, *b = right;

    return strcmp(a->name, b->name);
}

void config_files_read(const struct config_request *request, config_assignment_fn assignment, void *owner,
                       struct config_problems *problems)
{
    static const char *const system_files[] = {
        "/usr/lib/moonsinter/moonsinterd.conf",
        "/etc/moonsinter/moonsinterd.conf",
    };
    const char *const *files = request->file ? &request->file : system_files;
    size_t count = request->file ? 1 : sizeof(system_files) / sizeof(system_files[0]);
    CLEANUP_FREE struct dropins *dropins = alloc_zeroed(sizeof(*dropins));
    char *folders[2] = {0};

    for (size_t i = 0; i < count; i++) {
        read_file(request, files[i], request->file, assignment, owner, problems);
        folders[i] = alloc_printf("%s.d", files[i]);
        dropins_add_folder(dropins, request->root ? request->root : "", folders[i], problems);
    }
    qsort(dropins->items, dropins->count, sizeof(dropins->items[0]), dropin_compare);
    for (size_t i = 0; i < dropins->count; i++) {
        CLEANUP_FREE char *path = alloc_printf("%s/%s", dropins->items[i].folder, dropins->items[i].name);
        read_file(request, path, true, assignment, owner, problems);
        free(dropins->items[i].name);
    }
    for (size_t i = 0; i < count; i++)
        free(folders[i]);
}
