/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "daemon/boot/kernel_modules.h"

/* The running system has modules for 6.1.0-9; images are made by the file systems' own tools. */
struct scene {
    char root[64];
    struct error error;
};

__attribute__((format(printf, 1, 2))) static void run(const char *format, ...)
{
    char command[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

static bool has_program(const char *path)
{
    if (access(path, X_OK) == 0)
        return true;
    print_message("skipped: %s is not installed\n", path);
    return false;
}

static int scene_setup(void **state)
{
    struct scene *scene = alloc_zeroed(sizeof(*scene));

    snprintf(scene->root, sizeof(scene->root), "/tmp/test_boot_modules.XXXXXX");
    assert_non_null(mkdtemp(scene->root));
    run("mkdir -p '%s/lib/modules/6.1.0-9'", scene->root);
    /* A tree with /lib apart, and one where it is a link; many folders beside, as real ones have. */
    run("cd '%s' && mkdir -p apart/lib/modules/6.1.0-9/kernel apart/usr && touch apart/lib/modules/6.1.0-9/modules.dep",
        scene->root);
    run("cd '%s' && mkdir -p merged/usr/lib/modules/6.1.0-9/kernel && ln -s usr/lib merged/lib", scene->root);
    run("cd '%s' && mkdir -p other/usr/lib/modules/6.1.0-10/kernel && ln -s usr/lib other/lib", scene->root);
    run("cd '%s' && mkdir -p none/usr/lib none/bin", scene->root);
    *state = scene;
    return 0;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;

    run("rm -rf '%s'", scene->root);
    free(scene);
    return 0;
}

static bool check(struct scene *scene, const char *image)
{
    CLEANUP_FREE char *path = alloc_printf("%s/%s", scene->root, image);
    CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    return kernel_modules_check_release(scene->root, "6.1.0-9", fd, &scene->error);
}

/* `make` is a command that makes image "image" from the tree %s. */
static void check_trees(struct scene *scene, const char *make)
{
    static const struct {
        const char *tree;
        bool fits;
    } rows[] = {{"apart", true}, {"merged", true}, {"other", false}, {"none", false}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run("cd '%s' && rm -f image && tree=%s && %s", scene->root, rows[i].tree, make);
        if (check(scene, "image") != rows[i].fits)
            fail_msg("%s: %s", rows[i].tree, rows[i].fits ? scene->error.message : "no objection");
        if (rows[i].fits)
            continue;
        assert_int_equal(scene->error.kind, ERROR_REFUSED);
        assert_non_null(
            strstr(scene->error.message, "no modules for this machine's kernel (/lib/modules/6.1.0-9)"));
        /* In a partition that is larger than the image, too. */
        run("cd '%s' && truncate -s 40M image", scene->root);
        assert_false(check(scene, "image"));
    }
}

static void test_ext4(void **state)
{
    if (has_program("/usr/sbin/debugfs") || has_program("/sbin/debugfs"))
        check_trees(*state,
                    "truncate -s 8M image && PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -F -d $tree image");
}

static void test_squashfs(void **state)
{
    if (has_program("/usr/bin/unsquashfs"))
        check_trees(*state, "mksquashfs $tree image -quiet -no-progress >/dev/null");
}

static void test_erofs(void **state)
{
    if (has_program("/usr/bin/dump.erofs"))
        check_trees(*state, "mkfs.erofs image $tree >/dev/null");
}

/* Nothing that is not certain is an objection. */
static void test_what_cannot_be_known(void **state)
{
    struct scene *scene = *state;
    CLEANUP_FREE char *here = alloc_printf("%s/lib/modules/6.1.0-9", scene->root);

    run("cd '%s' && head -c 100000 /dev/urandom > noise && truncate -s 0 empty", scene->root);
    assert_true(check(scene, "noise"));
    assert_true(check(scene, "empty"));
    /* A superblock, and nothing that it promises. */
    run("cd '%s' && truncate -s 8M image && PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -F -d none image && "
        "truncate -s 2K image",
        scene->root);
    assert_true(check(scene, "image"));
    run("cd '%s' && printf 'hsqs' > image && head -c 5000 /dev/zero >> image", scene->root);
    assert_true(check(scene, "image"));
    /* A system that runs without modules needs none in the next release. */
    run("cd '%s' && rm -f image && truncate -s 8M image && PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -F -d none image",
        scene->root);
    assert_int_equal(rmdir(here), 0);
    assert_true(check(scene, "image"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ext4, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_squashfs, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_erofs, scene_setup, scene_teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_known, scene_setup, scene_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
