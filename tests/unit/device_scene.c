/* SPDX-License-Identifier: MIT */
#include "tests/unit/device_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "tests/unit/publisher.h"

int device_scene_set_up(void **state)
{
    struct fixture *fixture = alloc_zeroed(sizeof(*fixture));

    fixture->folder = folder_new();
    fixture->file = alloc_printf("%s/file", fixture->folder);
    fixture->loop_fd = -1;
    *state = fixture;
    return 0;
}

int device_scene_tear_down(void **state)
{
    struct fixture *fixture = *state;
    CLEANUP_FREE char *point = alloc_printf("%s/mount", fixture->folder);

    if (fixture->mounted)
        umount2(point, MNT_DETACH);
    if (fixture->loop_fd >= 0)
        close(fixture->loop_fd);
    folder_free(fixture->folder);
    free(fixture->file);
    free(fixture->backing);
    free(fixture->loop);
    free(fixture);
    return 0;
}

bool device_scene_attach(struct fixture *fixture, const void *data, size_t size, uint32_t flags)
{
    CLEANUP_FD int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

    fixture->backing = folder_write(fixture->folder, "backing", data, size);
    CLEANUP_FD int backing = open(fixture->backing, O_RDWR | O_CLOEXEC);
    /* Others may take the free one first. */
    for (unsigned i = 0; control >= 0 && i < 20; i++) {
        const struct loop_config config = {.fd = (uint32_t)backing,
                                           .info.lo_flags = LO_FLAGS_AUTOCLEAR | flags};
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        char *path = alloc_printf("/dev/loop%d", number);
        int fd = number < 0 ? -1 : open(path, (flags & LO_FLAGS_READ_ONLY ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
            fixture->loop = path;
            fixture->loop_fd = fd;
            return true;
        }
        if (fd >= 0)
            close(fd);
        free(path);
    }
    print_message("no loop device to be had here\n");
    return false;
}

void device_scene_check_refused(bool ok, const struct error *error, enum error_kind kind, const char *path,
                                const char *words)
{
    assert_false(ok);
    assert_string_equal(error_kind_name(error->kind), error_kind_name(kind));
    if (!strstr(error->message, path) || !strstr(error->message, words))
        fail_msg("'%s' says nothing of '%s' and '%s'", error->message, path, words);
}

bool device_scene_read_back(const struct device *device, uint64_t size, uint8_t *ret_data,
                            struct error *error)
{
    struct device_readback *readback;
    const uint8_t *piece;
    size_t got = 1;
    bool ok;

    if (!device_readback_open(device, &readback, error))
        return false;
    for (uint64_t at = 0; (ok = device_readback_next(readback, size, &piece, &got, error)) && got > 0;
         at += got) {
        assert_true(at + got <= size);
        memcpy(ret_data + at, piece, got);
    }
    assert_null(device_readback_close(readback));
    return ok;
}
