/* SPDX-License-Identifier: MIT */
/*
 * Writes the contents of a pack's sections number by number, well-formed or not, for tests of what reads
 * them. Aborts if there is no memory.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct byte_writer {
    uint8_t *data;
    size_t size, room;
};

/* Append bytes, or a number: of variable length, or of 4 or 8 bytes, little-endian. */
void byte_writer_bytes(struct byte_writer *writer, const void *data, size_t size);
void byte_writer_varint(struct byte_writer *writer, uint64_t value);
void byte_writer_fixed32(struct byte_writer *writer, uint32_t value);
void byte_writer_fixed64(struct byte_writer *writer, uint64_t value);

/* Frees the bytes; the writer is empty then. */
void byte_writer_finish(struct byte_writer *writer);
