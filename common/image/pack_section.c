/* SPDX-License-Identifier: MIT */
#include "common/image/pack_section.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/image/zstd_frame.h"

bool pack_section_unpack(const struct manifest_section *section, const uint8_t *data, const char *what,
                         uint8_t **ret_unpacked, struct error *error)
{
    uint8_t sha256[DIGEST_SHA256_SIZE];

    digest_sha256(data, section->size, sha256);
    if (memcmp(sha256, section->sha256, sizeof(sha256)) != 0)
        return error_set(error, ERROR_MISMATCH,
                         "the pack's %s is not what its manifest names; publish the pack before the manifest",
                         what);
    uint8_t *unpacked = malloc(section->unpacked ? section->unpacked : 1);
    struct zstd_unpacker *unpacker = zstd_unpacker_new();
    bool ok = unpacked && unpacker;
    if (!ok)
        error_set_errno(error, ENOMEM, "cannot hold the pack's %s", what);
    else if (zstd_unpack(unpacker, NULL, 0, data, section->size, unpacked, section->unpacked) < 0)
        ok = error_set(error, ERROR_FORMAT, "the pack's %s does not unpack to what the manifest says", what);
    zstd_unpacker_free(unpacker);
    if (ok)
        *ret_unpacked = unpacked;
    else
        free(unpacked);
    return ok;
}
