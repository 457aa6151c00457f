/* SPDX-License-Identifier: MIT */
/*
 * Small regular files, read and written whole, and descriptors that close themselves. For images and block
 * devices see common/io/device.h. Every function here may block on the medium, so on the daemon's loop only
 * files of our own on local storage go through it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/error.h"

/* Closes the descriptor it stands on (if not negative) when the variable goes out of scope; errno is kept. */
#define CLEANUP_FD __attribute__((cleanup(file_close_pointer)))

/* For CLEANUP_FD only. */
void file_close_pointer(int *fd);

/* Hands the descriptor over: returns *fd and leaves -1 behind. */
int file_take_fd(int *fd);

/* Reads `path` whole, at most `max_size` bytes (a larger file is refused). *ret_data is zero-terminated one
 * byte past *ret_size and freed by the caller. */
bool file_read(const char *path, size_t max_size, char **ret_data, size_t *ret_size, struct error *error);

/* A small file of the kernel's or udev's, of at most `max_size` bytes, whose path is printed: its text
 * without the line feed at its end, owned by the caller; NULL where it cannot be read. */
char *file_read_text(size_t max_size, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Like file_read(), for a file that holds secrets: it must be a regular one, owned by root or by whoever runs
 * this, and nobody but its owner may have any right to it. Judged by the opened descriptor. */
bool file_read_secret(const char *path, size_t max_size, char **ret_data, size_t *ret_size,
                      struct error *error);

/* Replaces `path` so that after a power cut it holds either the old or the new bytes: a temporary file beside
 * it, fsync, rename, fsync of the folder (where the file system can sync one). Not for FAT, where a rename is
 * not atomic. Of two that replace it at the same time one is refused with EBUSY. */
bool file_replace(const char *path, const void *data, size_t size, mode_t mode, struct error *error);

/* The same for bytes that come one after another: a temporary file, which takes the path's place when all is
 * there. */
struct file_writer;

/* Creates the temporary file beside `path`, `path`.new. It is locked until the writer is freed: a second
 * writer, in this process too, is refused with EBUSY. One that was left behind is taken over. */
bool file_writer_new(const char *path, mode_t mode, struct file_writer **ret_writer, struct error *error);

/* Appends. */
bool file_writer_add(struct file_writer *writer, const void *data, size_t size, struct error *error);

/* Bytes appended so far. */
uint64_t file_writer_size(const struct file_writer *writer);

/* fsync, so that little is left to do between this file's rename and that of the next one. */
bool file_writer_sync(struct file_writer *writer, struct error *error);

/* fsync, rename, fsync of the folder. Nothing but freeing may follow. */
bool file_writer_commit(struct file_writer *writer, struct error *error);

/* Removes the temporary file before the writer is freed. From any thread, also while another one
 * appends, but not while one commits. */
void file_writer_remove(struct file_writer *writer);

/* Frees, and removes the temporary file where it was not committed; NULL is fine. Returns NULL. */
struct file_writer *file_writer_free(struct file_writer *writer);

/* Reads exactly `size` bytes at `offset`; returns 0, -errno, or -ENODATA where the file ends before. */
int file_pread_full(int fd, void *data, size_t size, uint64_t offset);

/* Writes exactly `size` bytes at `offset`; returns 0 or -errno. */
int file_pwrite_full(int fd, const void *data, size_t size, uint64_t offset);

/* Creates folder `path` and its parents (mode 0755 less umask); returns 0 or -errno, 0 if it is there. */
int file_make_folders(const char *path);
