/*
 * readers.h - threads that fetch messages, so that the broker's thread never waits for a disk
 *
 * A record always goes to the same reader, which keeps the last one it read: a long queue that is
 * read in order costs one database read per record, not one per message.
 */
#ifndef STORE_READERS_H
#define STORE_READERS_H

#include "store/store-internal.h"

struct store_readers;

/** store_readers_start() - @backend and @waker are borrowed until store_readers_stop() */
int store_readers_start(struct store_backend *backend, unsigned n_threads,
                        struct store_waker *waker, struct store_readers **ret_readers);

/** store_readers_submit() - hand over a read, which is moved */
void store_readers_submit(struct store_readers *readers, struct store_reading *reading);

/** store_readers_collect() - append the reads that have ended to a list */
void store_readers_collect(struct store_readers *readers, struct store_readings *readings);

/** store_readers_stop() - end the threads; reads that have not ended are dropped */
void store_readers_stop(struct store_readers *readers);

#endif
