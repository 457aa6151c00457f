/* SPDX-License-Identifier: MIT */
/*
 * One zstd frame at a time, alone or against a prefix: the only user of libzstd. Frames state their content
 * size, and carry neither checksum nor dictionary (docs/manifest.md, 3.1); all are packed and unpacked in one
 * go between buffers of known size, so that no window is allocated. Blocks on nothing, but takes processor
 * time: pool threads only, each with its own context.
 */
#pragma once

#include <stddef.h>

struct zstd_packer;
struct zstd_unpacker;

/* A context for packing at `level` (1 to 22), or NULL where there is no memory. */
struct zstd_packer *zstd_packer_new(int level);

/* Frees; NULL is fine. Returns NULL. */
struct zstd_packer *zstd_packer_free(struct zstd_packer *packer);

/* The most bytes that `size` bytes can become. */
size_t zstd_pack_bound(size_t size);

/* Packs `size` bytes of `data` against `prefix` (prefix_size may be 0) into `frame` of `room` bytes. Returns
 * 0, -ENOSPC if the frame does not fit into `room` (which may be the caller's limit), or -ENOMEM. */
int zstd_pack(struct zstd_packer *packer, const void *prefix, size_t prefix_size, const void *data,
              size_t size, void *frame, size_t room, size_t *ret_frame_size);

/* A context for unpacking, or NULL where there is no memory. */
struct zstd_unpacker *zstd_unpacker_new(void);

/* Frees; NULL is fine. Returns NULL. */
struct zstd_unpacker *zstd_unpacker_free(struct zstd_unpacker *unpacker);

/* Unpacks a frame that must hold exactly `size` bytes into `data`. Returns 0, or -EBADMSG if `frame` is not
 * exactly one frame of so many bytes. Allocates nothing by what the frame's header says. */
int zstd_unpack(struct zstd_unpacker *unpacker, const void *prefix, size_t prefix_size, const void *frame,
                size_t frame_size, void *data, size_t size);
