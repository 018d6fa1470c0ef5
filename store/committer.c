/*
 * committer.c - writing sealed commits, and not giving up when that fails
 *
 * Commits form one list that the broker's thread extends and frees; this thread keeps a cursor into
 * it, the oldest commit that is not written. The lock guards the cursor, the links and what is
 * reported; a commit's content needs none, as nobody changes it once it is sealed.
 *
 *              +--> waiting --commits, stop--> writing --ok, reported--> applying --ok--+
 *              |                                  |                        |            |
 *              +----------------------------------|------------------------|------------+
 *                                               failed                   failed
 *        retry in 1 s <--reopen failed-- reopening --ok--> writing what is not written
 *
 * What a failed write or sync has left on the disk is never built upon (log.c), and commits that
 * could not be applied are applied from the log when the database is opened again.
 *
 * The lock is let go before the broker's thread is woken: woken under it, it would wait at once.
 */
#include "store/committer.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* One write takes at most this much, so that the first of many commits is not kept waiting long. */
#define WRITE_BYTES_MAX (8u << 20)
#define WRITE_COMMITS_MAX 64
/* The broker is told of more than this when it is applied, so that it does not keep it while idle. */
#define KEPT_BYTES_MAX 65536
#define RETRY_MS 1000
#define GIVE_UP_MS 5000

struct store_committer {
    struct store_backend *backend;
    struct store_waker *waker;
    enum store_sync sync;
    unsigned sync_interval_ms;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct store_commit *pending; /* oldest that is not written */
    bool stop;
    int given_up; /* -errno when the thread ended with commits unwritten */
    struct store_committer_report report;
    /* the thread's own */
    bool broken;    /* the database has to be reopened */
    bool unsynced;  /* interval: written since the last sync */
    int64_t sync_at_ms;
    int64_t give_up_at_ms;
};

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with these arguments */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t now_ms(void)
{
    return now_us() / 1000;
}

static void wait_until(struct store_committer *committer, int64_t at_ms)
{
    struct timespec at = { .tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000 };

    (void)pthread_cond_timedwait(&committer->changed, &committer->lock, &at); /* or woken: fine */
}

/* Called with the lock held, which is released meanwhile. */
static void wake_broker(struct store_committer *committer)
{
    (void)pthread_mutex_unlock(&committer->lock);
    store_waker_wake(committer->waker);
    (void)pthread_mutex_lock(&committer->lock);
}

/* Whether there is something new to tell. Called with the lock held. */
static bool note_stall(struct store_committer *committer, int error,
                       const struct store_fault *fault)
{
    if ((committer->report.stalled != 0) == (error != 0))
        return false;
    committer->report.stalled = error;
    committer->report.stalled_changed = true;
    if (fault)
        committer->report.fault = *fault;
    return true;
}

/* How many of the pending commits go into the next write. Called with the lock held. */
static size_t choose_batch(const struct store_committer *committer,
                           const struct store_op **ret_batches, struct store_commit **ret_last,
                           size_t *ret_bytes)
{
    struct store_commit *commit;
    size_t bytes = 0;
    size_t n = 0;

    *ret_bytes = 0;
    for (commit = committer->pending; commit && n < WRITE_COMMITS_MAX; commit = commit->next) {
        bytes += commit->bytes;
        if (n > 0 && bytes > WRITE_BYTES_MAX)
            break;
        ret_batches[n++] = commit->first_op;
        *ret_last = commit;
        *ret_bytes = bytes;
    }
    return n;
}

/* Called with the lock held, which is released meanwhile. */
static int apply_written(struct store_committer *committer, uint64_t last, size_t bytes,
                         struct store_fault *fault)
{
    int rc;

    (void)pthread_mutex_unlock(&committer->lock);
    rc = committer->backend->ops->apply(committer->backend, fault);
    (void)pthread_mutex_lock(&committer->lock);
    if (rc)
        return rc;
    committer->report.applied = last;
    if (bytes > KEPT_BYTES_MAX && !committer->pending)
        wake_broker(committer);
    return 0;
}

/* Called with the lock held, which is released meanwhile. */
static int write_pending(struct store_committer *committer, struct store_fault *fault)
{
    const struct store_op *batches[WRITE_COMMITS_MAX];
    struct store_commit *last = NULL;
    size_t bytes;
    size_t n = choose_batch(committer, batches, &last, &bytes);
    uint64_t number;
    int64_t start;
    int64_t end;
    int rc;

    assert(n > 0);
    (void)pthread_mutex_unlock(&committer->lock);
    start = now_us();
    rc = committer->backend->ops->write(committer->backend, batches, n,
                                        committer->sync == STORE_SYNC_COMMIT, fault);
    end = now_us();
    (void)pthread_mutex_lock(&committer->lock);
    if (rc)
        return rc;
    number = last->number;
    committer->report.sync_us += (uint64_t)(end - start);
    committer->report.durable = number;
    committer->pending = last->next;
    if (committer->sync == STORE_SYNC_INTERVAL && !committer->unsynced) {
        committer->unsynced = true;
        committer->sync_at_ms = end / 1000 + committer->sync_interval_ms;
    }
    (void)note_stall(committer, 0, NULL);
    wake_broker(committer);
    return apply_written(committer, number, bytes, fault);
}

