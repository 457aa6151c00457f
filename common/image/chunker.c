/* SPDX-License-Identifier: MIT */
#include "common/image/chunker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum {
    /* A byte's contribution is shifted out of the 64-bit hash after as many bytes. */
    CHUNKER_WINDOW = 64,
    /* A mask's bits lie in the upper 48, so each tested bit depends on at least 16 bytes. */
    CHUNKER_MASK_SPREAD = 48,
    /* The hard mask has so many bits more than log2 of the average, the easy one so many less (FastCDC's
     * level 2). */
    CHUNKER_NORMALISATION = 2,
};

/* `bits` ones spread evenly from the top bit down, as FastCDC recommends: neighbouring bits of a gear hash
 * depend on nearly the same bytes. */
static uint64_t mask_of(unsigned bits)
{
    uint64_t mask = 0;

    for (unsigned i = 0; i < bits; i++)
        mask |= UINT64_C(1) << (63 - i * CHUNKER_MASK_SPREAD / bits);
    return mask;
}

/* SplitMix64, whose first outputs from seed 0 are published: a table nobody had to choose. */
static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int chunker_init(struct chunker *chunker, uint32_t average)
{
    if (average < CHUNKER_AVERAGE_MIN || average > CHUNKER_AVERAGE_MAX || (average & (average - 1)))
        return -EINVAL;

    unsigned bits = (unsigned)__builtin_ctz(average);
    chunker->average = average;
    chunker->minimum = average / 4;
    chunker->maximum = average * 4;
    chunker->mask_hard = mask_of(bits + CHUNKER_NORMALISATION);
    chunker->mask_easy = mask_of(bits - CHUNKER_NORMALISATION);
    uint64_t state = 0;
    for (size_t i = 0; i < sizeof(chunker->gear) / sizeof(chunker->gear[0]); i++)
        chunker->gear[i] = splitmix64(&state);
    return 0;
}

/* Hashes the bytes from `start` to `end` until one of them ends a chunk by `mask`. Returns the chunk's
 * length, or 0 if none does; *hash is then the hash at `end`. */
static size_t find_cut(const uint64_t *gear, const uint8_t *data, size_t start, size_t end, uint64_t mask,
                       uint64_t *hash)
{
    uint64_t h = *hash;

    for (size_t i = start; i < end; i++) {
        h = (h << 1) + gear[data[i]];
        if (!(h & mask))
            return i + 1;
    }
    *hash = h;
    return 0;
}

size_t chunker_cut(const struct chunker *chunker, const uint8_t *data, size_t size)
{
    if (size <= chunker->minimum)
        return size;

    size_t end = size < chunker->maximum ? size : chunker->maximum;
    size_t average = end < chunker->average ? end : chunker->average;
    uint64_t hash = 0;
    /* Only the 64 bytes before the first possible cut can affect it, so the rest of the minimum is
     * skipped. */
    for (size_t i = chunker->minimum - CHUNKER_WINDOW; i < chunker->minimum - 1; i++)
        hash = (hash << 1) + chunker->gear[data[i]];

    /* For a chunk of exactly the average the easy mask counts already. */
    size_t length =
        find_cut(chunker->gear, data, chunker->minimum - 1, average - 1, chunker->mask_hard, &hash);
    if (length == 0)
        length = find_cut(chunker->gear, data, average - 1, end, chunker->mask_easy, &hash);
    return length ? length : end;
}

struct chunker_stream {
    struct chunker chunker;
    chunker_chunk_fn chunk;
    void *owner;
    uint8_t *buffer; /* room for twice the maximum */
    size_t start;    /* where the bytes begin that are not cut yet */
    size_t end;
};

struct chunker_stream *chunker_stream_new(const struct chunker *chunker, chunker_chunk_fn chunk, void *owner)
{
    uint8_t *buffer = malloc((size_t)2 * chunker->maximum);

    if (!buffer)
        return NULL;
    struct chunker_stream *stream = alloc_zeroed(sizeof(*stream));
    stream->chunker = *chunker;
    stream->chunk = chunk;
    stream->owner = owner;
    stream->buffer = buffer;
    return stream;
}

struct chunker_stream *chunker_stream_free(struct chunker_stream *stream)
{
    if (!stream)
        return NULL;
    free(stream->buffer);
    free(stream);
    return NULL;
}

/* Cuts as long as more than `keep` bytes are in the buffer. */
static bool cut_down_to(struct chunker_stream *stream, size_t keep)
{
    while (stream->end - stream->start > keep) {
        const uint8_t *data = stream->buffer + stream->start;
        size_t length = chunker_cut(&stream->chunker, data, stream->end - stream->start);
        assert(length > 0);
        stream->start += length;
        if (!stream->chunk(stream->owner, data, length))
            return false;
    }
    return true;
}

bool chunker_stream_add(struct chunker_stream *stream, const uint8_t *data, size_t size)
{
    size_t room = (size_t)2 * stream->chunker.maximum;

    while (size > 0) {
        size_t take = room - stream->end < size ? room - stream->end : size;
        memcpy(stream->buffer + stream->end, data, take);
        stream->end += take;
        data += take;
        size -= take;
        if (stream->end < room)
            break;
        if (!cut_down_to(stream, stream->chunker.maximum - 1))
            return false;
        /* Less than a maximum is left, so at least a maximum fits behind it. */
        memmove(stream->buffer, stream->buffer + stream->start, stream->end - stream->start);
        stream->end -= stream->start;
        stream->start = 0;
    }
    return true;
}

bool chunker_stream_end(struct chunker_stream *stream)
{
    return cut_down_to(stream, 0);
}
