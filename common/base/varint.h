/* SPDX-License-Identifier: MIT */
/*
 * Numbers of variable length, unsigned LEB128 in its shortest form (docs/manifest.md, 3), and a reader that
 * never reads past its bytes. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VARINT_SIZE_MAX = 10 }; /* bytes of the longest */

/* Writes `value` into `data`, which must have room for VARINT_SIZE_MAX bytes; returns how many it took. */
size_t varint_write(uint8_t *data, uint64_t value);

/* Reads from memory, front to back. Once something is missing or not well-formed, `failed` is set and all
 * that follows is read as 0 or NULL, so that a caller need check `failed` only at the end of a record. */
struct byte_reader {
    const uint8_t *data;
    size_t left;
    bool failed;
};

/* Reads the next number: of variable length, or of 4 or 8 bytes, little-endian. */
uint64_t byte_reader_varint(struct byte_reader *reader);
uint32_t byte_reader_fixed32(struct byte_reader *reader);
uint64_t byte_reader_fixed64(struct byte_reader *reader);

/* Skips the next `size` bytes and returns where they are; NULL if there are fewer. */
const uint8_t *byte_reader_bytes(struct byte_reader *reader, size_t size);
