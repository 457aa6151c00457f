/* SPDX-License-Identifier: MIT */
#include "tests/unit/publish_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

int publish_scene_set_up(void **state)
{
    struct fixture *fixture = alloc_zeroed(sizeof(*fixture));

    strcpy(fixture->folder, "/tmp/test_generate.XXXXXX");
    if (!mkdtemp(fixture->folder))
        return -1;
    fixture->image = alloc_printf("%s/image", fixture->folder);
    fixture->chunks = alloc_printf("%s.chunks", fixture->image);
    fixture->json = alloc_printf("%s.json", fixture->image);
    *state = fixture;
    return 0;
}

int publish_scene_tear_down(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -rf %s", fixture->folder);

    int result = system(command);
    free(fixture->image);
    free(fixture->chunks);
    free(fixture->json);
    free(fixture);
    return result;
}

void publish_scene_write(const char *path, const void *data, size_t size)
{
    struct error error;

    if (!file_replace(path, data, size, 0644, &error))
        fail_msg("%s", error.message);
}
