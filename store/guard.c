/*
 * guard.c - a thread for one call, and somebody who does not wait for it for ever
 *
 * Opening and closing a database write files, and a write waits until the disk works
 * (rocksdb_files.cc). At a start and at a stop an operator waits too.
 */
#include "store/guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define LOOK_MS 50

struct guard {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    store_guarded work;
    void *context;
    struct store_fault fault;
    int result;
    unsigned stuck_ms_max;
    bool done;
};

static void *guard_main(void *argument)
{
    struct guard *guard = argument;
    int result = guard->work(guard->context, &guard->fault);

    (void)pthread_mutex_lock(&guard->lock);
    guard->result = result;
    guard->done = true;
    (void)pthread_cond_signal(&guard->ended);
    (void)pthread_mutex_unlock(&guard->lock);
    return NULL;
}

static void wait_ms(struct guard *guard, long ms)
{
    struct timespec at;

    (void)clock_gettime(CLOCK_REALTIME, &at); /* cannot fail with these arguments */
    at.tv_nsec += ms * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    (void)pthread_cond_timedwait(&guard->ended, &guard->lock, &at); /* or woken: fine */
}

/* Whether it has ended. Called with the lock held, which is released meanwhile. */
static bool wait_for_end(struct guard *guard, struct rocks_files *files, int *ret_error,
                         struct store_fault *fault)
{
    unsigned stuck_ms = 0;

    while (!guard->done && stuck_ms < guard->stuck_ms_max) {
        enum store_backend_state state;

        wait_ms(guard, LOOK_MS);
        state = rocks_files_look(files, ret_error, fault);
        if (state == STORE_BACKEND_LOST)
            return guard->done;
        stuck_ms = state == STORE_BACKEND_STUCK ? stuck_ms + LOOK_MS : 0;
    }
    return guard->done;
}

int store_guard(struct rocks_files *files, store_guarded work, void *context,
                unsigned stuck_ms_max, struct store_fault *fault, bool *ret_left)
{
    struct guard *guard = calloc(1, sizeof *guard);
    pthread_t thread;
    int rc;

    if (!guard)
        return -ENOMEM;
    guard->work = work;
    guard->context = context;
    guard->stuck_ms_max = stuck_ms_max;
    (void)pthread_mutex_init(&guard->lock, NULL); /* glibc's cannot fail */
    (void)pthread_cond_init(&guard->ended, NULL);
    rc = -pthread_create(&thread, NULL, guard_main, guard);
    if (rc) {
        free(guard);
        return rc;
    }
    (void)pthread_mutex_lock(&guard->lock);
    if (!wait_for_end(guard, files, &rc, fault)) {
        (void)pthread_mutex_unlock(&guard->lock);
        (void)pthread_detach(thread);
        *ret_left = true;
        return rc ? rc : -EIO;
    }
    (void)pthread_mutex_unlock(&guard->lock);
    (void)pthread_join(thread, NULL);
    rc = guard->result;
    if (rc)
        *fault = guard->fault;
    free(guard);
    return rc;
}
