/* SPDX-License-Identifier: MIT */
/*
 * Publishes an image: reads it and writes beside it IMAGE.chunks, IMAGE.json, and if asked for
 * IMAGE.json.minisig and IMAGE.pack (common/publish/pack.h). Equal input gives equal files: they do not
 * depend on time or machine. Only the memory for table and manifest grows with the image. Blocks until it is
 * done: for programs without a loop, or a thread beside one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/image/manifest.h"
#include "common/image/minisign.h"
#include "common/publish/generate_parts.h"
#include "common/publish/pack.h"

struct generate_settings {
    const char *image_path;
    uint32_t chunk_size;             /* bytes of the ancestor's fixed chunks, 1 to MANIFEST_CHUNK_SIZE_MAX */
    uint32_t average;                /* of the content-defined chunks, as chunker_init() takes it */
    struct manifest_release release; /* the strings remain the caller's */
    const struct generate_part *parts;          /* images that belong to this one; none = it is no set */
    uint32_t part_count;                        /* at most GENERATE_PARTS_MAX */
    const struct minisign_secret_key *sign_key; /* for IMAGE.json.minisig; NULL = write none */
    const char *trusted_comment;                /* checked by minisign_check_comment(); NULL = the default */
    bool with_pack;                             /* write IMAGE.pack with the chunks, compressed */
    const char *const *base_paths; /* earlier releases' images, for patches against them in IMAGE.pack */
    uint32_t base_count;           /* at most MANIFEST_BASES_MAX */
    uint32_t span_max;             /* bytes, see struct pack_settings */
    uint32_t output_max;           /* bytes, see there; raised to the size of the largest chunk */
    uint64_t now_s;                /* Unix time, for a warning only; 0 = do not warn */
    /* Called now and then with what is being done and how much of it, in bytes of the image; may be NULL. */
    void (*progress)(void *owner, const char *stage, uint64_t done, uint64_t total);
    void *owner;
};

/* Something that is probably a mistake of the publisher's; the files are written all the same. */
struct generate_warning {
    const char *what; /* a word for programs, docs/publishing.md lists them */
    char text[512];   /* a sentence */
};

enum { GENERATE_WARNINGS_MAX = 5 + MANIFEST_BASES_MAX };

/* What was written. */
struct generate_result {
    uint64_t file_size; /* bytes */
    uint32_t file_hash; /* XXH32 */
    uint8_t sha256[DIGEST_SHA256_SIZE];
    uint32_t chunk_count;      /* fixed chunks */
    uint32_t table_count;      /* content-defined chunks */
    uint64_t table_size_bytes; /* of IMAGE.chunks */
    uint64_t manifest_size_bytes;
    uint64_t pack_size_bytes; /* 0 = no pack was asked for */
    /* There is an IMAGE.json.minisig from before, which is not of this manifest. It is left, as the publisher
     * may be about to replace it. */
    bool signature_outdated;
    struct pack_result pack;
    struct generate_warning warnings[GENERATE_WARNINGS_MAX];
    uint32_t warning_count;
};

/* One run. */
struct generate;

/* Checks all that can be checked beforehand, and creates the files under temporary names. Refuses an image of
 * 0 bytes, and one that another run is publishing. `settings` is used until generate_free(). */
bool generate_new(const struct generate_settings *settings, struct generate **ret_generate,
                  struct error *error);

/* Reads the image, writes the files, and then puts all of them in their places, the manifest last. Fails if
 * the image changes meanwhile. If it fails, nothing that is published has changed. May be called once. */
bool generate_run(struct generate *generate, struct generate_result *ret_result, struct error *error);

/* Calls publication_abandon(), for a process that is about to end. Any thread, also during generate_run(). */
bool generate_abandon(struct generate *generate);

/* Frees the run and removes what was not published; NULL is fine. Returns NULL. */
struct generate *generate_free(struct generate *generate);

/* Does generate_new(), generate_run() and generate_free(). */
bool generate_files(const struct generate_settings *settings, struct generate_result *ret_result,
                    struct error *error);
