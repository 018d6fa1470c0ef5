/*
 * batches.h - RocksDB's write batches on their way: logged by one thread, applied by another
 *
 * A queue of those that are logged, and a pool of some that were. All calls may come from either
 * thread.
 */
#ifndef STORE_BATCHES_H
#define STORE_BATCHES_H

#include <pthread.h>
#include <rocksdb/c.h>

/** struct store_batch - one write; owned by whoever took or popped it */
struct store_batch {
    struct store_batch *next;
    rocksdb_writebatch_t *writes;
};

struct store_batches {
    pthread_mutex_t lock;
    struct store_batch *logged, **logged_end; /* oldest first */
    struct store_batch *spare;
    unsigned n_spare;
};

void store_batches_init(struct store_batches *batches);

/** store_batches_release() - frees those that are logged, too */
void store_batches_release(struct store_batches *batches);

/** store_batches_take() - an empty one, to be given back or pushed; NULL when out of memory */
struct store_batch *store_batches_take(struct store_batches *batches);

/** store_batches_give_back() - it is emptied */
void store_batches_give_back(struct store_batches *batches, struct store_batch *batch);

/** store_batches_push() - it is logged, as the newest */
void store_batches_push(struct store_batches *batches, struct store_batch *batch);

/** store_batches_pop() - the oldest that is logged, or NULL */
struct store_batch *store_batches_pop(struct store_batches *batches);

/** store_batches_drop() - give back all that are logged: they have been applied from the log */
void store_batches_drop(struct store_batches *batches);

#endif
