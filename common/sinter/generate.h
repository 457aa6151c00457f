/*
 * The publisher's side: reads an image once and writes IMAGE.chunks and IMAGE.json beside it, and IMAGE.pack
 * where it is asked for (common/sinter/pack.h), in memory that does not grow with the image but for the table
 * and the manifest themselves. Equal input gives equal files: nothing of the time or the machine goes in.
 * Blocks from begin to end: for programs without a loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/image/manifest.h"
#include "common/image/minisign.h"
#include "common/sinter/pack.h"

struct generate_settings {
    const char *image_path;
    uint32_t chunk_size;             /* bytes of the ancestor's fixed chunks, 1 to MANIFEST_CHUNK_SIZE_MAX */
    uint32_t average;                /* of the content-defined chunks, as chunker_init() takes it */
    struct manifest_release release; /* the strings stay the caller's */
    const struct minisign_secret_key *sign_key; /* makes IMAGE.json.minisig; NULL = nobody does */
    const char *trusted_comment;   /* in it, minisign_check_comment() took it; NULL = the file's name */
    bool with_pack;                /* the chunks, compressed, in IMAGE.pack */
    const char *const *base_paths; /* earlier releases' images to make patches from, in IMAGE.pack */
    uint32_t base_count;           /* at most MANIFEST_BASES_MAX */
    uint32_t span_max;             /* bytes, see pack_settings */
    uint32_t output_max;           /* bytes; raised to the largest chunk where that is larger */
    /* Called now and then, may be NULL. `stage` says what is being done; the numbers stand for the stage's
     * work. */
    void (*progress)(void *owner, const char *stage, uint64_t done, uint64_t total);
    void *owner;
};

/* What was written. */
struct generate_result {
    uint64_t file_size; /* bytes */
    uint32_t file_hash; /* XXH32 */
    uint8_t sha256[DIGEST_SHA256_SIZE];
    uint32_t chunk_count;      /* fixed chunks */
    uint32_t table_count;      /* content-defined chunks */
    uint64_t table_size_bytes; /* of IMAGE.chunks */
    uint64_t manifest_size_bytes;
    uint64_t pack_size_bytes; /* 0: none was asked for */
    /* IMAGE.json.minisig is there, nobody asked for a new one, and it is of the former manifest. It was left
     * alone: a publisher may be about to replace it. */
    bool signature_outdated;
    struct pack_result pack;
};

/* Writes the files, each atomically: the pack, the table, the signature, and last the manifest that they are
 * for. Fails where the image changes while it is read. */
bool generate_files(const struct generate_settings *settings, struct generate_result *ret_result,
                    struct error *error);
