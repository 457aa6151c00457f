/* SPDX-License-Identifier: MIT */
#include "cli/publish/report/diff_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/publish/report/diff_map.h"
#include "cli/event_line.h"
#include "cli/publish/report/html.h"
#include "common/base/text.h"
#include "common/base/version.h"

/* Colours pass 3:1 against their background, and differ in lightness as well as in hue. */
static const char style[] =
    ":root{color-scheme:light dark;--back:#fff;--text:#1b1f23;--soft:#57606a;--line:#d0d7de;--panel:#f6f8fa;"
    "--keep:#7f8f9b;--copy:#2f6fb7;--patch:#b97900;--fetch:#c2185b}"
    "@media(prefers-color-scheme:dark){:root{--back:#14181c;--text:#e6edf3;--soft:#9aa5b1;--line:#39424b;"
    "--panel:#1d2329;--keep:#63727e;--copy:#5aa0e6;--patch:#e9b949;--fetch:#f0568a}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem 3rem}"
    "h1{font-size:1.6rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}"
    "h2{font-size:1.2rem;margin:2.2rem 0 .6rem}p{margin:.4rem 0 .8rem;max-width:46rem}"
    "code{font-family:ui-monospace,monospace;font-size:.9em;overflow-wrap:anywhere}p code{white-space:nowrap}"
    ".soft{color:var(--soft)}"
    ".keys{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;list-style:none;padding:0;margin:.6rem 0}"
    ".keys li{display:flex;align-items:baseline;gap:.5rem}.images li{display:block}"
    ".key{flex:none;width:.8rem;height:.8rem;border-radius:2px;background:var(--c)}"
    ".keep{--c:var(--keep)}.copy{--c:var(--copy)}.patch{--c:var(--patch)}.fetch{--c:var(--fetch)}"
    ".map{display:block;width:100%;background:var(--panel);border:1px solid var(--line);border-radius:4px}"
    ".map path{stroke:var(--c);fill:none}"
    ".scroll{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;color:var(--soft);padding:0 0 .4rem}"
    "th,td{padding:.4rem .7rem .4rem 0;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}"
    "th:first-child,td:first-child{text-align:left}thead th{font-weight:600;white-space:nowrap}"
    "tbody th{font-weight:400}.ours th,.ours td{font-weight:600}"
    "td{white-space:nowrap}.bar{min-width:6rem;width:22%}"
    ".bar span{display:block;height:.7rem;margin-top:.45rem;min-width:2px;background:var(--copy);border-radius:2px}"
    ".advice{padding-left:1.2rem;max-width:46rem}.advice li{margin:.6rem 0}"
    "summary{cursor:pointer}details{margin:.8rem 0}"
    "@media(max-width:40rem){.bar,.wide{display:none}th,td{padding-right:.5rem}}"
    "@media print{details{display:none}}";

static const char *way_title(enum diff_way way)
{
    switch (way) {
    case DIFF_WAY_WHOLE:
        return "the whole image";
    case DIFF_WAY_WHOLE_PACKED:
        return "the whole image, zstd -19";
    case DIFF_WAY_FIXED:
        return "fixed chunks at the same place";
    case DIFF_WAY_BLOCKS:
        return "blocks of 4 KiB at any multiple of it";
    case DIFF_WAY_CONTENT_DEFINED:
        return "content-defined chunks";
    case DIFF_WAY_PACK:
        return "content-defined chunks from a pack";
    case DIFF_WAY_PATCHES:
        return "patches against OLD, and the pack";
    }
    return "";
}

static uint64_t total_of(const struct diff_cost *cost)
{
    return cost->list_bytes + cost->data_bytes;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100 * (double)part / (double)whole : 0;
}

static void write_image(FILE *out, const char *role, const char *path, uint64_t size,
                        const struct superblock *superblock)
{
    char text[16];

    fprintf(out, "<li><b>%s</b> <code>", role);
    html_write_text(out, path);
    fprintf(out, "</code> <span class=\"soft\">%s", text_format_bytes(text, sizeof(text), size));
    if (superblock->kind != SUPERBLOCK_UNKNOWN)
        fprintf(out, ", %s", superblock_kind_name(superblock->kind));
    if (superblock->compression)
        fprintf(out, ", %s", superblock->compression);
    if (superblock->block_size)
        fprintf(out, ", blocks of %" PRIu32 " KiB", superblock->block_size / 1024);
    fputs("</span></li>\n", out);
}

static void write_beginning(FILE *out, const struct diff_report *report,
                            const struct diff_report_names *names)
{
    const struct diff_cost *cost = &report->costs[DIFF_WAY_PATCHES];
    char text[16], whole[16];

    fputs(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\"/>\n"
        "<title>moonsinter: what an update costs</title>\n<style>",
        out);
    fputs(style, out);
    fprintf(out, "</style>\n</head>\n<body>\n<main>\n<h1>This update costs %s of %s</h1>\n",
            text_format_bytes(text, sizeof(text), total_of(cost)),
            text_format_bytes(whole, sizeof(whole), report->diff.new_size));
    fputs(
        "<p>That is what a device that holds OLD fetches to have NEW, where NEW is published by <code>moonsinter "
        "generate</code> with <code>--pack</code> and <code>--base OLD</code>.</p>\n<ul class=\"keys images\">\n",
        out);
    write_image(out, "OLD", names->old_path, report->diff.old_size, &report->facts.old_superblock);
    write_image(out, "NEW", names->new_path, report->diff.new_size, &report->facts.new_superblock);
    fputs("</ul>\n", out);
}

