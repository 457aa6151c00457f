/* SPDX-License-Identifier: MIT */
#include "cli/publish/report/diff_map.h"

#include <inttypes.h>
#include <stdbool.h>

#include "common/base/text.h"

enum {
    ROW_BYTES_LEAST = 1024 * 1024,
    ROWS_MAX = 40,
    ROW_WIDTH = 1000, /* units of the picture */
    ROW_HEIGHT = 12,
    ROW_LINE = 9, /* of a row's height; the rest is the gap */
};

struct map {
    const struct diff_report *report;
    uint64_t row_bytes;
    unsigned rows;
};

/* A stretch of chunks with one fate. */
struct stretch {
    uint64_t begin, end; /* bytes */
    enum diff_fate fate;
};

static const char *fate_meaning(enum diff_fate fate)
{
    switch (fate) {
    case DIFF_FATE_KEEP:
        return "kept: OLD has it at the same place";
    case DIFF_FATE_COPY:
        return "copied: OLD has it elsewhere, or NEW more than once";
    case DIFF_FATE_PATCH:
        return "patched: made from OLD and a patch";
    case DIFF_FATE_FETCH:
        return "fetched";
    }
    return "";
}

/* The stretch that begins with chunk *index, which is moved behind it. */
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

/* Draws the part of a stretch that each row has. Nothing is drawn too narrow to be seen. */
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

/* What costs most is drawn last, above the rest. */
static void draw(FILE *out, const struct map *map)
{
    const struct diff_report *report = map->report;

    for (int fate = 0; fate < DIFF_FATES; fate++) {
        if (report->facts.fate_bytes[fate] == 0)
            continue;
        fprintf(out, "<path class=\"%s\" stroke-width=\"%d\" d=\"", diff_fate_name(fate), ROW_LINE);
        for (uint64_t index = 0; index < report->diff.chunks;) {
            struct stretch stretch = take_stretch(report, &index);
            if ((int)stretch.fate == fate)
                draw_stretch(out, map, &stretch);
        }
        fputs("\"/>\n", out);
    }
}

static void write_legend(FILE *out, const struct diff_report *report)
{
    char text[16];

    fputs("<ul class=\"keys\">\n", out);
    for (int fate = 0; fate < DIFF_FATES; fate++)
        fprintf(out,
                "<li data-fate=\"%s\" data-bytes=\"%" PRIu64 "\"><span class=\"key %s\"></span>"
                "<span>%s <b>%s</b></span></li>\n",
                diff_fate_name(fate), report->facts.fate_bytes[fate], diff_fate_name(fate),
                fate_meaning(fate), text_format_bytes(text, sizeof(text), report->facts.fate_bytes[fate]));
    fputs("</ul>\n", out);
}

/* Bytes by fate in each row. */
static void write_table(FILE *out, const struct map *map)
{
    const struct diff_report *report = map->report;
    uint64_t index = 0;

    fputs(
        "<details><summary>The map in numbers</summary>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
        "aria-label=\"The map in numbers\"><table><caption>Bytes of each row</caption>\n<thead><tr>"
        "<th scope=\"col\">row begins at</th><th scope=\"col\">kept</th><th scope=\"col\">copied</th>"
        "<th scope=\"col\">patched</th><th scope=\"col\">fetched</th></tr></thead>\n<tbody>\n",
        out);
    for (unsigned row = 0; row < map->rows; row++) {
        uint64_t row_end = (row + 1) * map->row_bytes, bytes[DIFF_FATES] = {0};
        /* A chunk counts in the row that it begins in. */
        for (; index < report->diff.chunks && report->diff.chunk_list[index].offset < row_end; index++)
            bytes[report->diff.chunk_list[index].fate] += report->diff.chunk_list[index].size;
        fprintf(out, "<tr><th scope=\"row\">%" PRIu64 "</th>", row * map->row_bytes);
        for (int fate = 0; fate < DIFF_FATES; fate++)
            fprintf(out, "<td>%" PRIu64 "</td>", bytes[fate]);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div></details>\n", out);
}

void diff_map_write(FILE *out, const struct diff_report *report)
{
    uint64_t size = report->diff.new_size;
    struct map map = {.report = report, .row_bytes = (size + ROWS_MAX - 1) / ROWS_MAX};
    char text[16], found[16], missing[16];

    if (map.row_bytes < ROW_BYTES_LEAST)
        map.row_bytes = ROW_BYTES_LEAST;
    map.rows = (unsigned)((size + map.row_bytes - 1) / map.row_bytes);
    fputs("<h2>Where NEW comes from</h2>\n", out);
    write_legend(out, report);
    if (size == 0) {
        fputs("<p>NEW is empty.</p>\n", out);
        return;
    }
    fprintf(
        out,
        "<svg class=\"map\" role=\"img\" aria-labelledby=\"map-title map-text\" viewBox=\"0 0 %d %u\" "
        "height=\"%u\" preserveAspectRatio=\"none\" xmlns=\"http://www.w3.org/2000/svg\">\n"
        "<title id=\"map-title\">Map of NEW</title>\n<desc id=\"map-text\">Of NEW, %s come from OLD as they are; "
        "%s are patched or fetched. The map in numbers follows.</desc>\n",
        ROW_WIDTH, map.rows * ROW_HEIGHT, map.rows * ROW_HEIGHT,
        text_format_bytes(found, sizeof(found),
                          report->facts.fate_bytes[DIFF_FATE_KEEP] +
                              report->facts.fate_bytes[DIFF_FATE_COPY]),
        text_format_bytes(missing, sizeof(missing),
                          report->facts.fate_bytes[DIFF_FATE_PATCH] +
                              report->facts.fate_bytes[DIFF_FATE_FETCH]));
    draw(out, &map);
    fprintf(
        out,
        "</svg>\n<p class=\"soft\">NEW from its first byte, top left, to its last; a row is %s. What is patched or "
        "fetched is drawn at least a thousandth of a row wide.</p>\n",
        text_format_bytes(text, sizeof(text), map.row_bytes));
    write_table(out, &map);
}
