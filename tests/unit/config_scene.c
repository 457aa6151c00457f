/* SPDX-License-Identifier: MIT */
#include "tests/unit/config_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

int scene_set_up(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));

    snprintf(scene->root, sizeof(scene->root), "/tmp/test_config.XXXXXX");
    assert_non_null(mkdtemp(scene->root));
    *state = scene;
    return 0;
}

int scene_tear_down(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *command = alloc_printf("rm -rf '%s'", scene->root);

    config_free(scene->config);
    config_problems_finish(&scene->problems);
    assert_int_equal(system(command), 0);
    free(scene);
    return 0;
}

void scene_put_file(const struct scene *scene, const char *path, const char *text)
{
    CLEANUP_FREE char *full = alloc_printf("%s%s", scene->root, path);
    CLEANUP_FREE char *folder = alloc_string(full);

    *strrchr(folder, '/') = 0;
    assert_int_equal(file_make_folders(folder), 0);
    FILE *stream = fopen(full, "we");
    assert_non_null(stream);
    fputs(text, stream);
    /* What holds secrets is their owner's alone. */
    assert_int_equal(fchmod(fileno(stream), 0600), 0);
    fclose(stream);
}

void scene_open_file(const struct scene *scene, const char *path)
{
    CLEANUP_FREE char *full = alloc_printf("%s%s", scene->root, path);

    assert_int_equal(chmod(full, 0644), 0);
}

bool scene_load(struct scene *scene)
{
    struct config_request request = {.root = scene->root};

    scene->config = config_free(scene->config);
    config_problems_finish(&scene->problems);
    return config_load(&request, &scene->config, &scene->problems);
}

bool scene_has_problem(const struct scene *scene, const char *part)
{
    for (size_t i = 0; i < scene->problems.count; i++)
        if (strstr(scene->problems.items[i].message, part))
            return true;
    for (size_t i = 0; i < scene->problems.count; i++)
        print_message("problem: %s\n", scene->problems.items[i].message);
    return false;
}
