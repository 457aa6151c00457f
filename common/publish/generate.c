/* SPDX-License-Identifier: MIT */
#include "common/publish/generate.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/file_status.h"
#include "common/image/chunk_table.h"
#include "common/image/chunker.h"
#include "common/image/url.h"
#include "common/io/device.h"
#include "common/publish/generate_checks.h"
#include "common/publish/generate_warnings.h"
#include "common/publish/publication.h"

enum { GENERATE_BLOCK_SIZE = 1024 * 1024 }; /* bytes read at once */

struct generate {
    const struct generate_settings *settings;
    struct device *device;
    uint8_t *block;
    struct digest_stream *whole; /* SHA-256 and XXH32 of the image */
    struct digest_stream *fixed; /* XXH32 of a fixed chunk that lies in several blocks; NULL = of none */
    uint64_t fixed_done;         /* bytes of that chunk so far */
    struct chunker_stream *stream;
    struct chunk_table_writer *writer;
    int table_result; /* 0, or why the table took no more chunks */
    uint32_t table_count;
    struct manifest *manifest;
    uint8_t *table; /* the bytes of IMAGE.chunks */
    size_t table_size;
    struct publication *publication;
    struct stat before; /* of the image, when the run began */
};

static bool generator_add_chunk(void *owner, const uint8_t *data, size_t size)
{
    struct generate *generator = owner;
    uint8_t sha256[DIGEST_SHA256_SIZE];

    digest_sha256(data, size, sha256);
    generator->table_result =
        chunk_table_writer_add(generator->writer, (uint32_t)size, digest_xxh3(data, size), sha256);
    generator->table_count++;
    return generator->table_result == 0;
}

static void generator_add_hash(struct generate *generator, uint32_t hash)
{
    generator->manifest->chunk_hashes[generator->manifest->chunk_count++] = hash;
}

/* Hashes the ancestor's fixed chunks; one that lies in this block as a whole is hashed at once. */
static void generator_hash_fixed(struct generate *generator, const uint8_t *data, size_t size)
{
    uint32_t chunk_size = generator->settings->chunk_size, hash;

    while (size > 0) {
        uint64_t missing = chunk_size - generator->fixed_done;
        size_t take = missing < size ? (size_t)missing : size;
        if (!generator->fixed && take == chunk_size) {
            generator_add_hash(generator, digest_xxh32(data, take));
        } else {
            if (!generator->fixed)
                generator->fixed = digest_stream_new(false, true);
            digest_stream_update(generator->fixed, data, take);
            generator->fixed_done += take;
            if (generator->fixed_done == chunk_size) {
                digest_stream_final(generator->fixed, NULL, &hash);
                generator->fixed = digest_stream_free(generator->fixed);
                generator->fixed_done = 0;
                generator_add_hash(generator, hash);
            }
        }
        data += take;
        size -= take;
    }
}

static bool generator_refuse_table(const struct generate *generator, struct error *error)
{
    const char *path = generator->settings->image_path;

    if (generator->table_result != -EFBIG)
        return error_set_errno(error, generator->table_result, "cannot hold the table of chunks of %s", path);
    return error_set(error, ERROR_REFUSED,
                     "%s has too many chunks of %" PRIu32 " bytes for one table; take a larger average", path,
                     generator->settings->average);
}

