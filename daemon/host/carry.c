/* SPDX-License-Identifier: MIT */
#include "daemon/host/carry.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/container.h"
#include "common/base/min_max.h"
#include "common/sinter/verify.h"

enum { BLOCK_SIZE = 1024 * 1024, SLICE_BLOCKS = 8 };

/* What a slice does, with one part after the other. */
enum step {
    STEP_CHECK, /* and holds the target */
    STEP_READY, /* waits for carry_go_on() */
    STEP_COPY,
    STEP_SYNC,
    STEP_VERIFY, /* is done by `verify` */
    STEP_CLOSE,
};

struct copy {
    struct device *source, *target;
    uint64_t target_bytes; /* what the target has to compare with */
};

struct carry {
    struct pool_job job;
    struct pool *pool;
    struct carry_settings settings;
    const struct carry_events *events;
    void *owner;
    enum step step;
    bool rests; /* no job is out: carry_go_on() is waited for */
    atomic_bool cancelled;
    struct carry_progress progress;

    struct copy copies[MANIFEST_PARTS_MAX];
    unsigned at;              /* the part whose turn it is */
    uint64_t offset;          /* how much of it was taken in this step */
    uint8_t *block, *present; /* what the source has, and what stands in the target */
    struct digest_stream *digest;
    struct manifest manifest; /* of the copy, for `verify` */
    struct verify *verify;
    bool failed, closed;
    struct error error; /* if failed */
};

static const struct carry_part *part_at(const struct carry *carry)
{
    return &carry->settings.parts[carry->at];
}

static struct copy *copy_at(struct carry *carry)
{
    return &carry->copies[carry->at];
}

/* --- on a pool thread --- */

static const struct storage *place_of(const struct carry *carry, enum slot slot)
{
    return slots_find_place(carry->settings.slots, part_at(carry)->name, slot);
}

static bool refuse_source(struct carry *carry, const char *why)
{
    return error_set(
        &carry->error, ERROR_REFUSED,
        "the release does not bring the part %s, and that of slot %s (%s) cannot be carried over: "
        "%s; publish a release with this part",
        part_at(carry)->name, slot_name(slot_other(carry->settings.target)),
        place_of(carry, slot_other(carry->settings.target))->path, why);
}

static bool open_source(struct carry *carry)
{
    const struct storage *place = place_of(carry, slot_other(carry->settings.target));
    struct copy *copy = copy_at(carry);
    struct storage opened;
    uint64_t bytes, wanted = part_at(carry)->bytes;

    if (!device_open_source(place->path, &copy->source, &carry->error) ||
        !device_size(copy->source, &bytes, &carry->error))
        return false;
    if (storage_find_fd(device_descriptor(copy->source), &opened) < 0 || !storage_equal(place, &opened))
        return refuse_source(carry, "it became another device or file while it was opened");
    /* Behind the image a partition may hold anything, a file nothing. */
    if (device_is_block(copy->source) ? bytes < wanted : bytes != wanted)
        return refuse_source(carry, "it has another size than the image that is recorded of it");
    return true;
}

static bool check_target(struct carry *carry)
{
    return slots_target_check_opened(carry->settings.slots, carry->settings.target, part_at(carry)->name,
                                     device_descriptor(copy_at(carry)->target), &carry->error);
}

static bool open_target(struct carry *carry)
{
    struct copy *copy = copy_at(carry);

    return device_open_target(place_of(carry, carry->settings.target)->path, part_at(carry)->bytes, true,
                              &copy->target, &carry->error) &&
           check_target(carry) && device_readback_check(copy->target, &carry->error) &&
           device_size(copy->target, &copy->target_bytes, &carry->error);
}

/* Writes the block unless it stands there already. */
static bool copy_block(struct carry *carry, size_t size)
{
    struct copy *copy = copy_at(carry);
    bool is_there = carry->offset + size <= copy->target_bytes &&
                    device_read(copy->target, carry->present, size, carry->offset, NULL) &&
                    memcmp(carry->block, carry->present, size) == 0;

    carry->progress.bytes_copied += size;
    if (is_there)
        return true;
    if (!device_write(copy->target, carry->block, size, carry->offset, &carry->error))
        return false;
    device_start_writeback(copy->target, carry->offset, size);
    carry->progress.bytes_written += size;
    return true;
}

