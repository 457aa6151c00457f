/* SPDX-License-Identifier: MIT */
#include "common/sinter/sources.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/digest.h"
#include "common/io/later.h"
#include "common/sinter/scan.h"

enum {
    SCANS_AT_ONCE = 2, /* a buffer each */
};

struct source {
    struct sources *sources;
    char *path;
    uint64_t scan_bytes;
    struct scan *scan;
    bool known;         /* what it holds was taken from rows and is complete: no scan is needed */
    bool may_hold_base; /* see sources_may_hold_base() */
    struct error error; /* why it cannot be used */
};

struct sources {
    struct pool *pool;
    const struct sources_events *events;
    void *owner;
    uint32_t count;          /* at least 1 */
    struct source *items;    /* [0] is the target, the rest are the seeds */
    struct device **devices; /* of each; NULL where it cannot be used */
    const struct chunk_table *table;
    const struct chunk_index *index;
    bool *kept;
    struct plan_place *places;
    bool prove, hash;
    bool stopping;
    uint32_t scan_next, scans_under_way;
    struct later *turn; /* begins the scan, and calls `done` if there is nothing to scan */
};

static void sources_go_on(struct sources *sources);

static void sources_on_turn(void *owner)
{
    sources_go_on(owner);
}

static void sources_add(struct sources *sources, const char *path)
{
    struct source *source = &sources->items[sources->count++];

    source->sources = sources;
    source->path = alloc_string(path);
}

struct sources *sources_new(struct event_base *base, struct pool *pool, const char *target_path,
                            const char *const *seed_paths, const struct sources_events *events, void *owner)
{
    struct sources *sources = alloc_zeroed(sizeof(*sources));
    uint32_t seed_count = 0;

    while (seed_paths && seed_paths[seed_count])
        seed_count++;
    assert(seed_count <= PLAN_SOURCE_SEED_LAST);
    sources->pool = pool;
    sources->turn = later_new(base, sources_on_turn, sources);
    sources->events = events;
    sources->owner = owner;
    sources->items = alloc_array((size_t)seed_count + 1, sizeof(struct source));
    sources->devices = alloc_array((size_t)seed_count + 1, sizeof(struct device *));
    sources_add(sources, target_path);
    for (uint32_t i = 0; seed_paths && seed_paths[i]; i++)
        sources_add(sources, seed_paths[i]);
    return sources;
}

struct sources *sources_free(struct sources *sources)
{
    if (!sources)
        return NULL;
    sources_close(sources, false);
    later_free(sources->turn);
    for (uint32_t i = 0; i < sources->count; i++)
        free(sources->items[i].path);
    free(sources->items);
    free(sources->devices);
    free(sources->kept);
    free(sources->places);
    free(sources);
    return NULL;
}

/* How much of a source is worth reading: twice the size of the image, as what lies further out is rarely of
 * use. Holes of a file are not read and do not count. */
static bool source_measure(struct source *source, const struct device *device, uint64_t image_size)
{
    uint64_t budget = image_size <= UINT64_MAX / 2 ? image_size * 2 : UINT64_MAX;

    return device_measure_data(device, budget, &source->scan_bytes, &source->error);
}

static bool open_target(struct sources *sources, const struct sources_open *open)
{
    struct source *target = &sources->items[0];
    struct device **device = &sources->devices[0];
    bool ok;

    if (open->read_only) {
        ok = device_open_source(target->path, device, &target->error);
        ok = ok ? device_check_room(*device, open->image_size, &target->error)
                : open->create_target && target->error.code == ENOENT;
    } else {
        ok =
            device_open_target(target->path, open->image_size, open->create_target, device, &target->error) &&
            device_readback_check(*device, &target->error) &&
            (!open->check_target ||
             open->check_target(open->check_owner, device_descriptor(*device), &target->error));
    }
    return ok && (!*device || source_measure(target, *device, open->image_size));
}

bool sources_open(struct sources *sources, const struct sources_open *open, struct error *error)
{
    if (!open_target(sources, open)) {
        *error = sources->items[0].error;
        return false;
    }
    const struct device *target = sources->devices[0];
    for (uint32_t i = 1; i < sources->count; i++) {
        struct source *seed = &sources->items[i];
        struct device **device = &sources->devices[i];
        bool ok = device_open_source(seed->path, device, &seed->error) &&
                  source_measure(seed, *device, open->image_size);
        /* The target is a source already; do not read it twice. */
        if (!ok || (target && device_is_same(*device, target)))
            *device = device_close(*device);
    }
    return true;
}

