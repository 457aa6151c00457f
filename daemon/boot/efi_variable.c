/* SPDX-License-Identifier: MIT */
#include "daemon/boot/efi_variable.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/file.h"

enum {
    ATTRIBUTES_SIZE = 4,
    ATTRIBUTES = 7, /* non-volatile, for the boot loader, and for the running system */
    VALUE_SIZE_MAX = ATTRIBUTES_SIZE + 2 * EFI_VARIABLE_TEXT_SIZE,
};

static bool refuse_access(const char *path, int code, struct error *error)
{
    if (code == EROFS || code == EACCES || code == EPERM)
        return error_set_errno(error, code,
                               "cannot change %s; mount efivarfs writable and link the service's drop-in for "
                               "Backend=systemd-boot (docs/boot.md)",
                               path);
    return error_set_errno(error, code, "cannot change %s", path);
}

/* A single read, because only within one read does efivarfs give a consistent value. */
static int read_value(const char *path, unsigned char *ret_value, size_t size)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return -errno;
    ssize_t got = read(fd, ret_value, size);
    return got < 0 ? -errno : (int)got;
}

bool efi_variable_read(const char *path, char *ret_text, struct error *error)
{
    unsigned char value[VALUE_SIZE_MAX + 1] = {0};
    int size = read_value(path, value, sizeof(value));

    *ret_text = 0;
    if (size == -ENOENT)
        return true;
    if (size < 0)
        return error_set_errno(error, size, "cannot read %s", path);
    for (int i = 0; i < EFI_VARIABLE_TEXT_SIZE - 1; i++) {
        int at = ATTRIBUTES_SIZE + 2 * i;
        /* A value without a zero at its end is accepted. */
        unsigned character = at + 1 < size ? value[at] | (unsigned)value[at + 1] << 8 : 0;
        ret_text[i] = (char)(character == 0 || (character >= ' ' && character <= '~') ? character : '?');
        if (character == 0)
            return true;
    }
    ret_text[EFI_VARIABLE_TEXT_SIZE - 1] = 0;
    return true;
}

/* Takes the immutable flag away, if the file system has such flags. Returns 0 or -errno. *ret_flags is what
 * to put back, 0 = nothing. */
static int make_mutable(const char *path, int *ret_flags)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int flags = 0;

    *ret_flags = 0;
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || !(flags & FS_IMMUTABLE_FL))
        return 0;
    *ret_flags = flags;
    flags &= ~FS_IMMUTABLE_FL;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 ? -errno : 0;
}

/* The flag only guards against accidents, so failing to put it back is no error. */
static void put_flags_back(const char *path, int flags)
{
    CLEANUP_FD int fd = flags ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;

    if (fd >= 0 && ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
        return;
}

static int write_value(const char *path, const char *text)
{
    unsigned char value[VALUE_SIZE_MAX] = {ATTRIBUTES};
    size_t length = strlen(text), size = ATTRIBUTES_SIZE + 2 * (length + 1);
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);

    if (fd < 0)
        return -errno;
    if (size > sizeof(value))
        return -ENAMETOOLONG;
    for (size_t i = 0; i < length; i++)
        value[ATTRIBUTES_SIZE + 2 * i] = (unsigned char)text[i];
    ssize_t put = write(fd, value, size);
    if (put < 0)
        return -errno;
    /* efivarfs has no fsync(); the firmware has stored the value already. */
    if (fsync(fd) < 0 && errno != EINVAL)
        return -errno;
    return put == (ssize_t)size ? 0 : -EIO;
}

bool efi_variable_write(const char *path, const char *text, struct error *error)
{
    char found[EFI_VARIABLE_TEXT_SIZE];
    int flags;

    if (efi_variable_read(path, found, NULL) && strcmp(found, text) == 0)
        return true;
    int result = make_mutable(path, &flags);
    if (result == 0)
        result = write_value(path, text);
    put_flags_back(path, flags);
    if (result < 0)
        return refuse_access(path, -result, error);
    if (!efi_variable_read(path, found, error))
        return false;
    return strcmp(found, text) == 0 ||
           error_set(error, ERROR_SYSTEM, "%s does not hold what was just written to it", path);
}

bool efi_variable_remove(const char *path, struct error *error)
{
    int flags;
    int result = make_mutable(path, &flags);

    if (result == 0 && unlink(path) < 0 && errno != ENOENT)
        result = -errno;
    return result == 0 || refuse_access(path, -result, error);
}

bool efi_variable_read_u64(const char *path, uint64_t *ret_value)
{
    unsigned char value[ATTRIBUTES_SIZE + 8] = {0};

    if (read_value(path, value, sizeof(value)) != (int)sizeof(value))
        return false;
    *ret_value = 0;
    for (int i = 7; i >= 0; i--)
        *ret_value = *ret_value << 8 | value[ATTRIBUTES_SIZE + i];
    return true;
}