static bool generator_read(struct generate *generator, uint64_t size, struct error *error)
{
    const struct generate_settings *settings = generator->settings;

    for (uint64_t done = 0; done < size;) {
        size_t part = size - done < GENERATE_BLOCK_SIZE ? (size_t)(size - done) : GENERATE_BLOCK_SIZE;
        if (!device_read(generator->device, generator->block, part, done, error))
            return false;
        digest_stream_update(generator->whole, generator->block, part);
        generator_hash_fixed(generator, generator->block, part);
        if (!chunker_stream_add(generator->stream, generator->block, part))
            return generator_refuse_table(generator, error);
        done += part;
        if (settings->progress)
            settings->progress(settings->owner, "reading", done, size);
    }
    if (!chunker_stream_end(generator->stream))
        return generator_refuse_table(generator, error);
    if (generator->fixed) {
        uint32_t hash;
        digest_stream_final(generator->fixed, NULL, &hash);
        generator_add_hash(generator, hash);
        generator->manifest->last_chunk_size = (uint32_t)generator->fixed_done;
    } else {
        generator->manifest->last_chunk_size = settings->chunk_size;
    }
    digest_stream_final(generator->whole, generator->manifest->sha256, &generator->manifest->file_hash);
    return true;
}

/* Creates the temporary files, so that what keeps them from being written is found out before the work. */
static bool generator_open_publication(struct generate *generator, struct error *error)
{
    const struct generate_settings *settings = generator->settings;
    const char *inputs[MANIFEST_BASES_MAX + 1] = {settings->image_path};
    struct publication_settings publication = {.image_path = settings->image_path,
                                               .with_pack = settings->with_pack || settings->base_count > 0,
                                               .with_signature = settings->sign_key != NULL,
                                               .inputs = inputs,
                                               .input_count = settings->base_count + 1};

    for (uint32_t i = 0; i < settings->base_count; i++)
        inputs[i + 1] = settings->base_paths[i];
    return publication_new(&publication, &generator->publication, error);
}

/* Checks the settings and makes all that the run needs; after a failure generate_free() frees it. */
static bool generator_start(struct generate *generator, struct error *error)
{
    const struct generate_settings *settings = generator->settings;
    uint64_t size = (uint64_t)generator->before.st_size;
    struct chunker chunker;

    if (chunker_init(&chunker, settings->average) < 0)
        return error_set(error, ERROR_REFUSED,
                         "an average of %" PRIu32 " bytes is no power of two from %d to %d",
                         settings->average, CHUNKER_AVERAGE_MIN, CHUNKER_AVERAGE_MAX);
    if (!generate_check_sizes(settings, size, &chunker, error) || !generate_check_comment(settings, error) ||
        !device_open_source(settings->image_path, &generator->device, error) ||
        !generator_open_publication(generator, error))
        return false;

    const struct manifest_release *release = &settings->release;
    generator->block = alloc_zeroed(GENERATE_BLOCK_SIZE);
    generator->whole = digest_stream_new(true, true);
    generator->stream = chunker_stream_new(&chunker, generator_add_chunk, generator);
    if (!generator->stream)
        return error_set_errno(error, ENOMEM, "cannot cut %s into chunks", settings->image_path);
    generator->writer = chunk_table_writer_new(&chunker);
    generator->manifest = alloc_zeroed(sizeof(*generator->manifest));
    generator->manifest->chunk_hashes = alloc_array(
        (size_t)(size / settings->chunk_size + (size % settings->chunk_size != 0)), sizeof(uint32_t));
    generator->manifest->chunk_size = settings->chunk_size;
    generator->manifest->file_size = size;
    generator->manifest->has_sha256 = true;
    generator->manifest->release = *release;
    generator->manifest->release.version = alloc_string(release->version);
    generator->manifest->release.compatible = alloc_string(release->compatible);
    return generate_parts_read(settings->image_path, settings->parts, settings->part_count,
                               &generator->manifest->parts, error);
}

/* Signs the manifest if there is a key. Its file is renamed just before the manifest's: a device that comes
 * in between finds two files that do not fit, and fetches both again. */
static bool generator_sign(const struct generate *generator, const char *text, struct error *error)
{
    const struct generate_settings *settings = generator->settings;
    CLEANUP_FREE char *comment = generate_trusted_comment(settings);

    if (!settings->sign_key)
        return true;
    CLEANUP_FREE char *signature = minisign_sign(settings->sign_key, text, strlen(text), comment);
    return file_writer_add(publication_writer(generator->publication, PUBLICATION_SIGNATURE), signature,
                           strlen(signature), error);
}

