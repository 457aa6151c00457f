/* SPDX-License-Identifier: MIT */
/*
 * Reads and writes small regular files as a whole, and closes descriptors. For images and block devices see
 * common/io/device.h. All functions that take a path, a descriptor or a writer may block on the medium: on
 * the daemon's loop they may be used only for the daemon's own small files on local storage. Any thread; a
 * writer belongs to one at a time, except file_writer_remove().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/error.h"

/* Put before a descriptor variable: closes it (unless it is negative) when the variable goes out of scope.
 * errno is kept. */
#define CLEANUP_FD __attribute__((cleanup(file_close_pointer)))

/* Closes *fd unless it is negative, and keeps errno. */
void file_close_pointer(int *fd);

/* Passes a descriptor on to another owner: returns *fd and sets it to -1. */
int file_take_fd(int *fd);

/* Reads a whole file; ERROR_REFUSED if it has more than `max_size` bytes. Does not wait for the writer of a
 * pipe. The caller frees *ret_data, which has a zero byte after its *ret_size bytes. */
bool file_read(const char *path, size_t max_size, char **ret_data, size_t *ret_size, struct error *error);

/* Reads a small file that the kernel or udev provides. The path is given as to printf(). Returns the text
 * without the line feed at its end, owned by the caller; NULL if it cannot be read or has more than
 * `max_size` bytes. */
char *file_read_text(size_t max_size, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads a file that holds secrets, like file_read(). It must be a regular file that belongs to root or to the
 * user who runs this, and only its owner may have any permission. The opened descriptor is checked, so the
 * file cannot be exchanged in between. */
bool file_read_secret(const char *path, size_t max_size, char **ret_data, size_t *ret_size,
                      struct error *error);

/* Replaces a file so that after a power cut it holds either the old bytes or the new ones: writes a temporary
 * file beside it, fsync, rename, fsync of the folder (if the file system can). Not for FAT, where a rename is
 * not atomic. If two replace it at the same time, one fails with EBUSY. */
bool file_replace(const char *path, const void *data, size_t size, mode_t mode, struct error *error);

/* Replaces a file like file_replace(), with bytes that come in pieces. */
struct file_writer;

/* Creates the temporary file, `path`.new, or takes over one that an earlier process left behind. It is locked
 * until the writer is freed: a second writer, even in this process, fails with EBUSY. */
bool file_writer_new(const char *path, mode_t mode, struct file_writer **ret_writer, struct error *error);

/* Appends to the temporary file. */
bool file_writer_add(struct file_writer *writer, const void *data, size_t size, struct error *error);

/* Bytes appended so far. */
uint64_t file_writer_size(const struct file_writer *writer);

/* Puts what was appended onto the medium. Whoever replaces several files does this first for all of them, so
 * that the renames follow one another closely. */
bool file_writer_sync(struct file_writer *writer, struct error *error);

/* Puts everything onto the medium and the file in its place. Only file_writer_free() may follow. */
bool file_writer_commit(struct file_writer *writer, struct error *error);

/* Removes the temporary file before the writer is freed, for a process that is about to end. Any thread, even
 * while another one appends, but not while one commits. */
void file_writer_remove(struct file_writer *writer);

/* Frees the writer, and removes the temporary file unless it was committed; NULL is fine. Returns NULL. */
struct file_writer *file_writer_free(struct file_writer *writer);

/* Reads exactly `size` bytes at `offset`; returns 0, -errno, or -ENODATA if the file ends before. */
int file_pread_full(int fd, void *data, size_t size, uint64_t offset);

/* Writes exactly `size` bytes at `offset`; returns 0 or -errno. */
int file_pwrite_full(int fd, const void *data, size_t size, uint64_t offset);

/* The folder that a path's last name is in, as it is written there: "." for a name alone, "/" for one below
 * the root. Owned by the caller. */
char *file_folder(const char *path);

/* When this returns 0, the name by which `path` leads to its file is on the medium, as far as the file system
 * can sync folders. Else -errno. Blocks on the medium. */
int file_sync_folder_of(const char *path);

/* Creates a folder and its parents, those that are missing, with mode 0755 less the umask; returns 0 or
 * -errno. */
int file_make_folders(const char *path);

/* Creates the folder that file_folder() tells, and its parents, where they are missing. */
bool file_make_parent(const char *path, struct error *error);
