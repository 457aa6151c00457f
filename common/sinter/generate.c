#include "common/sinter/generate.h"

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

enum {
    GENERATE_BLOCK_SIZE = 1024 * 1024, /* bytes read at once */
    /* Bytes of a manifest that are not chunk hashes; the longest texts and references together need less. */
    GENERATE_MANIFEST_REST_MAX = 16 * 1024,
    GENERATE_HASH_TEXT_MAX = 9, /* eight digits and a comma */
};

struct generator {
    const struct generate_settings *settings;
    struct device *device;
    uint8_t *block;
    struct digest_stream *whole; /* SHA-256 and XXH32 of the image */
    struct digest_stream *fixed; /* XXH32 of the fixed chunk under way, NULL between two */
    uint64_t fixed_done;         /* bytes of it */
    struct chunker_stream *stream;
    struct chunk_table_writer *writer;
    int table_result; /* 0, or why the table took no more chunks */
    uint32_t table_count;
    struct manifest *manifest;
    uint8_t *table; /* the bytes of IMAGE.chunks */
    size_t table_size;
    struct file_writer *pack_writer; /* NULL: no pack */
};

static bool generator_add_chunk(void *owner, const uint8_t *data, size_t size)
{
    struct generator *generator = owner;
    uint8_t sha256[DIGEST_SHA256_SIZE];

    digest_sha256(data, size, sha256);
    generator->table_result =
        chunk_table_writer_add(generator->writer, (uint32_t)size, digest_xxh3(data, size), sha256);
    generator->table_count++;
    return generator->table_result == 0;
}

static void generator_add_hash(struct generator *generator, uint32_t hash)
{
    generator->manifest->chunk_hashes[generator->manifest->chunk_count++] = hash;
}

/* The ancestor's chunks. A chunk that lies whole in this block is hashed at one go. */
static void generator_hash_fixed(struct generator *generator, const uint8_t *data, size_t size)
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

static bool generator_refuse_table(const struct generator *generator, struct error *error)
{
    const char *path = generator->settings->image_path;

    if (generator->table_result != -EFBIG)
        return error_set_errno(error, generator->table_result, "cannot hold the table of chunks of %s", path);
    return error_set(error, ERROR_REFUSED,
                     "%s has too many chunks of %" PRIu32 " bytes for one table; take a larger average", path,
                     generator->settings->average);
}

static bool generator_read(struct generator *generator, uint64_t size, struct error *error)
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
    } else if (size > 0) {
        generator->manifest->last_chunk_size = settings->chunk_size;
    }
    digest_stream_final(generator->whole, generator->manifest->sha256, &generator->manifest->file_hash);
    return true;
}

/* Everything the run needs, sized by the image; generator_finish() frees it, half-built too. */
static bool generator_start(struct generator *generator, const struct generate_settings *settings,
                            uint64_t size, struct error *error)
{
    struct chunker chunker;
    uint64_t count = size / settings->chunk_size + (size % settings->chunk_size != 0);

    generator->settings = settings;
    if (count > (MANIFEST_SIZE_MAX - GENERATE_MANIFEST_REST_MAX) / GENERATE_HASH_TEXT_MAX)
        return error_set(error, ERROR_REFUSED,
                         "%s makes %" PRIu64 " chunks of %" PRIu32
                         " bytes, too many for one manifest; take a larger CHUNK_SIZE",
                         settings->image_path, count, settings->chunk_size);
    if (chunker_init(&chunker, settings->average) < 0)
        return error_set(error, ERROR_REFUSED,
                         "an average of %" PRIu32 " bytes is no power of two from %d to %d",
                         settings->average, CHUNKER_AVERAGE_MIN, CHUNKER_AVERAGE_MAX);
    if (!device_open_source(settings->image_path, &generator->device, error))
        return false;

    const struct manifest_release *release = &settings->release;
    generator->block = alloc_zeroed(GENERATE_BLOCK_SIZE);
    generator->whole = digest_stream_new(true, true);
    generator->stream = chunker_stream_new(&chunker, generator_add_chunk, generator);
    generator->writer = chunk_table_writer_new(&chunker);
    generator->manifest = alloc_zeroed(sizeof(*generator->manifest));
    generator->manifest->chunk_hashes = alloc_array((size_t)count, sizeof(uint32_t));
    generator->manifest->chunk_size = settings->chunk_size;
    generator->manifest->file_size = size;
    generator->manifest->has_sha256 = true;
    generator->manifest->release = *release;
    generator->manifest->release.version = alloc_string(release->version);
    generator->manifest->release.compatible = alloc_string(release->compatible);
    return true;
}

