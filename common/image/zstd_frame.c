/* SPDX-License-Identifier: MIT */
#include "common/image/zstd_frame.h"

#include <errno.h>
#include <stdbool.h>

#include <zstd.h>
#include <zstd_errors.h>

#include "common/base/le.h"

enum {
    /* RFC 8878: the byte after the magic number, and its bit that says a checksum follows. */
    DESCRIPTOR_OFFSET = 4,
    DESCRIPTOR_CHECKSUM = 1 << 2,
    WINDOW_LOG_MIN = 10,
    WINDOW_LOG_MAX = 27,
};

struct zstd_packer *zstd_packer_new(int level)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();

    if (!context)
        return NULL;
    /* To state the content size and add no checksum are libzstd's defaults, but set here, because the format
     * demands them. */
    if (ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 0)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 0))) {
        ZSTD_freeCCtx(context);
        return NULL;
    }
    return (struct zstd_packer *)context;
}

struct zstd_packer *zstd_packer_free(struct zstd_packer *packer)
{
    ZSTD_freeCCtx((ZSTD_CCtx *)packer);
    return NULL;
}

size_t zstd_pack_bound(size_t size)
{
    return ZSTD_compressBound(size);
}

/* log2 of a window that reaches from the end of the data back to the beginning of the prefix. */
static int window_log(size_t size)
{
    int log = WINDOW_LOG_MIN;

    while (log < WINDOW_LOG_MAX && (size_t)1 << log < size)
        log++;
    return log;
}

int zstd_pack(struct zstd_packer *packer, const void *prefix, size_t prefix_size, const void *data,
              size_t size, void *frame, size_t room, size_t *ret_frame_size)
{
    ZSTD_CCtx *context = (ZSTD_CCtx *)packer;

    if (ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log(prefix_size + size))) ||
        ZSTD_isError(ZSTD_CCtx_refPrefix(context, prefix_size ? prefix : NULL, prefix_size)))
        return -ENOMEM;
    size_t result = ZSTD_compress2(context, frame, room, data, size);
    if (!ZSTD_isError(result)) {
        *ret_frame_size = result;
        return 0;
    }
    /* After any failure the next frame must begin with a clean context. */
    ZSTD_CCtx_reset(context, ZSTD_reset_session_only);
    return ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall ? -ENOSPC : -ENOMEM;
}

struct zstd_unpacker *zstd_unpacker_new(void)
{
    return (struct zstd_unpacker *)ZSTD_createDCtx();
}

struct zstd_unpacker *zstd_unpacker_free(struct zstd_unpacker *unpacker)
{
    ZSTD_freeDCtx((ZSTD_DCtx *)unpacker);
    return NULL;
}

/* Whether `frame` is a frame of the present format (libzstd would accept skippable and legacy frames, too),
 * states `size`, and has neither dictionary nor checksum. */
static bool header_fits(const uint8_t *frame, size_t frame_size, size_t size)
{
    return frame_size > DESCRIPTOR_OFFSET && le_read_u32(frame) == ZSTD_MAGICNUMBER &&
           !(frame[DESCRIPTOR_OFFSET] & DESCRIPTOR_CHECKSUM) &&
           ZSTD_getDictID_fromFrame(frame, frame_size) == 0 &&
           ZSTD_getFrameContentSize(frame, frame_size) == size &&
           ZSTD_findFrameCompressedSize(frame, frame_size) == frame_size;
}

int zstd_unpack(struct zstd_unpacker *unpacker, const void *prefix, size_t prefix_size, const void *frame,
                size_t frame_size, void *data, size_t size)
{
    ZSTD_DCtx *context = (ZSTD_DCtx *)unpacker;

    if (!header_fits(frame, frame_size, size))
        return -EBADMSG;
    if (ZSTD_isError(ZSTD_DCtx_refPrefix(context, prefix_size ? prefix : NULL, prefix_size)))
        return -ENOMEM;
    size_t result = ZSTD_decompressDCtx(context, data, size, frame, frame_size);
    if (result == size)
        return 0;
    ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
    return -EBADMSG;
}
