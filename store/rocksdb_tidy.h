/*
 * rocksdb_tidy.h - giving room back to a full disk
 */
#ifndef STORE_ROCKSDB_TIDY_H
#define STORE_ROCKSDB_TIDY_H

#include <rocksdb/c.h>

#include "store/rocksdb_options.h"

struct rocks_tidy;

/** struct rocks_tidy_work - what it is about; all borrowed, for as long as the tidy lives */
struct rocks_tidy_work {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *const *handles;
    const char *directory; /* of the database */
    void (*flushed)(void *context); /* on its own thread */
    void *context;
};

/** rocks_tidy_new() - 0 or -ENOMEM */
int rocks_tidy_new(const struct rocks_tidy_work *work, struct rocks_tidy **ret_tidy);

/**
 * rocks_tidy_run() - begin a round on a thread of its own, unless one is running or was lately
 *
 * A round flushes what is in memory, so that the log can let go of it, and compacts what is settled
 * out of the files where what is to be kept is small against the room that is left.
 */
void rocks_tidy_run(struct rocks_tidy *tidy);

/** rocks_tidy_free() - end a round and wait for it; before the database is closed. NULL is fine. */
void rocks_tidy_free(struct rocks_tidy *tidy);

#endif
