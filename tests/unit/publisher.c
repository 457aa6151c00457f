/* SPDX-License-Identifier: MIT */
#include "tests/unit/publisher.h"

#include <assert.h>
#include <endian.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"

uint64_t dice_roll(struct dice *dice)
{
    uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t dice_below(struct dice *dice, uint32_t bound)
{
    return (uint32_t)(dice_roll(dice) % bound);
}

void dice_fill(struct dice *dice, void *data, size_t size)
{
    uint8_t *bytes = data;

    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t value = htole64(dice_roll(dice)); /* the same bytes on every machine */
        memcpy(bytes + i, &value, size - i < sizeof(value) ? size - i : sizeof(value));
    }
}

uint8_t *noise(size_t size, uint64_t seed)
{
    uint8_t *data = alloc_zeroed(size + 1);

    for (size_t i = 0; i < size; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        data[i] = (uint8_t)(seed >> 32);
    }
    return data;
}

char *folder_new(void)
{
    const char *where = getenv("TMPDIR");
    char *path = alloc_printf("%s/moonsinter-test-XXXXXX", where && *where ? where : "/tmp");

    if (!mkdtemp(path))
        abort();
    return path;
}

static int folder_remove(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    return remove(path);
}

void folder_free(char *path)
{
    if (path)
        nftw(path, folder_remove, 8, FTW_DEPTH | FTW_PHYS);
    free(path);
}

char *folder_write(const char *folder, const char *name, const void *data, size_t size)
{
    char *path = alloc_printf("%s/%s", folder, name);
    FILE *file = fopen(path, "we");

    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    return path;
}

bool file_holds(const char *path, const void *data, size_t size)
{
    CLEANUP_FREE char *have = NULL;
    size_t have_size;

    return file_read(path, (size_t)1 << 30, &have, &have_size, NULL) && have_size == size &&
           memcmp(have, data, size) == 0;
}

static struct chunk_table *table_of(struct chunk_table_writer *writer, size_t image_size, uint8_t **ret_data,
                                    size_t *ret_size)
{
    struct chunk_table *table;
    uint8_t *data;
    size_t size;

    chunk_table_writer_take(writer, &data, &size);
    chunk_table_writer_free(writer);
    if (ret_data) {
        *ret_data = alloc_zeroed(size);
        memcpy(*ret_data, data, size);
        *ret_size = size;
    }
    if (!chunk_table_parse(data, size, image_size, &table, NULL))
        abort();
    return table;
}

static void add_chunk(struct chunk_table_writer *writer, const uint8_t *data, size_t size)
{
    uint8_t sha256[DIGEST_SHA256_SIZE];

    digest_sha256(data, size, sha256);
    if (chunk_table_writer_add(writer, (uint32_t)size, digest_xxh3(data, size), sha256) < 0)
        abort();
}

struct chunk_table *publish_table(const uint8_t *data, size_t size, uint32_t average, uint8_t **ret_data,
                                  size_t *ret_size)
{
    struct chunker chunker;

    if (chunker_init(&chunker, average) < 0)
        abort();
    struct chunk_table_writer *writer = chunk_table_writer_new(&chunker);
    for (size_t at = 0, length; at < size; at += length) {
        length = chunker_cut(&chunker, data + at, size - at);
        add_chunk(writer, data + at, length);
    }
    return table_of(writer, size, ret_data, ret_size);
}

struct chunk_table *publish_table_cut(const uint8_t *data, const uint32_t *sizes, uint32_t count,
                                      uint32_t average)
{
    struct chunker chunker;
    size_t at = 0;

    if (chunker_init(&chunker, average) < 0)
        abort();
    struct chunk_table_writer *writer = chunk_table_writer_new(&chunker);
    for (uint32_t i = 0; i < count; at += sizes[i++])
        add_chunk(writer, data + at, sizes[i]);
    return table_of(writer, at, NULL, NULL);
}

/* XXH32 of each chunk; owned by the caller. */
static uint32_t *hash_fixed(const uint8_t *data, size_t size, uint32_t chunk_size, uint32_t *ret_count,
                            uint32_t *ret_last)
{
    uint32_t count = (uint32_t)((size + chunk_size - 1) / chunk_size);
    uint32_t *hashes = alloc_array(count, sizeof(uint32_t));

    *ret_last = count ? (uint32_t)(size - (size_t)(count - 1) * chunk_size) : 0;
    for (uint32_t i = 0; i < count; i++)
        hashes[i] = digest_xxh32(data + (size_t)i * chunk_size, i + 1 == count ? *ret_last : chunk_size);
    *ret_count = count;
    return hashes;
}

