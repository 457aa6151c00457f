/* SPDX-License-Identifier: MIT */
/* Reads and writes little-endian numbers, which need not be aligned. Pure; any thread. */
#pragma once

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t le_read_u16(const uint8_t *data)
{
    uint16_t value;

    memcpy(&value, data, sizeof(value));
    return le16toh(value);
}

static inline uint32_t le_read_u32(const uint8_t *data)
{
    uint32_t value;

    memcpy(&value, data, sizeof(value));
    return le32toh(value);
}

static inline uint64_t le_read_u64(const uint8_t *data)
{
    uint64_t value;

    memcpy(&value, data, sizeof(value));
    return le64toh(value);
}

static inline void le_write_u32(uint8_t *data, uint32_t value)
{
    value = htole32(value);
    memcpy(data, &value, sizeof(value));
}

static inline void le_write_u64(uint8_t *data, uint64_t value)
{
    value = htole64(value);
    memcpy(data, &value, sizeof(value));
}