/* Reads the next block and hashes it, and copies it when that is due. */
static bool take_block(struct carry *carry)
{
    size_t size = (size_t)min_u64(part_at(carry)->bytes - carry->offset, BLOCK_SIZE);

    if (!device_read(copy_at(carry)->source, carry->block, size, carry->offset, &carry->error))
        return false;
    digest_stream_update(carry->digest, carry->block, size);
    if (carry->step == STEP_CHECK)
        carry->progress.bytes_checked += size;
    else if (!copy_block(carry, size))
        return false;
    carry->offset += size;
    return true;
}

/* Takes some blocks; *ret_all says whether those were the last, which are then compared with what is
 * recorded. False with the error set. */
static bool take_slice(struct carry *carry, const char *why, bool *ret_all)
{
    const struct carry_part *part = part_at(carry);

    if (!carry->digest)
        carry->digest = digest_stream_new(true, true);
    for (int i = 0; i < SLICE_BLOCKS && carry->offset < part->bytes; i++) {
        if (atomic_load(&carry->cancelled))
            return error_set(&carry->error, ERROR_CANCELLED, "copying the part %s was cancelled", part->name);
        if (!take_block(carry))
            return false;
    }
    *ret_all = carry->offset == part->bytes;
    if (!*ret_all)
        return true;
    carry->offset = 0;
    digest_stream_final(carry->digest, carry->manifest.sha256, &carry->manifest.file_hash);
    carry->digest = digest_stream_free(carry->digest);
    return memcmp(carry->manifest.sha256, part->sha256, DIGEST_SHA256_SIZE) == 0 || refuse_source(carry, why);
}

static bool check_slice(struct carry *carry)
{
    bool all;

    if (!(copy_at(carry)->source || open_source(carry)) ||
        !take_slice(carry, "it is not what was installed there, so somebody changed it", &all))
        return false;
    if (!all)
        return true;
    if (!open_target(carry))
        return false;
    carry->at++;
    if (carry->at == carry->settings.count)
        carry->step = STEP_READY;
    return true;
}

static bool copy_slice(struct carry *carry)
{
    bool all;

    if (!take_slice(carry, "it changed while it was copied", &all))
        return false;
    if (all)
        carry->step = STEP_SYNC;
    return true;
}

static void run_close(struct carry *carry)
{
    for (unsigned i = 0; i < carry->settings.count; i++) {
        carry->copies[i].source = device_close(carry->copies[i].source);
        if (carry->failed)
            carry->copies[i].target = device_close(carry->copies[i].target);
    }
    carry->closed = true;
}

static bool run_step(struct carry *carry)
{
    switch (carry->step) {
    case STEP_CHECK:
        return check_slice(carry);
    case STEP_COPY:
        return copy_slice(carry);
    case STEP_SYNC:
        carry->step = STEP_VERIFY;
        return device_set_size(copy_at(carry)->target, part_at(carry)->bytes, &carry->error) &&
               device_sync(copy_at(carry)->target, &carry->error);
    case STEP_CLOSE:
        run_close(carry);
        return true;
    case STEP_READY:
    case STEP_VERIFY:
        break;
    }
    assert(false);
    return false;
}

static void job_run(struct pool_job *job)
{
    struct carry *carry = container_of(job, struct carry, job);

    if (!run_step(carry)) {
        carry->failed = true;
        carry->step = STEP_CLOSE;
    }
}

/* --- on the loop's thread --- */

static void on_verify_progress(void *owner, uint64_t bytes)
{
    struct carry *carry = owner;

    carry->progress.bytes_verified += bytes;
    carry->events->progress(carry->owner, &carry->progress);
}

static void on_cached(void *owner, const struct error *why)
{
    struct carry *carry = owner;

    carry->events->read_back_cached(carry->owner, why);
}

