/*
 * committer.c - writing sealed commits, applying them, and not giving up when that fails
 *
 * Commits form one list that the broker's thread extends and frees; the writing thread keeps a
 * cursor into it, the oldest commit that is not written. What it has written waits in a ring for
 * the applying thread, so that the next write need not wait for the database. One lock guards the
 * cursor, the links, the ring and what is reported; a commit's content needs none, as nobody
 * changes it once it is sealed.
 *
 *              +--> waiting --commits, stop--> writing --ok, reported, to the ring--+
 *              |                                  |                                 |
 *              +----------------------------------|---------------------------------+
 *                                               failed, or applying did
 *        retry in 1 s <--reopen failed-- reopening --ok--> writing what is not written
 *
 * What a failed write or sync has left on the disk is never built upon (log.c).
 *
 * The database may wait for the disk as long as it likes: the applying thread then waits with it,
 * and when the store is closed meanwhile, what is sealed is still logged, and the database is
 * abandoned as it is. How the backend is, it tells by a call; while it is not well that is looked
 * at again and again, and reported as a stall, even though writing may work.
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
/* Written and not applied: then the next write waits. */
#define RING_WRITES 16
#define RING_BYTES_MAX (16u << 20)
/* A smaller write is applied by the writer: that costs less than waking the applier. */
#define INLINE_OPS_MAX 16
#define INLINE_BYTES_MAX (256u << 10)
/* The broker is told of more than this when it is applied, and does not keep it while idle. */
#define KEPT_BYTES_MAX 65536
#define RETRY_MS 1000
#define LOOK_MS 250 /* while the backend is not well */
#define GIVE_UP_MS 5000
#define STUCK_MS_MAX 2000 /* when stopping */
#define END_MS_MAX 2000   /* of a thread, after abandoning */

/* One write that is to be applied. */
struct written {
    uint64_t last; /* number of its last commit */
    size_t bytes, n_ops;
};

struct store_committer {
    struct store_backend *backend;
    struct store_waker *waker;
    enum store_sync sync;
    unsigned sync_interval_ms;
    pthread_t writer, applier;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* for the writer: commits, room in the ring, a failure, stop */
    pthread_cond_t written; /* for the applier: something in the ring, stop */
    pthread_cond_t ended;   /* for the thread that stops the others */
    struct store_commit *pending; /* oldest that is not written */
    struct written ring[RING_WRITES]; /* ring[head] is applied first */
    unsigned ring_head, ring_used;
    size_t ring_bytes;
    bool applying; /* ring[ring_head], by one of the two */
    bool draining; /* the writer waits until all is applied */
    int apply_error; /* -errno: the applier does nothing before it is cleared */
    struct store_fault apply_fault;
    bool stop;
    bool stop_applying;
    int given_up; /* -errno when the thread ended with commits unwritten */
    struct store_committer_report report;
    pthread_mutex_t look_lock; /* taken before the other: looking and noting what was found */
    enum store_backend_state state;
    int state_error;
    struct store_fault state_fault;
    bool abandoned; /* nothing is applied any more */
    bool writer_ended;
    /* the writer's own */
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

/* Writing works; the rest may not. Called with the lock held. */
static bool note_written(struct store_committer *committer)
{
    return committer->state == STORE_BACKEND_WELL
               ? note_stall(committer, 0, NULL)
               : note_stall(committer, committer->state_error, &committer->state_fault);
}

/* Called without the locks. */
static void look(struct store_committer *committer)
{
    const struct store_backend_ops *ops = committer->backend->ops;
    struct store_fault fault = { "" };
    int error = 0;
    enum store_backend_state state;
    bool news;

    if (!ops->look)
        return;
    (void)pthread_mutex_lock(&committer->look_lock);
    state = ops->look(committer->backend, &error, &fault);
    (void)pthread_mutex_lock(&committer->lock);
    committer->state = state;
    committer->state_error = error;
    committer->state_fault = fault;
    news = (!committer->broken && note_written(committer)) ||
           (state == STORE_BACKEND_LOST && !committer->report.lost);
    if (state == STORE_BACKEND_LOST) {
        committer->report.lost = error;
        committer->report.lost_fault = fault;
    }
    (void)pthread_mutex_unlock(&committer->lock);
    (void)pthread_mutex_unlock(&committer->look_lock);
    if (!news)
        return;
    (void)pthread_cond_signal(&committer->changed);
    store_waker_wake(committer->waker);
}

static void on_backend_changed(void *context)
{
    look(context);
}

/* How many of the pending commits go into the next write. Called with the lock held. */
static size_t choose_batch(const struct store_committer *committer,
                           const struct store_op **ret_batches, struct store_commit **ret_last,
                           struct written *ret_written)
{
    struct written written = { 0, 0, 0 };
    struct store_commit *commit;
    size_t n = 0;