/* Whether there is an IMAGE.json.minisig that is not replaced although the manifest gets other bytes. */
static bool generator_outdates_signature(const struct generate *generator, const char *manifest_path,
                                         const char *text)
{
    CLEANUP_FREE char *signature_path = alloc_printf("%s.minisig", manifest_path);
    CLEANUP_FREE char *former = NULL;
    size_t size;

    if (generator->settings->sign_key || access(signature_path, F_OK) < 0)
        return false;
    return !file_read(manifest_path, MANIFEST_SIZE_MAX, &former, &size, NULL) || size != strlen(text) ||
           memcmp(former, text, size) != 0;
}

/* The reference, for the manifest, to the file beside the image that has its name and `suffix`. */
static char *reference_beside(const struct generate *generator, const char *suffix)
{
    CLEANUP_FREE char *name = alloc_printf("%s%s", basename(generator->settings->image_path), suffix);

    return url_reference_of_name(name);
}

static void generator_take_table(struct generate *generator)
{
    struct manifest_chunks *chunks = &generator->manifest->chunks;

    chunk_table_writer_take(generator->writer, &generator->table, &generator->table_size);
    chunks->present = true;
    chunks->url = reference_beside(generator, ".chunks");
    chunks->size_bytes = generator->table_size;
    digest_sha256(generator->table, generator->table_size, chunks->sha256);
}

/* Passes the pack's progress on in bytes of the image, as its own units mean nothing to people. */
static void pass_progress(void *owner, const char *stage, uint64_t done, uint64_t total)
{
    const struct generate *generator = owner;
    const struct generate_settings *settings = generator->settings;
    uint64_t size = generator->manifest->file_size;

    if (settings->progress)
        settings->progress(settings->owner, stage, (uint64_t)((double)done / (double)total * (double)size),
                           size);
}

/* Writes IMAGE.pack under its temporary name. */
static bool generator_pack(struct generate *generator, struct generate_result *result, struct error *error)
{
    const struct generate_settings *settings = generator->settings;
    struct manifest *manifest = generator->manifest;
    struct file_writer *writer = publication_writer(generator->publication, PUBLICATION_PACK);
    struct chunk_table *table = NULL;

    if (!writer)
        return true;
    uint8_t *copy = malloc(generator->table_size);
    if (!copy)
        return error_set_errno(error, ENOMEM, "cannot hold the table of chunks of %s", settings->image_path);
    memcpy(copy, generator->table, generator->table_size);
    if (!chunk_table_parse(copy, generator->table_size, manifest->file_size, &table, error))
        return false;
    uint32_t largest = chunk_table_size_max(table);
    struct pack_settings pack = {.image = generator->device,
                                 .table = table,
                                 .rows = generator->table + CHUNK_TABLE_HEADER_SIZE,
                                 .with_frames = settings->with_pack,
                                 .base_paths = settings->base_paths,
                                 .base_count = settings->base_count,
                                 .span_max = settings->span_max,
                                 .output_max =
                                     settings->output_max > largest ? settings->output_max : largest,
                                 .progress = pass_progress,
                                 .owner = generator};
    bool ok =
        pack_write(&pack, writer, &manifest->pack, &result->pack, error) && file_writer_sync(writer, error);
    chunk_table_free(table);
    if (ok) {
        manifest->pack.url = reference_beside(generator, ".pack");
        result->pack_size_bytes = manifest->pack.size;
    }
    return ok;
}

