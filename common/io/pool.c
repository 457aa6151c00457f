/* SPDX-License-Identifier: MIT */
#include "common/io/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/io/watch.h"

/* A first-in first-out list of jobs, linked through pool_job::next. */
struct job_queue {
    struct pool_job *first;
    struct pool_job **last;
};

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t work; /* something in `waiting`, or `stopping` */
    /* under the mutex */
    struct job_queue waiting;
    struct job_queue finished;
    bool stopping;
    /* the loop's */
    struct watch *watch;
    int event_fd; /* written by threads when `finished` stops being empty */
    size_t outstanding;
    unsigned thread_count;
    pthread_t threads[];
};

/* The jobs read, hash and write; libcrypto needs the most stack of these, about 10 KiB. */
enum { POOL_STACK_SIZE = 256 * 1024 };

static void job_queue_init(struct job_queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

static void job_queue_push(struct job_queue *queue, struct pool_job *job)
{
    job->next = NULL;
    *queue->last = job;
    queue->last = &job->next;
}

static struct pool_job *job_queue_pop(struct job_queue *queue)
{
    struct pool_job *job = queue->first;

    if (job && !(queue->first = job->next))
        queue->last = &queue->first;
    return job;
}

static void *pool_thread(void *data)
{
    struct pool *pool = data;

    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (!pool->stopping && !pool->waiting.first)
            pthread_cond_wait(&pool->work, &pool->mutex);
        if (pool->stopping)
            break;
        struct pool_job *job = job_queue_pop(&pool->waiting);
        pthread_mutex_unlock(&pool->mutex);

        job->run(job);

        pthread_mutex_lock(&pool->mutex);
        bool first = !pool->finished.first;
        job_queue_push(&pool->finished, job);
        if (first) {
            ssize_t put = write(pool->event_fd, &(uint64_t){1}, sizeof(uint64_t));
            assert(put == sizeof(uint64_t));
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static void pool_on_finished(void *owner, int fd)
{
    struct pool *pool = owner;
    uint64_t count;
    struct job_queue batch;

    (void)!read(fd, &count, sizeof(count));
    /* The whole list is taken: a job that finishes from here on writes to the descriptor again, so none is
     * missed. */
    pthread_mutex_lock(&pool->mutex);
    batch.first = pool->finished.first;
    job_queue_init(&pool->finished);
    pthread_mutex_unlock(&pool->mutex);

    while (batch.first) {
        struct pool_job *job = batch.first;
        batch.first = job->next; /* `done` may submit or free the job */
        pool->outstanding--;
        job->done(job);
    }
}

bool pool_new(struct event_base *base, unsigned threads, struct pool **ret_pool, struct error *error)
{
    struct pool *pool = alloc_zeroed(sizeof(*pool) + threads * sizeof(pool->threads[0]));
    pthread_attr_t attributes;
    sigset_t all, before;

    assert(threads > 0);
    job_queue_init(&pool->waiting);
    job_queue_init(&pool->finished);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->event_fd < 0) {
        error_set_errno(error, errno, "cannot make an event descriptor");
        pool_free(pool);
        return false;
    }
    pool->watch = watch_new(base, WATCH_READABLE, pool->event_fd, pool_on_finished, pool);
    if (!watch_start(pool->watch)) {
        pool_free(pool);
        return error_set(error, ERROR_SYSTEM, "cannot watch an event descriptor");
    }

    /* Only the loop's thread handles signals, so the threads start with all of them blocked. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, POOL_STACK_SIZE);
    int result = 0;
    for (; pool->thread_count < threads && result == 0; pool->thread_count += result == 0)
        result = pthread_create(&pool->threads[pool->thread_count], &attributes, pool_thread, pool);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        pool_free(pool);
        return error_set_errno(error, result, "cannot start a thread");
    }
    *ret_pool = pool;
    return true;
}

static void pool_drop(struct job_queue *queue)
{
    struct pool_job *job;

    while ((job = job_queue_pop(queue)))
        if (job->drop)
            job->drop(job);
}

struct pool *pool_free(struct pool *pool)
{
    if (!pool)
        return NULL;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pool_drop(&pool->finished);
    pool_drop(&pool->waiting);
    watch_free(pool->watch);
    if (pool->event_fd >= 0)
        close(pool->event_fd);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
    return NULL;
}

void pool_submit(struct pool *pool, struct pool_job *job)
{
    pool->outstanding++;
    pthread_mutex_lock(&pool->mutex);
    job_queue_push(&pool->waiting, job);
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
}

size_t pool_outstanding(const struct pool *pool)
{
    return pool->outstanding;
}
