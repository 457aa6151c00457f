/* SPDX-License-Identifier: MIT */
#include "daemon/host/set_images.h"

#include <string.h>

#include "common/base/text.h"
#include "common/sinter/table_room.h"

static void add(struct set_images *images, const char *name, struct release *release,
                const struct slots *slots, enum slot target)
{
    const struct storage *place = slots_find_place(slots, name, target);
    unsigned number = images->count++;

    images->seeds[number][0] = slots_find_place(slots, name, slot_other(target))->path;
    images->seeds[number][1] = NULL;
    images->list[number] = (struct clone_set_image){
        .name = name,
        .release = release,
        .target_path = place->path,
        .seed_paths = images->seeds[number],
        /* A slot that is missing is a mistake, or a disk that is not there yet; creating a file would hide
         * that. A part that is a file on a mounted partition is made with the first release that has it. */
        .create_target = strcmp(name, MANIFEST_MAIN_NAME) != 0 && !text_has_prefix(place->path, "/dev/"),
    };
}

void set_images_find(struct release *release, const struct slots *slots, enum slot target,
                     struct set_images *ret_images)
{
    const struct manifest_parts *parts = &release->manifest->parts;

    ret_images->count = 0;
    for (uint32_t i = 0; i < parts->count; i++)
        add(ret_images, parts->list[i].name, release_part(release, i, (unsigned)target), slots, target);
    add(ret_images, MANIFEST_MAIN_NAME, release, slots, target);
}

struct clone_set_settings set_images_settings(const struct set_images *images)
{
    struct clone_set_settings settings = {.count = images->count, .memory_bytes = table_room_memory_bytes()};

    memcpy(settings.images, images->list, sizeof(settings.images));
    return settings;
}