static void go_to(struct carry *carry, enum step step)
{
    carry->step = step;
    pool_submit(carry->pool, &carry->job);
}

static void on_verified(void *owner, const struct error *error, uint32_t xxh32)
{
    struct carry *carry = owner;

    (void)xxh32;
    carry->failed = error != NULL;
    if (error)
        carry->error = *error;
    carry->verify = verify_free(carry->verify); /* with the error */
    carry->at++;
    go_to(carry, carry->failed || carry->at == carry->settings.count ? STEP_CLOSE : STEP_COPY);
}

static void start_verify(struct carry *carry)
{
    static const struct verify_events events = {
        .progress = on_verify_progress,
        .cached = on_cached,
        .done = on_verified,
    };

    carry->manifest.file_size = part_at(carry)->bytes;
    carry->manifest.has_sha256 = true;
    carry->verify = verify_start(carry->pool, copy_at(carry)->target, &carry->manifest, &events, carry);
    if (atomic_load(&carry->cancelled))
        verify_stop(carry->verify);
}

static void fail_cancelled(struct carry *carry)
{
    carry->failed = true;
    error_set(&carry->error, ERROR_CANCELLED, "copying the parts was cancelled");
    go_to(carry, STEP_CLOSE);
}

static void rest(struct carry *carry)
{
    carry->rests = true;
    carry->events->ready(carry->owner);
}

static void job_done(struct pool_job *job)
{
    struct carry *carry = container_of(job, struct carry, job);

    switch (carry->step) {
    case STEP_READY:
        carry->events->progress(carry->owner, &carry->progress);
        if (atomic_load(&carry->cancelled))
            fail_cancelled(carry);
        else
            rest(carry);
        return;
    case STEP_VERIFY:
        carry->events->progress(carry->owner, &carry->progress);
        start_verify(carry);
        return;
    case STEP_CHECK:
    case STEP_COPY:
    case STEP_SYNC:
        carry->events->progress(carry->owner, &carry->progress);
        pool_submit(carry->pool, &carry->job);
        return;
    case STEP_CLOSE:
        if (carry->closed)
            carry->events->done(carry->owner, carry->failed ? &carry->error : NULL);
        else
            pool_submit(carry->pool, &carry->job);
        return;
    }
}

struct carry *carry_start(struct pool *pool, const struct carry_settings *settings,
                          const struct carry_events *events, void *owner)
{
    struct carry *carry = alloc_zeroed(sizeof(*carry));

    assert(settings->count > 0 && settings->count <= MANIFEST_PARTS_MAX);
    carry->job = (struct pool_job){.run = job_run, .done = job_done};
    carry->pool = pool;
    carry->settings = *settings;
    carry->events = events;
    carry->owner = owner;
    carry->block = alloc_zeroed(BLOCK_SIZE);
    carry->present = alloc_zeroed(BLOCK_SIZE);
    pool_submit(pool, &carry->job);
    return carry;
}

void carry_go_on(struct carry *carry)
{
    assert(carry->rests);
    carry->rests = false;
    carry->at = 0;
    go_to(carry, STEP_COPY);
}

void carry_cancel(struct carry *carry)
{
    atomic_store(&carry->cancelled, true);
    if (carry->verify)
        verify_stop(carry->verify);
    if (carry->rests) {
        carry->rests = false;
        fail_cancelled(carry);
    }
}

void carry_take_targets(struct carry *carry, struct targets *targets)
{
    assert(carry->closed && !carry->failed);
    for (unsigned i = 0; i < carry->settings.count; i++) {
        const struct carry_part *part = &carry->settings.parts[i];
        targets_add(targets, part->name, carry->copies[i].target, part->bytes);
        carry->copies[i].target = NULL;
    }
}

struct carry *carry_free(struct carry *carry)
{
    if (!carry)
        return NULL;
    assert(!carry->verify);
    for (unsigned i = 0; i < carry->settings.count; i++)
        device_close(carry->copies[i].target);
    digest_stream_free(carry->digest);
    free(carry->block);
    free(carry->present);
    free(carry);
    return NULL;
}