/* Called with the lock held, which is released meanwhile. */
static int sync_written(struct store_committer *committer, struct store_fault *fault)
{
    int rc;

    committer->unsynced = false;
    (void)pthread_mutex_unlock(&committer->lock);
    rc = committer->backend->ops->sync(committer->backend, fault);
    (void)pthread_mutex_lock(&committer->lock);
    return rc;
}

/* Called with the lock held, which is released meanwhile. */
static int reopen(struct store_committer *committer, struct store_fault *fault)
{
    int rc;

    (void)pthread_mutex_unlock(&committer->lock);
    rc = committer->backend->ops->reopen(committer->backend, fault);
    (void)pthread_mutex_lock(&committer->lock);
    if (rc == 0) {
        committer->broken = false;
        committer->report.applied = committer->report.durable;
    }
    return rc;
}

/* Whatever is next to be done: 0, or -errno and the database is broken. */
static int step(struct store_committer *committer, struct store_fault *fault)
{
    int rc;

    if (committer->broken && (rc = reopen(committer, fault)) != 0)
        return rc;
    if (committer->pending)
        return write_pending(committer, fault);
    if (committer->unsynced && (committer->stop || now_ms() >= committer->sync_at_ms))
        return sync_written(committer, fault);
    return 0;
}

static bool is_idle(const struct store_committer *committer)
{
    return !committer->pending && !committer->broken &&
           !(committer->unsynced && (committer->stop || now_ms() >= committer->sync_at_ms));
}

/* Wait for the next attempt; false when there is to be none. Called with the lock held. */
static bool wait_for_retry(struct store_committer *committer)
{
    int64_t retry_at_ms = now_ms() + RETRY_MS;

    for (;;) {
        int64_t now = now_ms();

        if (committer->stop && committer->give_up_at_ms == 0)
            committer->give_up_at_ms = now + GIVE_UP_MS;
        if (committer->stop && now >= committer->give_up_at_ms)
            return false;
        if (now >= retry_at_ms)
            return true;
        wait_until(committer, retry_at_ms);
    }
}

static void *committer_main(void *argument)
{
    struct store_committer *committer = argument;

    (void)pthread_mutex_lock(&committer->lock);
    for (;;) {
        struct store_fault fault = { "" };
        int rc;

        if (is_idle(committer)) {
            if (committer->stop)
                break;
            if (committer->unsynced)
                wait_until(committer, committer->sync_at_ms);
            else
                (void)pthread_cond_wait(&committer->changed, &committer->lock);
            continue;
        }
        rc = step(committer, &fault);
        if (rc == 0) {
            if (note_stall(committer, 0, NULL))
                wake_broker(committer);
            continue;
        }
        committer->broken = true;
        if (note_stall(committer, rc, &fault))
            wake_broker(committer);
        if (!wait_for_retry(committer)) {
            committer->given_up = rc;
            break;
        }
    }
    (void)pthread_mutex_unlock(&committer->lock);
    return NULL;
}

int store_committer_start(struct store_backend *backend, const struct store_options *options,
                          struct store_waker *waker, struct store_committer **ret_committer)
{
    struct store_committer *committer = calloc(1, sizeof *committer);
    pthread_condattr_t attributes;
    int rc;

    if (!committer)
        return -ENOMEM;
    committer->backend = backend;
    committer->waker = waker;
    committer->sync = options->sync;
    committer->sync_interval_ms = options->sync_interval_ms;
    (void)pthread_mutex_init(&committer->lock, NULL); /* glibc's cannot fail */
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&committer->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    rc = pthread_create(&committer->thread, NULL, committer_main, committer);
    if (rc) {
        free(committer);
        return -rc;
    }
    *ret_committer = committer;
    return 0;
}

void store_committer_submit(struct store_committer *committer, struct store_commit *after,
                            struct store_commit *commit)
{
    (void)pthread_mutex_lock(&committer->lock);
    if (after)
        after->next = commit;
    if (!committer->pending)
        committer->pending = commit;
    (void)pthread_mutex_unlock(&committer->lock);
    (void)pthread_cond_signal(&committer->changed);
}

void store_committer_collect(struct store_committer *committer,
                             struct store_committer_report *ret_report)
{
    (void)pthread_mutex_lock(&committer->lock);
    *ret_report = committer->report;
    committer->report.stalled_changed = false;
    (void)pthread_mutex_unlock(&committer->lock);
}

int store_committer_stop(struct store_committer *committer)
{
    int rc;

    (void)pthread_mutex_lock(&committer->lock);
    committer->stop = true;
    (void)pthread_mutex_unlock(&committer->lock);
    (void)pthread_cond_signal(&committer->changed);
    (void)pthread_join(committer->thread, NULL);
    rc = committer->given_up;
    (void)pthread_mutex_destroy(&committer->lock);
    (void)pthread_cond_destroy(&committer->changed);
    free(committer);
    return rc;
}