static bool generator_write(struct generate *generator, struct generate_result *result, struct error *error)
{
    const struct generate_settings *settings = generator->settings;
    struct publication *publication = generator->publication;
    struct manifest *manifest = generator->manifest;
    CLEANUP_FREE char *manifest_path = alloc_printf("%s.json", settings->image_path);
    CLEANUP_FREE char *text = manifest_format(manifest);

    result->file_size = manifest->file_size;
    result->file_hash = manifest->file_hash;
    memcpy(result->sha256, manifest->sha256, sizeof(result->sha256));
    result->chunk_count = manifest->chunk_count;
    result->table_count = generator->table_count;
    result->table_size_bytes = generator->table_size;
    result->manifest_size_bytes = strlen(text);
    result->signature_outdated = generator_outdates_signature(generator, manifest_path, text);
    generate_warnings_find(settings, manifest, result);
    return file_writer_add(publication_writer(publication, PUBLICATION_TABLE), generator->table,
                           generator->table_size, error) &&
           generator_sign(generator, text, error) &&
           file_writer_add(publication_writer(publication, PUBLICATION_MANIFEST), text, strlen(text),
                           error) &&
           publication_commit(publication, error);
}

static bool is_same_file(const struct stat *before, const struct stat *after)
{
    return file_status_is_same(before, after) && before->st_size == after->st_size &&
           before->st_mtim.tv_sec == after->st_mtim.tv_sec &&
           before->st_mtim.tv_nsec == after->st_mtim.tv_nsec &&
           before->st_ctim.tv_sec == after->st_ctim.tv_sec &&
           before->st_ctim.tv_nsec == after->st_ctim.tv_nsec;
}

bool generate_new(const struct generate_settings *settings, struct generate **ret_generate,
                  struct error *error)
{
    struct generate *generate = alloc_zeroed(sizeof(*generate));
    const char *path = settings->image_path;
    bool ok;

    assert(settings->chunk_size >= 1 && settings->chunk_size <= MANIFEST_CHUNK_SIZE_MAX);
    generate->settings = settings;
    if (file_status(path, &generate->before) < 0)
        ok = error_set_errno(error, errno, "cannot open %s for reading", path);
    else if (!S_ISREG(generate->before.st_mode))
        ok = error_set(error, ERROR_REFUSED, "%s is no regular file; copy the image into one first", path);
    else
        ok = generator_start(generate, error);
    if (!ok) {
        generate_free(generate);
        return false;
    }
    *ret_generate = generate;
    return true;
}

bool generate_run(struct generate *generate, struct generate_result *ret_result, struct error *error)
{
    struct generate_result result = {0};
    struct stat after;
    const char *path = generate->settings->image_path;

    bool ok = generator_read(generate, (uint64_t)generate->before.st_size, error);
    if (ok) {
        generator_take_table(generate);
        ok = generator_pack(generate, &result, error);
    }
    /* Looks by path, to notice a file that was put in the image's place as well. Also after a failure, which
     * a change may explain better; not after one of the table, which has reasons of its own. */
    if ((ok || generate->table_result == 0) &&
        (file_status(path, &after) < 0 || !is_same_file(&generate->before, &after)))
        ok = error_set(error, ERROR_SYSTEM,
                       "%s changed while it was read; generate again when it is complete", path);
    ok = ok && generator_write(generate, &result, error);
    if (ok)
        *ret_result = result;
    return ok;
}

bool generate_abandon(struct generate *generate)
{
    return publication_abandon(generate->publication);
}

struct generate *generate_free(struct generate *generate)
{
    if (!generate)
        return NULL;
    device_close(generate->device);
    free(generate->block);
    digest_stream_free(generate->whole);
    digest_stream_free(generate->fixed);
    chunker_stream_free(generate->stream);
    chunk_table_writer_free(generate->writer);
    free(generate->table);
    manifest_free(generate->manifest);
    publication_free(generate->publication);
    free(generate);
    return NULL;
}

bool generate_files(const struct generate_settings *settings, struct generate_result *ret_result,
                    struct error *error)
{
    struct generate *generate;

    if (!generate_new(settings, &generate, error))
        return false;
    bool ok = generate_run(generate, ret_result, error);
    generate_free(generate);
    return ok;
}
