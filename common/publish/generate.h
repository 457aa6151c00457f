/* SPDX-License-Identifier: MIT */
/*
 * The publisher's side: reads an image once and writes IMAGE.chunks and IMAGE.json beside it, and IMAGE.pack
 * where it is asked for (common/publish/pack.h), in memory that does not grow with the image but for the
 * table and the manifest themselves. Equal input gives equal files: nothing of the time or the machine goes
 * in. Blocks from begin to end: for programs without a loop, or a thread beside one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/image/manifest.h"
#include "common/image/minisign.h"
#include "common/publish/pack.h"

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
    uint64_t now_s;                /* Unix time, for the warnings only; 0 = nobody wants to hear of it */
    /* Called now and then, may be NULL. `stage` says what is being done; the numbers stand for the stage's
     * work. */
    void (*progress)(void *owner, const char *stage, uint64_t done, uint64_t total);
    void *owner;
};

/* Something that a publisher hardly wants; the files are written all the same. */
struct generate_warning {
    const char *what; /* a word for programs, docs/publishing.md lists them */
    char text[512];   /* a sentence */
};

enum { GENERATE_WARNINGS_MAX = 4 + MANIFEST_BASES_MAX };

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
    struct generate_warning warnings[GENERATE_WARNINGS_MAX];
    uint32_t warning_count;
};

/* One run. */
struct generate;

/* Checks what can be checked before the work, and creates the files under temporary names. Refuses an image
 * of 0 bytes, and one that another run is at work on. `settings` is used until generate_free(). */
bool generate_new(const struct generate_settings *settings, struct generate **ret_generate,
                  struct error *error);

/* Reads the image, and puts the files into their places when all are written: the pack, the table, the
 * signature, and last the manifest that they are for. A failure changes nothing of what is published. Fails
 * where the image changes while it is read. Once. */
bool generate_run(struct generate *generate, struct generate_result *ret_result, struct error *error);

/* For a process that is about to end while another thread is in generate_run(): see publication_abandon(). */
bool generate_abandon(struct generate *generate);

/* Removes what was not published; NULL is fine. Returns NULL. */
struct generate *generate_free(struct generate *generate);

/* All three. */
bool generate_files(const struct generate_settings *settings, struct generate_result *ret_result,
                    struct error *error);