static void write_ways(FILE *out, const struct diff_report *report, const struct diff_report_names *names)
{
    uint64_t most = 1;
    bool estimated = false;
    char list[16], data[16], total[16];

    for (int way = 0; way < DIFF_WAYS; way++) {
        most = total_of(&report->costs[way]) > most ? total_of(&report->costs[way]) : most;
        estimated = estimated || report->costs[way].estimated;
    }
    fputs(
        "<h2>What other ways would cost</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
        "aria-label=\"What other ways would cost\"><table>\n<thead><tr><th scope=\"col\">way</th>"
        "<th scope=\"col\" class=\"wide\">lists</th><th scope=\"col\" class=\"wide\">data</th>"
        "<th scope=\"col\">together</th><th scope=\"col\">of NEW</th><td class=\"bar\"></td></tr></thead>\n<tbody>\n",
        out);
    for (int way = DIFF_WAYS - 1; way >= 0; way--) {
        const struct diff_cost *cost = &report->costs[way];
        fprintf(out,
                "<tr%s data-way=\"%s\" data-list=\"%" PRIu64 "\" data-data=\"%" PRIu64
                "\"><th scope=\"row\">%s%s</th><td class=\"wide\">%s</td><td class=\"wide\">%s</td>"
                "<td title=\"%" PRIu64 " bytes\">%s</td><td>%.2f&#160;%%</td>"
                "<td class=\"bar\"><span style=\"width:%.2f%%\"></span></td></tr>\n",
                way >= DIFF_WAY_PACK ? " class=\"ours\"" : "", diff_way_name(way), cost->list_bytes,
                cost->data_bytes, way_title(way), cost->estimated ? " (estimated)" : "",
                text_format_bytes(list, sizeof(list), cost->list_bytes),
                text_format_bytes(data, sizeof(data), cost->data_bytes), total_of(cost),
                text_format_bytes(total, sizeof(total), total_of(cost)),
                percent(total_of(cost), report->diff.new_size), percent(total_of(cost), most));
    }
    fprintf(
        out,
        "</tbody></table></div>\n<p class=\"soft\">Lists are what tells a device what there is: manifest, table of "
        "chunks, index of the patches; for the fixed chunks of %" PRIu32
        " KiB 9 bytes each, for blocks 32 each. The two ways in bold were measured: NEW was published for this "
        "report, and every chunk and patch counted.%s</p>\n",
        names->chunk_size / 1024,
        estimated ? " The whole image's compressed size is reckoned from eight samples of 4 MiB." : "");
}

static void write_advice(FILE *out, const struct diff_report *report)
{
    fputs("<h2>What could be better</h2>\n", out);
    if (report->advice_count == 0) {
        fputs(
            "<p>Nothing that this report looks for: the images are in no format that hides what they share, "
            "and no more of them has moved or got new times than what changed.</p>\n",
            out);
        return;
    }
    fputs("<ul class=\"advice\">\n", out);
    for (size_t i = 0; i < report->advice_count; i++) {
        fprintf(out, "<li data-advice=\"%s\">", report->advice[i].code);
        html_write_text(out, report->advice[i].text);
        fputs("</li>\n", out);
    }
    fputs("</ul>\n", out);
}

static void write_page(FILE *out, const struct diff_report *report, const struct diff_report_names *names)
{
    write_beginning(out, report, names);
    diff_map_write(out, report);
    write_ways(out, report, names);
    write_advice(out, report);
    fprintf(out, "<p class=\"soft\">Made by moonsinter %s.</p>\n</main>\n</body>\n</html>\n", version_text());
}

bool diff_report_make_page(const struct diff_report *report, const struct diff_report_names *names,
                           char **ret_page, size_t *ret_size, struct error *error)
{
    FILE *out = open_memstream(ret_page, ret_size);

    if (!out)
        return error_set(error, ERROR_SYSTEM, "there is no memory for the report");
    write_page(out, report, names);
    if (fclose(out) == 0)
        return true;
    free(*ret_page);
    return error_set(error, ERROR_SYSTEM, "there is no memory for the report");
}

void diff_report_write_events(const struct diff_report *report)
{
    struct json_object *event = event_line_new("fates");
    char name[16];

    for (int fate = 0; fate < DIFF_FATES; fate++) {
        snprintf(name, sizeof(name), "bytes_%s", diff_fate_name(fate));
        json_add_u64(event, name, report->facts.fate_bytes[fate]);
    }
    json_add_u64(event, "patches", report->patch_count);
    event_line_write(event);
    for (int way = 0; way < DIFF_WAYS; way++) {
        event = event_line_new("way");
        json_add_string(event, "name", diff_way_name(way));
        json_add_u64(event, "list_bytes", report->costs[way].list_bytes);
        json_add_u64(event, "data_bytes", report->costs[way].data_bytes);
        json_add_u64(event, "total_bytes", total_of(&report->costs[way]));
        json_object_object_add(event, "estimated", json_object_new_boolean(report->costs[way].estimated));
        event_line_write(event);
    }
    for (size_t i = 0; i < report->advice_count; i++) {
        event = event_line_new("advice");
        json_add_string(event, "code", report->advice[i].code);
        json_add_string(event, "text", report->advice[i].text);
        event_line_write(event);
    }
}