static void generator_finish(struct generator *generator)
{
    device_close(generator->device);
    free(generator->block);
    digest_stream_free(generator->whole);
    digest_stream_free(generator->fixed);
    chunker_stream_free(generator->stream);
    chunk_table_writer_free(generator->writer);
    free(generator->table);
    file_writer_free(generator->pack_writer);
    manifest_free(generator->manifest);
}

/* Readers that come between the two renames find a pair that does not fit, and fetch both once more. */
static bool generator_sign(const struct generator *generator, const char *manifest_path, const char *text,
                           struct error *error)
{
    const struct generate_settings *settings = generator->settings;
    const char *slash = strrchr(manifest_path, '/');
    CLEANUP_FREE char *path = alloc_printf("%s.minisig", manifest_path);
    CLEANUP_FREE char *comment = settings->trusted_comment
                                     ? alloc_string(settings->trusted_comment)
                                     : alloc_printf("file:%s", slash ? slash + 1 : manifest_path);

    if (!minisign_check_comment(comment, error))
        return false;
    CLEANUP_FREE char *signature = minisign_sign(settings->sign_key, text, strlen(text), comment);
    return file_replace(path, signature, strlen(signature), 0644, error);
}

/* Whether IMAGE.json.minisig, which is not made anew, is of other bytes than those that take the manifest's
 * place. The same bytes made once more leave it good. */
