/* SPDX-License-Identifier: MIT */
#include "daemon/config/config_part.h"

#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/text.h"
#include "daemon/config/config_files.h"
#include "daemon/config/config_private.h"

static const char *const slot_keys[] = {"A", "B"};

bool config_part_is_section(const char *section)
{
    return strcmp(section, "Part") == 0 || text_has_prefix(section, "Part ");
}

const char *config_part_take(struct config *config, const char *section, unsigned *ret_part)
{
    const char *name = section + strlen("Part");

    name += strspn(name, " \t");
    if (!*name)
        return "needs the name of a part, as in [Part boot]";
    const char *why = manifest_part_check_name(name);
    if (why)
        return why;
    for (unsigned i = 0; i < config->part_count; i++)
        if (strcmp(config->parts[i].name, name) == 0) {
            *ret_part = i;
            return NULL;
        }
    if (config->part_count == MANIFEST_PARTS_MAX)
        return "is one part too many; 16 are allowed";
    struct config_part *part = &config->parts[config->part_count];
    strcpy(part->name, name);
    *ret_part = config->part_count++;
    return NULL;
}

size_t config_part_find_key(const char *key)
{
    size_t index = 0;

    while (index < config_part_key_count && strcmp(config_part_keys[index].key, key) != 0)
        index++;
    return index;
}

struct config_key config_part_key(unsigned part, size_t index)
{
    struct config_key key = config_part_keys[index];

    key.offset += offsetof(struct config, parts) + part * sizeof(struct config_part);
    return key;
}

static void clear_part(struct config *config, unsigned part)
{
    for (size_t i = 0; i < config_part_key_count; i++) {
        struct config_key key = config_part_key(part, i);
        config_key_clear(&key, config);
        config_origin_clear(&config->origins->parts[part][i]);
    }
}

void config_part_clear_all(struct config *config)
{
    for (unsigned i = 0; i < config->part_count; i++)
        clear_part(config, i);
    config->part_count = 0;
}

/* Whether nothing is said of the part, and nothing was tried to. */
static bool is_empty(const struct config *config, unsigned part)
{
    for (size_t i = 0; i < config_part_key_count; i++)
        if (config->origins->parts[part][i].count || config->origins->parts[part][i].refused)
            return false;
    return true;
}

void config_part_drop_empty(struct config *config)
{
    struct config_origins *origins = config->origins;
    unsigned kept = 0;

    for (unsigned i = 0; i < config->part_count; i++) {
        if (is_empty(config, i)) {
            clear_part(config, i);
            continue;
        }
        if (kept != i) {
            config->parts[kept] = config->parts[i];
            memcpy(origins->parts[kept], origins->parts[i], sizeof(origins->parts[i]));
            /* What was moved has one owner. */
            memset(&config->parts[i], 0, sizeof(config->parts[i]));
            memset(origins->parts[i], 0, sizeof(origins->parts[i]));
        }
        kept++;
    }
    config->part_count = kept;
}

/* Name `index` of all that are set: of the slots first, then of each part; *ret_where is its section. */
static const char *get_place(const struct config *config, unsigned index, char *ret_section, size_t size)
{
    unsigned part = index / 2;

    if (part == 0) {
        snprintf(ret_section, size, "Slots");
        return config->slot_names[index % 2];
    }
    snprintf(ret_section, size, "Part %s", config->parts[part - 1].name);
    return config->parts[part - 1].slot_names[index % 2];
}

static void check_twice(const struct config *config, struct config_problems *problems)
{
    unsigned count = 2 * (config->part_count + 1);
    char section[sizeof("Part ") + MANIFEST_PART_NAME_MAX], other_section[sizeof(section)];

    for (unsigned i = 2; i < count; i++) {
        const char *place = get_place(config, i, section, sizeof(section));
        for (unsigned j = 0; place && j < i; j++) {
            const char *other = get_place(config, j, other_section, sizeof(other_section));
            if (!other || strcmp(place, other) != 0)
                continue;
            config_problems_add(problems, true, "%s= in [%s] and %s= in [%s] are the same: %s",
                                slot_keys[j % 2], other_section, slot_keys[i % 2], section, place);
            break;
        }
    }
}

void config_part_check(const struct config *config, struct config_problems *problems)
{
    for (unsigned i = 0; i < config->part_count; i++)
        for (size_t slot = 0; slot < 2; slot++) {
            const struct config_origin *origin =
                &config->origins->parts[i][config_part_find_key(slot_keys[slot])];
            if (!origin->count && !origin->refused)
                config_problems_add(problems, true,
                                    "%s= is missing in [Part %s]: it names a partition, or a file on a "
                                    "mounted one",
                                    slot_keys[slot], config->parts[i].name);
        }
    check_twice(config, problems);
}
