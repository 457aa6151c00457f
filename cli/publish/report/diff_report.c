/* SPDX-License-Identifier: MIT */
#include "cli/publish/report/diff_report.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/event_line.h"
#include "cli/publish/report/diff_map.h"
#include "cli/publish/report/page_values.h"
#include "cli/publish/report/template.h"
#include "common/base/version.h"

/* The string is longer than C17 demands of a compiler, but gcc and clang accept it. */
#pragma GCC diagnostic ignored "-Woverlength-strings"
static const char page[] =
#include "cli/publish/report/page_generated.h"
    ;

static const char *const way_titles[DIFF_WAYS] = {
    [DIFF_WAY_WHOLE] = "the whole image",
    [DIFF_WAY_WHOLE_PACKED] = "the whole image, zstd -19",
    [DIFF_WAY_FIXED] = "fixed chunks at the same place",
    [DIFF_WAY_BLOCKS] = "blocks of 4 KiB at any multiple of it",
    [DIFF_WAY_CONTENT_DEFINED] = "content-defined chunks",
    [DIFF_WAY_PACK] = "content-defined chunks from a pack",
    [DIFF_WAY_PATCHES] = "patches against OLD, and the pack",
};

static uint64_t total_of(const struct diff_report *report, enum diff_way way)
{
    return report->costs[way].list_bytes + report->costs[way].data_bytes;
}

static void add_image(struct json_object *images, const char *role, const char *path, uint64_t size,
                      const struct superblock *superblock)
{
    struct json_object *values = page_values_add_item(images);

    json_add_string(values, "role", role);
    json_add_string(values, "path", path);
    page_values_add_size(values, "size", size);
    if (superblock->kind != SUPERBLOCK_UNKNOWN)
        json_add_string(values, "kind", superblock_kind_name(superblock->kind));
    if (superblock->compression)
        json_add_string(values, "compression", superblock->compression);
    if (superblock->block_size)
        json_add_u64(values, "block_kib", superblock->block_size / 1024);
}

/* Adds the costs of one way; used for the event and for the page. */
static void add_way(struct json_object *values, const struct diff_report *report, enum diff_way way)
{
    const struct diff_cost *cost = &report->costs[way];

    json_add_string(values, "name", diff_way_name(way));
    json_add_u64(values, "list_bytes", cost->list_bytes);
    json_add_u64(values, "data_bytes", cost->data_bytes);
    json_add_u64(values, "total_bytes", total_of(report, way));
    json_add_bool(values, "estimated", cost->estimated);
}

static void add_ways(struct json_object *values, const struct diff_report *report)
{
    struct json_object *ways = page_values_add_list(values, "ways");
    uint64_t most = 1;

    for (int way = 0; way < DIFF_WAYS; way++)
        most = total_of(report, way) > most ? total_of(report, way) : most;
    for (int way = DIFF_WAYS - 1; way >= 0; way--) {
        struct json_object *item = page_values_add_item(ways);
        add_way(item, report, way);
        json_add_string(item, "title", way_titles[way]);
        json_add_bool(item, "ours", way >= DIFF_WAY_PACK);
        page_values_add_size(item, "list", report->costs[way].list_bytes);
        page_values_add_size(item, "data", report->costs[way].data_bytes);
        page_values_add_size(item, "total", total_of(report, way));
        page_values_add_share(item, "share", total_of(report, way), report->diff.new_size);
        page_values_add_share(item, "length", total_of(report, way), most);
    }
    json_add_bool(values, "whole_estimated", report->costs[DIFF_WAY_WHOLE_PACKED].estimated);
}

static void add_advice(struct json_object *values, const struct diff_advice *advice)
{
    json_add_string(values, "code", advice->code);
    json_add_string(values, "text", advice->text);
}

