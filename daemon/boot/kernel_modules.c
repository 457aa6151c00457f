/* SPDX-License-Identifier: MIT */
#include "daemon/boot/kernel_modules.h"

#include <stdint.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/le.h"
#include "daemon/boot/child.h"

enum {
    LOOK_TIMEOUT_MS = 20 * 1000, /* the tool reads a few blocks of a slow card */
    RELEASE_LENGTH_MAX = 64,
};

enum presence { PRESENCE_UNKNOWN, PRESENCE_FOUND, PRESENCE_ABSENT };

/* Looks for one absolute path in the file system on `device`. */
typedef enum presence (*look_fn)(const char *program, const char *device, const char *path,
                                 struct child_result *result);

static enum presence look_ext(const char *program, const char *device, const char *path,
                              struct child_result *result)
{
    CLEANUP_FREE char *request = alloc_printf("stat %s", path);
    const char *arguments[] = {program, "-R", request, device, NULL};

    if (!child_run(arguments, LOOK_TIMEOUT_MS, result, NULL))
        return PRESENCE_UNKNOWN;
    if (strstr(result->output, "Inode:"))
        return PRESENCE_FOUND;
    /* debugfs exits with 0 in either case. */
    return strstr(result->complaint, "File not found") ? PRESENCE_ABSENT : PRESENCE_UNKNOWN;
}

static enum presence look_squashfs(const char *program, const char *device, const char *path,
                                   struct child_result *result)
{
    /* As deep as /usr/lib/modules/RELEASE, so that not every module is listed. */
    const char *arguments[] = {program, "-max-depth", "4", "-l", device, path + 1, NULL};

    if (!child_run(arguments, LOOK_TIMEOUT_MS, result, NULL) || result->status != 0)
        return PRESENCE_UNKNOWN;
    CLEANUP_FREE char *line = alloc_printf("squashfs-root%s\n", path);
    return strstr(result->output, line) ? PRESENCE_FOUND : PRESENCE_ABSENT;
}

static enum presence look_erofs(const char *program, const char *device, const char *path,
                                struct child_result *result)
{
    CLEANUP_FREE char *option = alloc_printf("--path=%s", path);
    const char *arguments[] = {program, "--ls", option, device, NULL};
    const char *control[] = {program, "--ls", "--path=/", device, NULL};

    if (!child_run(arguments, LOOK_TIMEOUT_MS, result, NULL))
        return PRESENCE_UNKNOWN;
    if (strstr(result->output, "NID:"))
        return PRESENCE_FOUND;
    /* It has one answer for what is not there and for what it cannot read. */
    return child_run(control, LOOK_TIMEOUT_MS, result, NULL) && strstr(result->output, "NID:")
               ? PRESENCE_ABSENT
               : PRESENCE_UNKNOWN;
}

static const struct reader {
    uint64_t offset; /* of the magic number, little-endian */
    uint32_t magic, mask;
    const char *programs[2];
    look_fn look;
} readers[] = {
    {1080, 0xEF53, 0xFFFF, {"/usr/sbin/debugfs", "/sbin/debugfs"}, look_ext},
    {0, 0x73717368, 0xFFFFFFFF, {"/usr/bin/unsquashfs", "/usr/sbin/unsquashfs"}, look_squashfs},
    {1024, 0xE0F5E1E2, 0xFFFFFFFF, {"/usr/bin/dump.erofs", "/usr/sbin/dump.erofs"}, look_erofs},
};

static const struct reader *find_reader(int fd)
{
    unsigned char bytes[4];

    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
        if (file_pread_full(fd, bytes, sizeof(bytes), readers[i].offset) < 0)
            continue;
        if ((le_read_u32(bytes) & readers[i].mask) == readers[i].magic)
            return &readers[i];
    }
    return NULL;
}

static const char *find_program(const struct reader *reader)
{
    for (size_t i = 0; i < 2; i++)
        if (access(reader->programs[i], X_OK) == 0)
            return reader->programs[i];
    return NULL;
}

/* Whether the text can stand in a command for debugfs. */
static bool is_plain(const char *release)
{
    size_t length = strlen(release);

    return length && length <= RELEASE_LENGTH_MAX &&
           strspn(release, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.+-_~") == length;
}

bool kernel_modules_check_release(const char *root, const char *release, int fd, struct error *error)
{
    /* Both, because not every tool follows /lib if that is a link to usr/lib. */
    static const char *const folders[] = {"/usr/lib/modules", "/lib/modules"};
    CLEANUP_FREE char *here = alloc_printf("%s/lib/modules/%s", root, release);
    /* The very device that was written and read back, but opened anew and not exclusively. */
    CLEANUP_FREE char *device = alloc_printf("/proc/%ld/fd/%d", (long)getpid(), fd);
    const struct reader *reader = find_reader(fd);
    const char *program = reader ? find_program(reader) : NULL;
    struct child_result result;

    if (!program || !is_plain(release) || access(here, F_OK) < 0)
        return true;
    for (size_t i = 0; i < 2; i++) {
        CLEANUP_FREE char *path = alloc_printf("%s/%s", folders[i], release);
        if (reader->look(program, device, path, &result) != PRESENCE_ABSENT)
            return true;
    }
    return error_set(
        error, ERROR_REFUSED,
        "the release has no modules for this machine's kernel (/lib/modules/%s), which lies outside "
        "the slots and stays as it is; publish one that has them",
        release);
}

bool kernel_modules_check(const char *root, int fd, struct error *error)
{
    struct utsname names;

    return uname(&names) < 0 || kernel_modules_check_release(root, names.release, fd, error);
}
