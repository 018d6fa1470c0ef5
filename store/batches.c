/*
 * batches.c - a queue and a pool of write batches, under one lock that is never held for long
 */
#include "store/batches.h"

#include <stdbool.h>
#include <stdlib.h>

#define KEPT_MAX 3
#define KEPT_BYTES_MAX (2u << 20) /* a larger batch gives its memory back */

struct store_batch *store_batches_take(struct store_batches *batches)
{
    struct store_batch *batch;

    (void)pthread_mutex_lock(&batches->lock);
    batch = batches->spare;
    if (batch) {
        batches->spare = batch->next;
        batches->n_spare--;
    }
    (void)pthread_mutex_unlock(&batches->lock);
    if (batch)
        return batch;
    batch = malloc(sizeof *batch);
    if (batch)
        batch->writes = rocksdb_writebatch_create();
    return batch;
}

static void batch_free(struct store_batch *batch)
{
    rocksdb_writebatch_destroy(batch->writes);
    free(batch);
}

void store_batches_give_back(struct store_batches *batches, struct store_batch *batch)
{
    size_t size;
    bool keep;

    (void)rocksdb_writebatch_data(batch->writes, &size);
    rocksdb_writebatch_clear(batch->writes);
    (void)pthread_mutex_lock(&batches->lock);
    keep = size <= KEPT_BYTES_MAX && batches->n_spare < KEPT_MAX;
    if (keep) {
        batch->next = batches->spare;
        batches->spare = batch;
        batches->n_spare++;
    }
    (void)pthread_mutex_unlock(&batches->lock);
    if (!keep)
        batch_free(batch);
}

void store_batches_push(struct store_batches *batches, struct store_batch *batch)
{
    batch->next = NULL;
    (void)pthread_mutex_lock(&batches->lock);
    *batches->logged_end = batch;
    batches->logged_end = &batch->next;
    (void)pthread_mutex_unlock(&batches->lock);
}

struct store_batch *store_batches_pop(struct store_batches *batches)
{
    struct store_batch *batch;

    (void)pthread_mutex_lock(&batches->lock);
    batch = batches->logged;
    if (batch && !(batches->logged = batch->next))
        batches->logged_end = &batches->logged;
    (void)pthread_mutex_unlock(&batches->lock);
    return batch;
}

void store_batches_drop(struct store_batches *batches)
{
    struct store_batch *batch;

    while ((batch = store_batches_pop(batches)))
        store_batches_give_back(batches, batch);
}

void store_batches_init(struct store_batches *batches)
{
    *batches = (struct store_batches){ 0 };
    batches->logged_end = &batches->logged;
    (void)pthread_mutex_init(&batches->lock, NULL); /* glibc's cannot fail */
}

void store_batches_release(struct store_batches *batches)
{
    store_batches_drop(batches);
    while (batches->spare) {
        struct store_batch *batch = batches->spare;

        batches->spare = batch->next;
        batch_free(batch);
    }
    (void)pthread_mutex_destroy(&batches->lock);
}
