/* SPDX-License-Identifier: MIT */
#include "common/publish/generate_checks.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/image/chunk_table.h"

enum {
    /* More bytes than a manifest can have beside the chunk hashes, with the longest texts and references. */
    MANIFEST_REST_MAX = 16 * 1024,
    HASH_TEXT_MAX = 9, /* bytes of a chunk hash: eight digits and a comma */
};

bool generate_check_sizes(const struct generate_settings *settings, uint64_t size,
                          const struct chunker *chunker, struct error *error)
{
    uint64_t count = size / settings->chunk_size + (size % settings->chunk_size != 0);

    if (size == 0)
        return error_set(
            error, ERROR_REFUSED,
            "%s is empty: a device would call what its slot held before by this release's name; build "
            "the image again",
            settings->image_path);
    if (count > (MANIFEST_SIZE_MAX - MANIFEST_REST_MAX) / HASH_TEXT_MAX)
        return error_set(error, ERROR_REFUSED,
                         "%s makes %" PRIu64 " chunks of %" PRIu32
                         " bytes, too many for one manifest; take a larger CHUNK_SIZE",
                         settings->image_path, count, settings->chunk_size);
    if (size / chunker->maximum > (CHUNK_TABLE_SIZE_MAX - CHUNK_TABLE_HEADER_SIZE) / CHUNK_TABLE_ROW_SIZE)
        return error_set(error, ERROR_REFUSED,
                         "%s has too many chunks of %" PRIu32 " bytes for one table; take a larger average",
                         settings->image_path, settings->average);
    return true;
}

char *generate_trusted_comment(const struct generate_settings *settings)
{
    return settings->trusted_comment ? alloc_string(settings->trusted_comment)
                                     : alloc_printf("file:%s.json", basename(settings->image_path));
}

bool generate_check_comment(const struct generate_settings *settings, struct error *error)
{
    CLEANUP_FREE char *comment = generate_trusted_comment(settings);

    if (!settings->sign_key || minisign_check_comment(comment, error))
        return true;
    if (settings->trusted_comment)
        return false;
    return error_set(
        error, ERROR_REFUSED,
        "the name of %s does not fit into a signature's trusted comment, which is one line; give "
        "--trusted-comment, or the image another name",
        settings->image_path);
}
