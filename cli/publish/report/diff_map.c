/* SPDX-License-Identifier: MIT */
#include "cli/publish/report/diff_map.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/publish/report/page_values.h"
#include "common/base/alloc.h"

enum {
    ROW_BYTES_LEAST = 1024 * 1024,
    ROWS_MAX = 40,
    ROW_WIDTH = 1000, /* units of the picture, as in page.html */
    ROW_HEIGHT = 12,
};

struct map {
    const struct diff_report *report;
    uint64_t row_bytes;
    unsigned rows;
};

/* A stretch of chunks with the same fate. */
struct stretch {
    uint64_t begin, end; /* bytes */
    enum diff_fate fate;
};

static const char *const fate_meanings[DIFF_FATES] = {
    [DIFF_FATE_KEEP] = "kept: OLD has it at the same place",
    [DIFF_FATE_COPY] = "copied: OLD has it elsewhere, or NEW more than once",
    [DIFF_FATE_PATCH] = "patched: made from OLD and a patch",
    [DIFF_FATE_FETCH] = "fetched",
};

/* Takes the stretch that begins with chunk *index, and moves *index behind it. */
static struct stretch take_stretch(const struct diff_report *report, uint64_t *index)
{
    const struct diff_chunk *first = &report->diff.chunk_list[*index], *chunk = first;

    do {
        chunk++;
        ++*index;
    } while (*index < report->diff.chunks && chunk->fate == first->fate);
    return (struct stretch){
        .begin = first->offset, .end = chunk[-1].offset + chunk[-1].size, .fate = first->fate};
}

/* Draws the part of a stretch in each row it touches, always wide enough to be seen. */
static void draw_stretch(FILE *out, const struct map *map, const struct stretch *stretch)
{
    for (uint64_t row = stretch->begin / map->row_bytes; row * map->row_bytes < stretch->end; row++) {
        uint64_t row_begin = row * map->row_bytes, row_end = row_begin + map->row_bytes;
        uint64_t begin = stretch->begin > row_begin ? stretch->begin : row_begin;
        uint64_t end = stretch->end < row_end ? stretch->end : row_end;
        double x = (double)(begin - row_begin) * ROW_WIDTH / (double)map->row_bytes;
        double width = (double)(end - begin) * ROW_WIDTH / (double)map->row_bytes;
        fprintf(out, "M%.4g %uh%.4g", x, (unsigned)row * ROW_HEIGHT + ROW_HEIGHT / 2, width < 1 ? 1 : width);
    }
}

static void add_lines(struct json_object *lines, const struct map *map, enum diff_fate fate)
{
    struct json_object *values = page_values_add_item(lines);
    CLEANUP_FREE char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        abort();
    for (uint64_t index = 0; index < map->report->diff.chunks;) {
        struct stretch stretch = take_stretch(map->report, &index);
        if (stretch.fate == fate)
            draw_stretch(out, map, &stretch);
    }
    if (fclose(out) != 0)
        abort();
    json_add_string(values, "fate", diff_fate_name(fate));
    json_add_string(values, "line", text);
}

/* Adds each row's bytes by fate. */
static void add_rows(struct json_object *values, const struct map *map)
{
    const struct diff_report *report = map->report;
    struct json_object *rows = page_values_add_list(values, "rows");
    uint64_t index = 0;

    for (unsigned row = 0; row < map->rows; row++) {
        uint64_t row_end = (row + 1) * map->row_bytes, bytes[DIFF_FATES] = {0};
        struct json_object *item = page_values_add_item(rows);
        /* A chunk counts in the row that it begins in. */
        for (; index < report->diff.chunks && report->diff.chunk_list[index].offset < row_end; index++)
            bytes[report->diff.chunk_list[index].fate] += report->diff.chunk_list[index].size;
        json_add_u64(item, "begin", row * map->row_bytes);
        for (int fate = 0; fate < DIFF_FATES; fate++)
            json_add_u64(item, diff_fate_name(fate), bytes[fate]);
    }
}

void diff_map_add_fates(struct json_object *values, const struct diff_report *report)
{
    struct json_object *fates = page_values_add_list(values, "fates");

    for (int fate = 0; fate < DIFF_FATES; fate++) {
        struct json_object *item = page_values_add_item(fates);
        json_add_string(item, "fate", diff_fate_name(fate));
        json_add_string(item, "meaning", fate_meanings[fate]);
        json_add_u64(item, "bytes", report->facts.fate_bytes[fate]);
        page_values_add_size(item, "size", report->facts.fate_bytes[fate]);
    }
}

void diff_map_add(struct json_object *values, const struct diff_report *report)
{
    const uint64_t *bytes = report->facts.fate_bytes, size = report->diff.new_size;
    struct map map = {.report = report, .row_bytes = (size + ROWS_MAX - 1) / ROWS_MAX};
    struct json_object *lines = page_values_add_list(values, "lines");

    if (map.row_bytes < ROW_BYTES_LEAST)
        map.row_bytes = ROW_BYTES_LEAST;
    map.rows = (unsigned)((size + map.row_bytes - 1) / map.row_bytes);
    json_add_u64(values, "height", (uint64_t)map.rows * ROW_HEIGHT);
    page_values_add_size(values, "row_size", map.row_bytes);
    page_values_add_size(values, "found", bytes[DIFF_FATE_KEEP] + bytes[DIFF_FATE_COPY]);
    page_values_add_size(values, "missing", bytes[DIFF_FATE_PATCH] + bytes[DIFF_FATE_FETCH]);
    diff_map_add_fates(values, report);
    /* What costs most is drawn last, on top of the rest. */
    for (int fate = 0; fate < DIFF_FATES; fate++)
        if (bytes[fate] > 0)
            add_lines(lines, &map, fate);
    add_rows(values, &map);
}