    for (commit = committer->pending; commit && n < WRITE_COMMITS_MAX; commit = commit->next) {
        if (n > 0 && written.bytes + commit->bytes > WRITE_BYTES_MAX)
            break;
        written.last = commit->number;
        written.bytes += commit->bytes;
        written.n_ops += commit->n_ops;
        ret_batches[n++] = commit->first_op;
        *ret_last = commit;
    }
    *ret_written = written;
    return n;
}

/* ---- applying ---- */

static bool ring_is_full(const struct store_committer *committer)
{
    if (committer->abandoned)
        return false; /* and not used */
    return committer->ring_used == RING_WRITES ||
           (committer->ring_used > 0 && committer->ring_bytes > RING_BYTES_MAX);
}

/* Called with the lock held, which is released meanwhile. */
static void apply_oldest(struct store_committer *committer)
{
    struct written written = committer->ring[committer->ring_head];
    struct store_fault fault = { "" };
    bool writer_waits;
    int rc;

    committer->applying = true;
    (void)pthread_mutex_unlock(&committer->lock);
    rc = committer->backend->ops->apply(committer->backend, &fault);
    (void)pthread_mutex_lock(&committer->lock);
    committer->applying = false;
    writer_waits = ring_is_full(committer) || committer->draining;
    if (rc) {
        committer->apply_error = rc;
        committer->apply_fault = fault;
    } else {
        committer->report.applied = written.last;
        committer->ring_head = (committer->ring_head + 1) % RING_WRITES;
        committer->ring_used--;
        committer->ring_bytes -= written.bytes;
    }
    if (rc || writer_waits)
        (void)pthread_cond_signal(&committer->changed);
    if (rc == 0 && written.bytes > KEPT_BYTES_MAX && committer->ring_used == 0)
        wake_broker(committer);
}

static void *applier_main(void *argument)
{
    struct store_committer *committer = argument;

    (void)pthread_mutex_lock(&committer->lock);
    for (;;) {
        if (committer->ring_used > 0 && !committer->applying && committer->apply_error == 0 &&
            !committer->abandoned)
            apply_oldest(committer);
        else if (committer->stop_applying)
            break;
        else
            (void)pthread_cond_wait(&committer->written, &committer->lock);
    }
    (void)pthread_mutex_unlock(&committer->lock);
    return NULL;
}

/* Until the applier does nothing: all is applied, or it has failed. Called with the lock held. */
static void wait_for_applier(struct store_committer *committer)
{
    committer->draining = true;
    while (committer->ring_used > 0 && committer->apply_error == 0 && !committer->abandoned)
        (void)pthread_cond_wait(&committer->changed, &committer->lock);
    committer->draining = false;
}

/* Called with the lock held. */
static void ring_push(struct store_committer *committer, struct written written)
{
    unsigned at = (committer->ring_head + committer->ring_used) % RING_WRITES;

    assert(committer->ring_used < RING_WRITES);
    committer->ring[at] = written;
    committer->ring_used++;
    committer->ring_bytes += written.bytes;
}

/* ---- writing ---- */

/* Tell the broker, then have it applied. Called with the lock held, which is released meanwhile. */
static void hand_on(struct store_committer *committer, struct written written)
{
    bool by_writer = committer->ring_used == 0 && written.n_ops <= INLINE_OPS_MAX &&
                     written.bytes <= INLINE_BYTES_MAX && committer->state != STORE_BACKEND_STUCK;

    if (committer->abandoned)
        return; /* the log has it */
    ring_push(committer, written);
    committer->applying = committer->applying || by_writer; /* the applier leaves it alone */
    (void)pthread_mutex_unlock(&committer->lock);
    store_waker_wake(committer->waker);
    if (!by_writer)
        (void)pthread_cond_signal(&committer->written);
    (void)pthread_mutex_lock(&committer->lock);
    if (by_writer)
        apply_oldest(committer);
}

/* Called with the lock held, which is released meanwhile. */
static int write_pending(struct store_committer *committer, struct store_fault *fault)
{
    const struct store_op *batches[WRITE_COMMITS_MAX];
    struct store_commit *last = NULL;
    struct written written;
    size_t n = choose_batch(committer, batches, &last, &written);
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
    committer->report.sync_us += (uint64_t)(end - start);
    committer->report.durable = written.last;
    committer->pending = last->next;
    if (committer->sync == STORE_SYNC_INTERVAL && !committer->unsynced) {
        committer->unsynced = true;
        committer->sync_at_ms = end / 1000 + committer->sync_interval_ms;
    }
    (void)note_written(committer);
    hand_on(committer, written);
    return 0;
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

    wait_for_applier(committer);
    (void)pthread_mutex_unlock(&committer->lock);
    rc = committer->backend->ops->reopen(committer->backend, fault);
    (void)pthread_mutex_lock(&committer->lock);
    if (rc == 0) {
        committer->broken = false;
        committer->apply_error = 0;
        committer->report.applied = committer->report.durable;
        committer->ring_used = 0;
        committer->ring_bytes = 0;
    }
    return rc;
}

/* Whatever is next to be done: 0, or -errno and the database is broken. */
static int step(struct store_committer *committer, struct store_fault *fault)
{
    int rc;

    if (committer->broken && (rc = reopen(committer, fault)) != 0)
        return rc;
    if (committer->apply_error && !committer->abandoned) {
        *fault = committer->apply_fault;
        return committer->apply_error;
    }
    if (committer->pending && !ring_is_full(committer))
        return write_pending(committer, fault);
    if (committer->unsynced && (committer->stop || now_ms() >= committer->sync_at_ms))
        return sync_written(committer, fault);
    return 0;
}

static bool is_idle(const struct store_committer *committer)
{
    if (committer->broken || (committer->apply_error && !committer->abandoned))
        return false;
    return (!committer->pending || ring_is_full(committer)) &&
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

/* Until there may be something to do. Called with the lock held, which is released meanwhile. */
static void wait_for_work(struct store_committer *committer)
{
    bool well = committer->state == STORE_BACKEND_WELL;
    int64_t look_at_ms = now_ms() + LOOK_MS;

    if (!committer->unsynced && well)
        (void)pthread_cond_wait(&committer->changed, &committer->lock);
    else
        wait_until(committer, !committer->unsynced || (!well && look_at_ms < committer->sync_at_ms)
                                  ? look_at_ms
                                  : committer->sync_at_ms);
}

/* Called with the lock held, which is released meanwhile. */
static void look_again(struct store_committer *committer)
{
    (void)pthread_mutex_unlock(&committer->lock);
    look(committer);
    (void)pthread_mutex_lock(&committer->lock);
}

/* By the writer. Called with the lock held, which is released meanwhile. */
static void look_after(struct store_committer *committer)
{
    look_again(committer);
    if (committer->state != STORE_BACKEND_SHORT)
        return;
    (void)pthread_mutex_unlock(&committer->lock);
    committer->backend->ops->tidy(committer->backend);
    (void)pthread_mutex_lock(&committer->lock);
}

static void *writer_main(void *argument)
{
    struct store_committer *committer = argument;

    look(committer);
    (void)pthread_mutex_lock(&committer->lock);
    for (;;) {
        struct store_fault fault = { "" };
        int rc;

        if (committer->report.stalled || committer->state != STORE_BACKEND_WELL)
            look_after(committer);
        if (is_idle(committer)) {
            if (committer->stop && !committer->pending)
                break;
            wait_for_work(committer);
            continue;
        }
        rc = step(committer, &fault);
        if (rc == 0) {
            if (note_written(committer))
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
    wait_for_applier(committer);
    committer->writer_ended = true;
    (void)pthread_cond_broadcast(&committer->ended);
    (void)pthread_mutex_unlock(&committer->lock);
    return NULL;
}

static int start_threads(struct store_committer *committer)
{
    int rc = pthread_create(&committer->applier, NULL, applier_main, committer);

    if (rc)
        return -rc;
    rc = pthread_create(&committer->writer, NULL, writer_main, committer);
    if (rc == 0)
        return 0;
    (void)pthread_mutex_lock(&committer->lock);
    committer->stop_applying = true;
    (void)pthread_mutex_unlock(&committer->lock);
    (void)pthread_cond_signal(&committer->written);
    (void)pthread_join(committer->applier, NULL);
    return -rc;
}

static void committer_free(struct store_committer *committer)
{
    (void)pthread_mutex_destroy(&committer->lock);
    (void)pthread_mutex_destroy(&committer->look_lock);
    (void)pthread_cond_destroy(&committer->changed);
    (void)pthread_cond_destroy(&committer->ended);
    (void)pthread_cond_destroy(&committer->written);
    free(committer);
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
    (void)pthread_mutex_init(&committer->look_lock, NULL);
    (void)pthread_cond_init(&committer->changed, &attributes);
    (void)pthread_cond_init(&committer->ended, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_cond_init(&committer->written, NULL);
    rc = start_threads(committer);
    if (rc) {
        committer_free(committer);
        return rc;
    }
    if (backend->ops->watch)
        backend->ops->watch(backend, on_backend_changed, committer);
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

/* Leave the database as it is: what waits for it must not. Called with the lock held. */
static void abandon(struct store_committer *committer)
{
    committer->abandoned = true;
    (void)pthread_mutex_unlock(&committer->lock);
    committer->backend->ops->abandon(committer->backend);
    (void)pthread_mutex_lock(&committer->lock);
    (void)pthread_cond_signal(&committer->changed);
    (void)pthread_cond_signal(&committer->written);
}

/* Called with the lock held, which is released meanwhile. */
static void wait_for_writer(struct store_committer *committer)
{
    int64_t stuck_at_ms = now_ms();
    int64_t end_ms = INT64_MAX;

    while (!committer->writer_ended && now_ms() < end_ms) {
        int64_t at_ms = now_ms() + LOOK_MS;
        struct timespec at = { at_ms / 1000, at_ms % 1000 * 1000000 };

        (void)pthread_cond_timedwait(&committer->ended, &committer->lock, &at); /* or woken: fine */
        look_again(committer);
        if (committer->state < STORE_BACKEND_STUCK)
            stuck_at_ms = now_ms();
        if (committer->abandoned || (committer->state != STORE_BACKEND_LOST &&
                                     now_ms() - stuck_at_ms < STUCK_MS_MAX))
            continue;
        abandon(committer);
        end_ms = now_ms() + GIVE_UP_MS + END_MS_MAX;
    }
}

static bool join(pthread_t thread)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail with these arguments */
    until.tv_sec += END_MS_MAX / 1000;
    return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

int store_committer_stop(struct store_committer *committer, bool *ret_ended)
{
    bool ended;
    int rc;

    (void)pthread_mutex_lock(&committer->lock);
    committer->stop = true;
    (void)pthread_cond_signal(&committer->changed);
    wait_for_writer(committer);
    committer->stop_applying = true;
    rc = committer->writer_ended ? committer->given_up : committer->state_error;
    (void)pthread_mutex_unlock(&committer->lock);
    (void)pthread_cond_signal(&committer->written);
    ended = join(committer->writer) && join(committer->applier);
    if (committer->backend->ops->watch)
        committer->backend->ops->watch(committer->backend, NULL, NULL);
    if (ended)
        committer_free(committer);
    *ret_ended = ended;
    return rc;
}
