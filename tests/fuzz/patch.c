/* SPDX-License-Identifier: MIT */
/* A patch's frame, applied to the bytes of a base and alone: whatever it is, it gives what was asked for or
 * nothing. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/image/zstd_frame.h"
#include "tests/fuzz/fuzz.h"

enum { SPANS_SIZE = 4096 };

/* The first two bytes are the size that the patch should make, the rest is its frame. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zstd_unpacker *unpacker = zstd_unpacker_new();
    uint8_t spans[SPANS_SIZE];

    if (!unpacker)
        abort();
    for (size_t i = 0; i < sizeof(spans); i++)
        spans[i] = (uint8_t)(i * 7 + i / 256);
    if (size >= 2) {
        size_t output_size = (size_t)(data[0] | data[1] << 8), frame_size = size - 2;
        uint8_t *output = alloc_zeroed(output_size ? output_size : 1);
        uint8_t *frame = alloc_zeroed(frame_size ? frame_size : 1);
        memcpy(frame, data + 2, frame_size);
        for (int turn = 0; turn < 2; turn++) {
            int result = zstd_unpack(unpacker, turn ? spans : NULL, turn ? sizeof(spans) : 0, frame,
                                     frame_size, output, output_size);
            assert(result == 0 || result == -EBADMSG);
        }
        free(output);
        free(frame);
    }
    zstd_unpacker_free(unpacker);
    return 0;
}
