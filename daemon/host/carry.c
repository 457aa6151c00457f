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

/* What a slice does. */
enum step {
    STEP_CHECK,
    STEP_READY, /* waits for carry_go_on() */
    STEP_COPY,
    STEP_SYNC,
    STEP_VERIFY, /* is done by `verify` */
    STEP_CLOSE,
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

    struct device *source, *target;
    uint8_t *block, *present; /* what the source has, and what stands in the target */
    uint64_t target_bytes;    /* what the target has to compare with */
    struct digest_stream *digest;
    struct manifest manifest; /* of the copy, for `verify` */
    struct verify *verify;
    bool failed;
    struct error error; /* if failed */
};

/* --- on a pool thread --- */

static const struct storage *place_of(const struct carry *carry, enum slot slot)
{
    return slots_find_place(carry->settings.slots, carry->settings.name, slot);
}

static bool refuse_source(struct carry *carry, const char *why)
{
    return error_set(
        &carry->error, ERROR_REFUSED,
        "the release does not bring the part %s, and that of slot %s (%s) cannot be carried over: "
        "%s; publish a release with this part",
        carry->settings.name, slot_name(slot_other(carry->settings.target)),
        place_of(carry, slot_other(carry->settings.target))->path, why);
}

static bool open_source(struct carry *carry)
{
    const struct storage *place = place_of(carry, slot_other(carry->settings.target));
    struct storage opened;
    uint64_t bytes;

    if (!device_open_source(place->path, &carry->source, &carry->error) ||
        !device_size(carry->source, &bytes, &carry->error))
        return false;
    if (storage_find_fd(device_descriptor(carry->source), &opened) < 0 || !storage_equal(place, &opened))
        return refuse_source(carry, "it became another device or file while it was opened");
    /* Behind the image a partition may hold anything, a file nothing. */
    if (device_is_block(carry->source) ? bytes < carry->settings.bytes : bytes != carry->settings.bytes)
        return refuse_source(carry, "it has another size than the image that is recorded of it");
    return true;
}

static bool check_target(struct carry *carry)
{
    return slots_target_check_opened(carry->settings.slots, carry->settings.target, carry->settings.name,
                                     device_descriptor(carry->target), &carry->error);
}

static bool open_target(struct carry *carry)
{
    const struct storage *place = place_of(carry, carry->settings.target);

    return device_open_target(place->path, carry->settings.bytes, true, &carry->target, &carry->error) &&
           check_target(carry) && device_readback_check(carry->target, &carry->error) &&
           device_size(carry->target, &carry->target_bytes, &carry->error);
}

/* Reads the block at `offset`, hashes it, and writes it to the target, if there is one, unless it stands
 * there already. */
static bool take_block(struct carry *carry, uint64_t offset)
{
    size_t size = (size_t)min_u64(carry->settings.bytes - offset, BLOCK_SIZE);

    if (!device_read(carry->source, carry->block, size, offset, &carry->error))
        return false;
    digest_stream_update(carry->digest, carry->block, size);
    if (carry->step == STEP_CHECK) {
        carry->progress.bytes_checked += size;
        return true;
    }
    bool is_there = offset + size <= carry->target_bytes &&
                    device_read(carry->target, carry->present, size, offset, NULL) &&
                    memcmp(carry->block, carry->present, size) == 0;
    if (!is_there && !device_write(carry->target, carry->block, size, offset, &carry->error))
        return false;
    if (!is_there)
        device_start_writeback(carry->target, offset, size);
    carry->progress.bytes_written += is_there ? 0 : size;
    carry->progress.bytes_copied += size;
    return true;
}

/* Takes some blocks; at the end compares what was read with what is recorded. False with the error set. */
static bool take_slice(struct carry *carry, const uint64_t *done, enum step next, const char *why)
{
    if (!carry->digest)
        carry->digest = digest_stream_new(true, true);
    for (int i = 0; i < SLICE_BLOCKS && *done < carry->settings.bytes; i++) {
        if (atomic_load(&carry->cancelled))
            return error_set(&carry->error, ERROR_CANCELLED, "copying the part %s was cancelled",
                             carry->settings.name);
        if (!take_block(carry, *done))
            return false;
    }
    if (*done < carry->settings.bytes)
        return true;
    digest_stream_final(carry->digest, carry->manifest.sha256, &carry->manifest.file_hash);
    carry->digest = digest_stream_free(carry->digest);
    if (memcmp(carry->manifest.sha256, carry->settings.sha256, DIGEST_SHA256_SIZE) != 0)
        return refuse_source(carry, why);
    carry->step = next;
    return true;
}

static bool run_step(struct carry *carry)
{
    switch (carry->step) {
    case STEP_CHECK:
        return (carry->source || open_source(carry)) &&
               take_slice(carry, &carry->progress.bytes_checked, STEP_READY,
                          "it is not what was installed there, so somebody changed it") &&
               (carry->step == STEP_CHECK || open_target(carry));
    case STEP_COPY:
        return take_slice(carry, &carry->progress.bytes_copied, STEP_SYNC, "it changed while it was copied");
    case STEP_SYNC:
        carry->step = STEP_VERIFY;
        return device_set_size(carry->target, carry->settings.bytes, &carry->error) &&
               device_sync(carry->target, &carry->error);
    case STEP_CLOSE:
        carry->source = device_close(carry->source);
        if (carry->failed)
            carry->target = device_close(carry->target);
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

static void close_all(struct carry *carry)
{
    carry->step = STEP_CLOSE;
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
    close_all(carry);
}

static void start_verify(struct carry *carry)
{
    static const struct verify_events events = {
        .progress = on_verify_progress,
        .cached = on_cached,
        .done = on_verified,
    };

    carry->manifest.file_size = carry->settings.bytes;
    carry->manifest.has_sha256 = true;
    carry->verify = verify_start(carry->pool, carry->target, &carry->manifest, &events, carry);
    if (atomic_load(&carry->cancelled))
        verify_stop(carry->verify);
}

static void fail_cancelled(struct carry *carry)
{
    carry->failed = true;
    error_set(&carry->error, ERROR_CANCELLED, "copying the part %s was cancelled", carry->settings.name);
    close_all(carry);
}

static void rest(struct carry *carry)
{
    carry->rests = true;
    carry->events->ready(carry->owner);
}

static void job_done(struct pool_job *job)
{
    struct carry *carry = container_of(job, struct carry, job);
    bool closed = carry->step == STEP_CLOSE && !carry->source && (!carry->failed || !carry->target);

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
        if (closed)
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
    carry->step = STEP_COPY;
    pool_submit(carry->pool, &carry->job);
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

const struct carry_progress *carry_progress(const struct carry *carry)
{
    return &carry->progress;
}

struct device *carry_take_target(struct carry *carry)
{
    struct device *target = carry->target;

    assert(carry->step == STEP_CLOSE && !carry->failed);
    carry->target = NULL;
    return target;
}

struct carry *carry_free(struct carry *carry)
{
    if (!carry)
        return NULL;
    assert(!carry->verify);
    device_close(carry->target);
    digest_stream_free(carry->digest);
    free(carry->block);
    free(carry->present);
    free(carry);
    return NULL;
}