void sources_tell_skipped(struct sources *sources)
{
    for (uint32_t i = 1; i < sources->count; i++)
        if (sources->items[i].error.kind)
            sources->events->skipped(sources->owner, sources->items[i].path, &sources->items[i].error);
}

void sources_close(struct sources *sources, bool keep_target)
{
    for (uint32_t i = keep_target ? 1 : 0; i < sources->count; i++)
        sources->devices[i] = device_close(sources->devices[i]);
}

uint32_t sources_count(const struct sources *sources)
{
    return sources->count;
}

struct device *sources_device(const struct sources *sources, uint32_t number)
{
    return sources->devices[number];
}

struct device *sources_take_target(struct sources *sources)
{
    struct device *target = sources->devices[0];

    sources->devices[0] = NULL;
    return target;
}

const char *sources_path(const struct sources *sources, uint32_t number)
{
    return sources->items[number].path;
}

struct device *const *sources_seeds(const struct sources *sources)
{
    return sources->devices + 1;
}

uint64_t sources_scan_bytes(const struct sources *sources, uint32_t number)
{
    return sources->devices[number] ? sources->items[number].scan_bytes : 0;
}

/* ---- which base ---- */

static bool probe_is_right(const struct device *device, const struct manifest_base *base,
                           const struct manifest_probe *probe)
{
    uint8_t data[MANIFEST_PROBE_SIZE];
    uint64_t left = base->size - probe->offset;
    size_t size = left < sizeof(data) ? (size_t)left : sizeof(data);
    struct error ignored;

    return device_read(device, data, size, probe->offset, &ignored) && digest_xxh3(data, size) == probe->xxh3;
}

/* How many of the base's probes are right in source `number`. */
static uint32_t count_right(const struct sources *sources, uint32_t number, const struct manifest_base *base)
{
    uint32_t right = 0;

    for (uint32_t i = 0; sources->devices[number] && i < base->probe_count; i++)
        right += probe_is_right(sources->devices[number], base, &base->probes[i]);
    return right;
}

bool sources_match_base(struct sources *sources, const struct manifest_pack *pack, uint32_t *ret_base,
                        uint32_t *ret_number)
{
    uint32_t best_right = 0, best_count = 1;

    /* Seeds first: if a seed and the target are equally good, the seed is better, as nobody overwrites it. */
    for (uint32_t turn = 1; turn <= sources->count; turn++) {
        uint32_t number = turn % sources->count;
        for (uint32_t b = 0; sources->devices[number] && b < pack->base_count; b++) {
            const struct manifest_base *base = &pack->bases[b];
            uint32_t right = count_right(sources, number, base);
            /* Compares the shares of right probes, without fractions. */
            if (right * best_count > best_right * base->probe_count) {
                best_right = right;
                best_count = base->probe_count;
                *ret_base = b;
                *ret_number = number;
            }
        }
    }
    for (uint32_t i = 0; best_right > 0 && i < sources->count; i++)
        sources->items[i].may_hold_base = count_right(sources, i, &pack->bases[*ret_base]) > 0;
    return best_right > 0;
}

bool sources_may_hold_base(const struct sources *sources, uint32_t number)
{
    return sources->items[number].may_hold_base;
}

uint32_t sources_next_base(struct sources *sources, uint32_t number)
{
    sources->items[number].may_hold_base = false;
    for (uint32_t turn = 1; turn <= sources->count; turn++)
        if (sources->items[turn % sources->count].may_hold_base)
            return turn % sources->count;
    return PLAN_SOURCE_NONE;
}

/* ---- what they hold ---- */

void sources_expect(struct sources *sources, const struct chunk_table *table, const struct chunk_index *index)
{
    uint32_t count = chunk_table_count(table);

    sources->table = table;
    sources->index = index;
    sources->kept = alloc_array(count, sizeof(bool));
    sources->places = alloc_array(count, sizeof(struct plan_place));
    for (uint32_t i = 0; i < count; i++)
        sources->places[i].source = PLAN_SOURCE_NONE;
}