struct chunk_table *publish_fixed_table(const uint8_t *data, size_t size, uint32_t chunk_size)
{
    uint32_t count, last, *hashes = hash_fixed(data, size, chunk_size, &count, &last);

    return chunk_table_new_fixed(hashes, count, chunk_size, last);
}

static struct release *publish(const struct url *url, const uint8_t *data, size_t size, uint32_t chunk_size,
                               const uint8_t *chunks, size_t chunks_size, struct manifest_parts parts)
{
    struct manifest manifest = {
        .chunk_size = chunk_size, .file_size = size, .file_hash = digest_xxh32(data, size), .parts = parts};
    CLEANUP_FREE char *reference = alloc_printf("%s.chunks", strrchr(url_shown(url), '/') + 1);
    struct release *release;
    struct error error;

    manifest.chunk_hashes =
        hash_fixed(data, size, chunk_size, &manifest.chunk_count, &manifest.last_chunk_size);
    if (chunks) {
        manifest.has_sha256 = manifest.chunks.present = true;
        digest_sha256(data, size, manifest.sha256);
        manifest.chunks.url = reference;
        manifest.chunks.size_bytes = chunks_size;
        digest_sha256(chunks, chunks_size, manifest.chunks.sha256);
    }
    char *text = manifest_format(&manifest);
    free(manifest.chunk_hashes);
    if (!release_from_text(url, text, strlen(text), NULL, 0, &(struct trust){0}, &release, &error)) {
        fprintf(stderr, "the test's own manifest: %s\n", error.message);
        abort();
    }
    return release;
}

struct release *publish_release(const struct url *url, const uint8_t *data, size_t size, uint32_t chunk_size,
                                const uint8_t *chunks, size_t chunks_size)
{
    return publish(url, data, size, chunk_size, chunks, chunks_size, (struct manifest_parts){0});
}

struct release *publish_set(const struct url *url, const uint8_t *data, size_t size, const uint8_t *chunks,
                            size_t chunks_size, struct manifest_part *parts, uint32_t count)
{
    return publish(url, data, size, MANIFEST_CHUNK_SIZE_DEFAULT, chunks, chunks_size,
                   (struct manifest_parts){.list = parts, .count = count});
}

struct manifest_part_file publish_part(char *url, const struct release *part)
{
    struct manifest_part_file file = {.url = url, .size_bytes = part->manifest_size};

    digest_sha256(part->manifest_text, part->manifest_size, file.sha256);
    return file;
}

#define OWN_SECRET                                                                                           \
    "untrusted comment: made by minisign -G -W for tests only\n"                                             \
    "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABM0GQL21yQP0cC16lyYFWfetieniwAgSFWCza7WNYe0dmf5/e/PDC5c0/gmcZPbzqgT43XomyRtgfpG1jW5Dgf2u10HfSaxmAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
#define OWN_KEY                                                                                              \
    "untrusted comment: minisign public key\n"                                                               \
    "RWQEzQZAvbXJA5c0/gmcZPbzqgT43XomyRtgfpG1jW5Dgf2u10HfSaxm\n"
#define OTHER_KEY                                                                                            \
    "untrusted comment: minisign's author\n"                                                                 \
    "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n"

char *publish_signature(const void *data, size_t size)
{
    struct minisign_secret_key key;

    if (!minisign_parse_secret_key(OWN_SECRET, strlen(OWN_SECRET), &key, NULL))
        abort();
    return minisign_sign(&key, data, size, "made by a test");
}

struct trust_keys *publish_keys(bool own)
{
    const char *text = own ? OWN_KEY : OTHER_KEY;
    struct trust_keys *keys = trust_keys_new();
    char *folder = folder_new();

    free(folder_write(folder, "a.pub", text, strlen(text)));
    if (!trust_keys_add_folder(keys, folder, NULL, NULL, NULL) || trust_keys_count(keys) != 1)
        abort();
    folder_free(folder);
    return keys;
}