static bool generator_outdates_signature(const struct generator *generator, const char *manifest_path,
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

/* The reference to a file beside the image: the image's name with `suffix`. */
static char *reference_beside(const struct generator *generator, const char *suffix)
{
    const char *path = generator->settings->image_path, *slash = strrchr(path, '/');
    CLEANUP_FREE char *name = alloc_printf("%s%s", slash ? slash + 1 : path, suffix);

    return url_reference_of_name(name);
}

static void generator_take_table(struct generator *generator)
{
    struct manifest_chunks *chunks = &generator->manifest->chunks;

    chunk_table_writer_take(generator->writer, &generator->table, &generator->table_size);
    chunks->present = true;
    chunks->url = reference_beside(generator, ".chunks");
    chunks->size_bytes = generator->table_size;
    digest_sha256(generator->table, generator->table_size, chunks->sha256);
}

/* Told in bytes of the image, for that is what people know. */
static void pass_progress(void *owner, const char *stage, uint64_t done, uint64_t total)
{
    const struct generator *generator = owner;
    const struct generate_settings *settings = generator->settings;
    uint64_t size = generator->manifest->file_size;

    if (settings->progress)
        settings->progress(settings->owner, stage, (uint64_t)((double)done / (double)total * (double)size),
                           size);
}

/* Writes IMAGE.pack under its temporary name. */
static bool generator_pack(struct generator *generator, struct generate_result *result, struct error *error)
{
    const struct generate_settings *settings = generator->settings;
    struct manifest *manifest = generator->manifest;
    CLEANUP_FREE char *path = alloc_printf("%s.pack", settings->image_path);
    struct chunk_table *table = NULL;
    uint8_t *copy = malloc(generator->table_size);

    if (!settings->with_pack && settings->base_count == 0) {
        free(copy);
        return true;
    }
    if (manifest->file_size == 0) {
        free(copy);
        return error_set(error, ERROR_REFUSED, "%s is empty, so there is nothing to put into a pack",
                         settings->image_path);
    }
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
    bool ok = file_writer_new(path, 0644, &generator->pack_writer, error) &&
              pack_write(&pack, generator->pack_writer, &manifest->pack, &result->pack, error) &&
              file_writer_sync(generator->pack_writer, error);
    chunk_table_free(table);
    if (ok) {
        manifest->pack.url = reference_beside(generator, ".pack");
        result->pack_size_bytes = manifest->pack.size;
    }
    return ok;
}

static bool generator_write(struct generator *generator, struct generate_result *result, struct error *error)
{
    const char *path = generator->settings->image_path;
    struct manifest *manifest = generator->manifest;
    CLEANUP_FREE char *table_path = alloc_printf("%s.chunks", path);
    CLEANUP_FREE char *manifest_path = alloc_printf("%s.json", path);
    CLEANUP_FREE char *text = manifest_format(manifest);

    result->signature_outdated = generator_outdates_signature(generator, manifest_path, text);
    /* Until the new manifest is there, the old one names a table and a pack of other bytes: its readers do
     * without.
     */
    if ((generator->pack_writer && !file_writer_commit(generator->pack_writer, error)) ||
        !file_replace(table_path, generator->table, generator->table_size, 0644, error) ||
        (generator->settings->sign_key && !generator_sign(generator, manifest_path, text, error)) ||
        !file_replace(manifest_path, text, strlen(text), 0644, error))
        return false;
    result->file_size = manifest->file_size;
    result->file_hash = manifest->file_hash;
    memcpy(result->sha256, manifest->sha256, sizeof(result->sha256));
    result->chunk_count = manifest->chunk_count;
    result->table_count = generator->table_count;
    result->table_size_bytes = generator->table_size;
    result->manifest_size_bytes = strlen(text);
    return true;
}

static bool is_same_file(const struct stat *before, const struct stat *after)
{
    return before->st_dev == after->st_dev && before->st_ino == after->st_ino &&
           before->st_size == after->st_size && before->st_mtim.tv_sec == after->st_mtim.tv_sec &&
           before->st_mtim.tv_nsec == after->st_mtim.tv_nsec &&
           before->st_ctim.tv_sec == after->st_ctim.tv_sec &&
           before->st_ctim.tv_nsec == after->st_ctim.tv_nsec;
}

bool generate_files(const struct generate_settings *settings, struct generate_result *ret_result,
                    struct error *error)
{
    struct generator generator = {0};
    struct generate_result result = {0};
    struct stat before, after;
    const char *path = settings->image_path;

    assert(settings->chunk_size >= 1 && settings->chunk_size <= MANIFEST_CHUNK_SIZE_MAX);
    if (file_status(path, &before) < 0)
        return error_set_errno(error, errno, "cannot open %s for reading", path);
    if (!S_ISREG(before.st_mode))
        return error_set(error, ERROR_REFUSED, "%s is no regular file; copy the image into one first", path);

    bool ok = generator_start(&generator, settings, (uint64_t)before.st_size, error) &&
              generator_read(&generator, (uint64_t)before.st_size, error);
    if (ok) {
        generator_take_table(&generator);
        ok = generator_pack(&generator, &result, error);
    }
    /* By path, so that a file which took the image's place is seen as well. It explains a failed read, too.
     */
    if ((ok || (generator.device && generator.table_result == 0)) &&
        (file_status(path, &after) < 0 || !is_same_file(&before, &after)))
        ok = error_set(error, ERROR_SYSTEM,
                       "%s changed while it was read; generate again when it is complete", path);
    ok = ok && generator_write(&generator, &result, error);
    generator_finish(&generator);
    if (ok)
        *ret_result = result;
    return ok;
}
