/* SPDX-License-Identifier: MIT */
#include "common/io/device.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "common/io/device_private.h"
#include "common/io/holder.h"

/* On success the device owns *fd. */
static bool device_new(const char *path, int *fd, struct device **ret_device, struct error *error)
{
    struct stat status;

    if (file_status_fd(*fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at %s", path);
    if (!S_ISBLK(status.st_mode) && !S_ISREG(status.st_mode))
        return error_set(error, ERROR_REFUSED, "%s is neither a file nor a block device; name one of these",
                         path);

    struct device *device = alloc_zeroed(sizeof(*device));
    device->path = alloc_string(path);
    device->is_block = S_ISBLK(status.st_mode);
    device->device = device->is_block ? status.st_rdev : status.st_dev;
    device->inode = device->is_block ? 0 : status.st_ino;
    device->damage = alloc_zeroed(sizeof(*device->damage));
    atomic_flag_clear(&device->damage->mending);
    device->fd = file_take_fd(fd);
    *ret_device = device;
    return true;
}

bool device_open_source(const char *path, struct device **ret_device, struct error *error)
{
    /* O_NONBLOCK so that a pipe cannot hang the open; it has no effect on files and block devices. */
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s for reading", path);
    return device_new(path, &fd, ret_device, error);
}

static bool device_refuse_busy(const char *path, const char *holder, struct error *error)
{
    return error_set(error, ERROR_REFUSED, "%s is in use and will not be written: %s; release it first", path,
                     holder);
}

/* `access` is O_RDWR, or O_RDONLY where nothing is to be written yet. */
static bool device_open_block_target(const char *path, int access, dev_t number, int *ret_fd,
                                     struct error *error)
{
    CLEANUP_FD int fd = open(path, access | O_EXCL | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 && errno == EBUSY) {
        CLEANUP_FREE char *holder = holder_describe(number);
        return device_refuse_busy(path, holder, error);
    }
    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s for writing", path);
    /* Look at what was opened: the path may lead elsewhere by now. */
    struct stat status;
    int read_only = 0;
    if (file_status_fd(fd, &status) < 0 || !S_ISBLK(status.st_mode) || status.st_rdev != number)
        return error_set(error, ERROR_SYSTEM, "%s changed while it was opened; try again", path);
    if (ioctl(fd, BLKROGET, &read_only) == 0 && read_only)
        return error_set_errno(error, EROFS, "cannot open %s for writing", path);
    *ret_fd = file_take_fd(&fd);
    return true;
}

static bool device_open_file_target(const char *path, int access, bool create, int *ret_fd,
                                    struct error *error)
{
    CLEANUP_FD int fd = open(path, access | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (create ? O_CREAT : 0), 0644);

    if (fd < 0)
        return error_set_errno(error, errno, "cannot open %s for writing", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return device_refuse_busy(path, "another program, or another output of this one, has it locked",
                                      error);
        return error_set_errno(error, errno, "cannot lock %s", path);
    }
    struct stat status;
    if (file_status_fd(fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at %s", path);
    CLEANUP_FREE char *loop = holder_describe_loop(&status);
    if (loop)
        return device_refuse_busy(path, loop, error);
    *ret_fd = file_take_fd(&fd);
    return true;
}

/* Whether a target may be what the path leads to. */
static bool device_look_at_target(const char *path, bool create, struct stat *ret_status, bool *ret_exists,
                                  struct error *error)
{
    bool exists = file_status(path, ret_status) == 0;

    if (!exists && (errno != ENOENT || !create))
        return error_set_errno(error, errno, "cannot open %s for writing", path);
    /* A misspelt partition must not become a file in /dev, which would fill the memory. */
    if (!exists && strncmp(path, "/dev/", 5) == 0 && strncmp(path, "/dev/shm/", 9) != 0)
        return error_set(error, ERROR_REFUSED, "%s does not exist; name a block device that does, or a file",
                         path);
    if (exists && S_ISDIR(ret_status->st_mode))
        return error_set(error, ERROR_REFUSED, "%s is a folder; name a file or a block device", path);
    if (exists && !S_ISBLK(ret_status->st_mode) && !S_ISREG(ret_status->st_mode))
        return error_set(error, ERROR_REFUSED, "%s is neither a file nor a block device; name one of these",
                         path);
    *ret_exists = exists;
    return true;
}

bool device_try_target(const char *path, struct device **ret_device, struct error *error)
{
    struct stat status;
    CLEANUP_FD int fd = -1;
    bool exists;

    *ret_device = NULL;
    if (!device_look_at_target(path, true, &status, &exists, error))
        return false;
    CLEANUP_FREE char *folder = file_folder(path);
    if (faccessat(AT_FDCWD, exists ? path : folder, exists ? W_OK : W_OK | X_OK, AT_EACCESS) < 0)
        return error_set_errno(error, errno, "cannot open %s for writing", path);
    if (!exists)
        return true;
    /* Only what was opened for writing makes udev look at a device anew when it is closed. */
    return (S_ISBLK(status.st_mode) ? device_open_block_target(path, O_RDONLY, status.st_rdev, &fd, error)
                                    : device_open_file_target(path, O_RDONLY, false, &fd, error)) &&
           device_new(path, &fd, ret_device, error);
}

bool device_open_target(const char *path, uint64_t need_bytes, bool create, struct device **ret_device,
                        struct error *error)
{
    struct stat status;
    CLEANUP_FD int fd = -1;
    bool exists;

    if (!device_look_at_target(path, create, &status, &exists, error))
        return false;
    bool is_block = exists && S_ISBLK(status.st_mode);
    if (!(is_block ? device_open_block_target(path, O_RDWR, status.st_rdev, &fd, error)
                   : device_open_file_target(path, O_RDWR, create, &fd, error)))
        return false;

    struct device *device;
    if (!device_new(path, &fd, &device, error))
        return false;
    /* If the path was a file when it was looked at and is a block device now, it was opened without
     * O_EXCL. */
    if (device->is_block != is_block) {
        device_close(device);
        return error_set(error, ERROR_SYSTEM, "%s changed while it was opened; try again", path);
    }
    if (!device_check_room(device, need_bytes, error)) {
        device_close(device);
        return false;
    }
    *ret_device = device;
    return true;
}

bool device_check_room(const struct device *device, uint64_t need_bytes, struct error *error)
{
    uint64_t size;

    if (!device_size(device, &size, error))
        return false;
    if (device->is_block && size < need_bytes)
        return error_set(error, ERROR_REFUSED,
                         "the image of %" PRIu64 " bytes does not fit into %s, which has %" PRIu64
                         "; publish a smaller image or enlarge the partition",
                         need_bytes, device->path, size);
    return true;
}

struct device *device_close(struct device *device)
{
    if (!device)
        return NULL;
    close(device->fd);
    free(device->damage);
    free(device->path);
    free(device);
    return NULL;
}

const char *device_path(const struct device *device)
{
    return device->path;
}

bool device_is_block(const struct device *device)
{
    return device->is_block;
}

int device_descriptor(const struct device *device)
{
    return device->fd;
}

bool device_is_same(const struct device *device, const struct device *other)
{
    return device->is_block == other->is_block && device->device == other->device &&
           device->inode == other->inode;
}

bool device_size(const struct device *device, uint64_t *ret_bytes, struct error *error)
{
    struct stat status = {0};
    uint64_t bytes = 0;

    if ((device->is_block ? ioctl(device->fd, BLKGETSIZE64, &bytes) : file_status_fd(device->fd, &status)) <
        0)
        return error_set_errno(error, errno, "cannot find the size of %s", device->path);
    *ret_bytes = device->is_block ? bytes : (uint64_t)status.st_size;
    return true;
}

void device_start_writeback(const struct device *device, uint64_t offset, uint64_t size)
{
    sync_file_range(device->fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
}

bool device_set_size(const struct device *device, uint64_t bytes, struct error *error)
{
    uint64_t size;

    if (device->is_block)
        return true;
    if (!device_size(device, &size, error))
        return false;
    if (size != bytes && ftruncate(device->fd, (off_t)bytes) < 0)
        return error_set_errno(error, errno, "cannot set the size of %s to %" PRIu64, device->path, bytes);
    return true;
}

bool device_sync(const struct device *device, struct error *error)
{
    if (fsync(device->fd) < 0)
        return error_set_errno(error, errno, "cannot sync %s to its medium", device->path);
    /* A file that was made has to be found by its name, too, after a power cut. Whoever made it may not have
     * come as far as here, so this does not ask who that was. */
    int result = device->is_block ? 0 : file_sync_folder_of(device->path);
    if (result < 0)
        return error_set_errno(error, result, "cannot sync the folder of %s to its medium", device->path);
    return true;
}
