/* SPDX-License-Identifier: MIT */
/*
 * What boot loaders keep, which anything may have written: GRUB's environment block, autoboot.txt,
 * cmdline.txt and a variable of systemd-boot's. The first byte says which. A change that succeeds is one that
 * reads back as it promises, and leaves the length of the file alone once it has been made as long as it has
 * to be.
 */
#include "daemon/boot/boot.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "daemon/boot/efi_variable.h"
#include "tests/fuzz/fuzz.h"

static off_t size_of(int fd)
{
    struct stat status;

    assert(fstat(fd, &status) == 0);
    return status.st_size;
}

static void read_state(struct boot *boot, struct boot_state *ret_state)
{
    struct error error;

    assert(boot_read(boot, ret_state, &error));
    assert(ret_state->trial != SLOT_NONE || ret_state->tries_left == 0);
    assert(ret_state->tries_left <= 9);
}

/* Whatever the file held, an update goes its way on it, or is refused with a sentence. */
static void update(struct boot *boot, int fd)
{
    const struct boot_abilities *abilities = boot_get_abilities(boot);
    struct boot_state state;
    struct error error = {0};

    read_state(boot, &state);
    if (!boot_invalidate(boot, SLOT_B, &error)) {
        assert(*error.message);
        return;
    }
    read_state(boot, &state);
    assert(state.next != SLOT_B && state.trial != SLOT_B);
    if (!boot_arm(boot, SLOT_B, &error))
        return;
    read_state(boot, &state);
    assert(state.next == SLOT_B && (state.trial == SLOT_B) == abilities->trial);
    assert(!abilities->trial || state.tries_left == (abilities->tries ? 3 : 1));
    off_t size = size_of(fd);
    assert(boot_good(boot, SLOT_B, &error));
    read_state(boot, &state);
    assert(state.next == SLOT_B && state.trial == SLOT_NONE);
    assert(boot_reject(boot, SLOT_B, &error));
    read_state(boot, &state);
    assert(state.next == SLOT_A && state.trial == SLOT_NONE && size_of(fd) == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum config_backend backends[] = {CONFIG_BACKEND_GRUB, CONFIG_BACKEND_RPI_TRYBOOT,
                                                   CONFIG_BACKEND_RPI_CMDLINE};
    CLEANUP_FD int fd = memfd_create("fuzz", MFD_CLOEXEC);
    CLEANUP_FREE char *path = alloc_printf("/proc/self/fd/%d", fd);
    char slot_a[] = "/dev/mmcblk0p2", slot_b[] = "/dev/mmcblk0p3", text[EFI_VARIABLE_TEXT_SIZE];
    struct boot *boot = NULL;
    struct error error = {0};

    if (size == 0 || fd < 0 || file_pwrite_full(fd, data + 1, size - 1, 0) < 0)
        return 0;
    if (data[0] % 4 == 3) {
        if (efi_variable_read(path, text, &error))
            assert(strlen(text) < sizeof(text));
        return 0;
    }
    const struct config config = {
        .backend = backends[data[0] % 4],
        .tries = 3,
        .slot_names = {slot_a, slot_b},
        .grubenv_file = path,
        .autoboot_file = path,
        .cmdline_file = path,
        .boot_partitions = {2, 3},
    };
    if (boot_new(&config, NULL, &boot, &error))
        update(boot, fd);
    else
        assert(*error.message);
    boot_free(boot);
    return 0;
}