/* A report on one image, alone or in a set. */
static void add_image_section(struct json_object *values, const struct diff_report *report,
                              const struct diff_image *image)
{
    struct json_object *images = page_values_add_list(values, "images");
    struct json_object *advice = page_values_add_list(values, "advice");

    json_add_bool(values, "one_image", true);
    add_image(images, "OLD", image->old_path, report->diff.old_size, &report->facts.old_superblock);
    add_image(images, "NEW", image->new_path, report->diff.new_size, &report->facts.new_superblock);
    diff_map_add(values, report);
    add_ways(values, report);
    for (size_t i = 0; i < report->advice_count; i++)
        add_advice(page_values_add_item(advice), &report->advice[i]);
}

/* What all images of a set have together, and each one's share. */
static void add_sum_section(struct json_object *values, const struct diff_report *sum,
                            const struct diff_report *reports, const struct diff_images *images)
{
    struct json_object *parts = page_values_add_list(values, "parts");

    json_add_bool(values, "one_image", false);
    for (unsigned i = 0; i < images->count; i++) {
        struct json_object *item = page_values_add_item(parts);
        uint64_t cost = total_of(&reports[i], DIFF_WAY_PATCHES);
        json_add_string(item, "part", images->list[i].name);
        page_values_add_size(item, "size", reports[i].diff.new_size);
        page_values_add_size(item, "total", cost);
        json_add_u64(item, "total_bytes", cost);
        page_values_add_share(item, "share", cost, reports[i].diff.new_size);
    }
    diff_map_add_fates(values, sum);
    add_ways(values, sum);
}

static struct json_object *new_values(const struct diff_report *reports, const struct diff_images *images,
                                      uint32_t chunk_size)
{
    struct json_object *values = json_object_new_object();
    struct json_object *sections = page_values_add_list(values, "sections");
    struct diff_report sum = {0};
    bool is_set = images->count > 1;

    for (unsigned i = 0; i < images->count; i++)
        diff_report_add(&sum, &reports[i]);
    json_add_string(values, "version", version_text());
    page_values_add_size(values, "cost", total_of(&sum, DIFF_WAY_PATCHES));
    page_values_add_size(values, "new_size", sum.diff.new_size);
    json_add_u64(values, "chunk_kib", chunk_size / 1024);
    json_add_bool(values, "is_set", is_set);
    /* Of the headings within a section. */
    json_add_u64(values, "level", is_set ? 3 : 2);
    if (is_set)
        add_sum_section(page_values_add_item(sections), &sum, reports, images);
    for (unsigned i = 0; i < images->count; i++) {
        struct json_object *section = page_values_add_item(sections);
        if (is_set)
            json_add_string(section, "part", images->list[i].name);
        add_image_section(section, &reports[i], &images->list[i]);
    }
    return values;
}

bool diff_report_make_page(const struct diff_report *reports, const struct diff_images *images,
                           uint32_t chunk_size, char **ret_page, size_t *ret_size, struct error *error)
{
    FILE *out = open_memstream(ret_page, ret_size);

    if (!out)
        return error_set(error, ERROR_SYSTEM, "there is no memory for the report");
    CLEANUP_JSON struct json_object *values = new_values(reports, images, chunk_size);
    template_write(out, page, values);
    if (fclose(out) == 0)
        return true;
    free(*ret_page);
    return error_set(error, ERROR_SYSTEM, "there is no memory for the report");
}

/* Makes an event about a part, or about all there is. */
static struct json_object *new_event(const char *name, const char *part)
{
    struct json_object *event = event_line_new(name);

    if (part)
        json_add_string(event, "part", part);
    return event;
}

void diff_report_write_events(const struct diff_report *report, const char *part)
{
    struct json_object *event = new_event("fates", part);
    char name[16];

    for (int fate = 0; fate < DIFF_FATES; fate++) {
        snprintf(name, sizeof(name), "bytes_%s", diff_fate_name(fate));
        json_add_u64(event, name, report->facts.fate_bytes[fate]);
    }
    json_add_u64(event, "patches", report->patch_count);
    event_line_write(event);
    for (int way = 0; way < DIFF_WAYS; way++) {
        event = new_event("way", part);
        add_way(event, report, way);
        event_line_write(event);
    }
    for (size_t i = 0; i < report->advice_count; i++) {
        event = new_event("advice", part);
        add_advice(event, &report->advice[i]);
        event_line_write(event);
    }
}