/* Notes where a class of chunks was found. A place in a seed is preferred to one in the target's old content,
 * because copies within the target constrain the order of writing. */
static void sources_add_place(struct sources *sources, uint32_t number, uint32_t chunk, uint64_t offset)
{
    struct plan_place *place = &sources->places[chunk_index_first_alike(sources->index, chunk)];

    if (place->source == PLAN_SOURCE_NONE || (place->source == PLAN_SOURCE_TARGET && number != 0)) {
        place->source = number;
        place->offset = offset & ((UINT64_C(1) << 56) - 1);
    }
}

void sources_add_rows(struct sources *sources, uint32_t number, const struct table_rows *rows)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        uint32_t size;
        uint64_t xxh3;
        chunk_table_read_row(rows->rows + (size_t)i * CHUNK_TABLE_ROW_SIZE, &size, &xxh3);
        uint32_t chunk = chunk_index_find(sources->index, xxh3, size);
        if (chunk != CHUNK_INDEX_NONE)
            sources_add_place(sources, number, chunk, rows->offsets[i]);
    }
    /* If parts were unreadable a scan finds more: behind each such part it takes the cuts some chunks to be
     * in step with the image again. */
    sources->items[number].known = !device_is_damaged(sources->devices[number], NULL);
}

const bool *sources_kept(const struct sources *sources)
{
    return sources->kept;
}

void sources_add_kept(struct sources *sources, uint32_t first, uint32_t count)
{
    memset(sources->kept + first, true, count * sizeof(bool));
}

const struct plan_place *sources_places(const struct sources *sources)
{
    return sources->places;
}

void sources_forget_target(struct sources *sources)
{
    uint32_t count = chunk_table_count(sources->table);

    for (uint32_t i = 0; i < count; i++)
        if (sources->places[i].source == PLAN_SOURCE_TARGET)
            sources->places[i].source = PLAN_SOURCE_NONE;
    for (uint32_t i = 0; i < count; i++)
        if (sources->kept[i])
            sources_add_place(sources, 0, i, chunk_table_offset(sources->table, i));
}

/* ---- scanning ---- */

static void on_finds(void *owner, uint64_t bytes, const struct scan_find *finds, size_t count)
{
    struct source *source = owner;
    struct sources *sources = source->sources;

    for (size_t i = 0; i < count; i++) {
        if (finds[i].in_place)
            sources->kept[finds[i].chunk] = true;
        sources_add_place(sources, (uint32_t)(source - sources->items), finds[i].chunk, finds[i].offset);
    }
    sources->events->scanned(sources->owner, bytes);
}

static void on_scanned(void *owner, const struct error *error, uint32_t xxh32)
{
    struct source *source = owner;
    struct sources *sources = source->sources;

    sources->scans_under_way--;
    if (error)
        sources->events->skipped(sources->owner, source->path, error);
    else if (!sources->stopping && sources->hash)
        sources->events->hashed(sources->owner, (uint32_t)(source - sources->items), xxh32);
    source->scan = scan_free(source->scan); /* with the error */
    sources_go_on(sources);
}

static void sources_go_on(struct sources *sources)
{
    static const struct scan_events events = {.progress = on_finds, .done = on_scanned};

    while (!sources->stopping && sources->scans_under_way < SCANS_AT_ONCE &&
           sources->scan_next < sources->count) {
        uint32_t number = sources->scan_next++;
        struct source *source = &sources->items[number];
        if (!sources->devices[number] || source->known)
            continue;
        const struct scan_settings settings = {
            .device = sources->devices[number],
            .size_bytes = source->scan_bytes,
            .table = sources->table,
            .index = sources->index,
            .is_target = number == 0,
            .prove = sources->prove,
            .hash = sources->hash,
        };
        sources->scans_under_way++;
        source->scan = scan_start(sources->pool, &settings, &events, source);
    }
    if (sources->scans_under_way == 0)
        sources->events->done(sources->owner);
}

void sources_scan(struct sources *sources, bool prove, bool hash)
{
    sources->prove = prove;
    sources->hash = hash;
    later_call(sources->turn);
}

void sources_stop(struct sources *sources)
{
    sources->stopping = true;
    for (uint32_t i = 0; i < sources->count; i++)
        if (sources->items[i].scan)
            scan_stop(sources->items[i].scan);
}
