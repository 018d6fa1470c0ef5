/*
 * memory.h - the same store over an imaginary disk, for tests
 *
 * No threads: sealed commits are written by store_poll(), so that a test decides when. The disk
 * outlives the store: crash it, then open a store on it again.
 */
#ifndef STORE_MEMORY_H
#define STORE_MEMORY_H

#include "store/store.h"

struct store_disk;

struct store_disk *store_disk_new(void);
void store_disk_free(struct store_disk *disk);

/** store_open_memory() - like store_open(), on @disk (borrowed, must outlive the store) */
int store_open_memory(struct store_disk *disk, const struct store_options *options,
                      const struct store_events *events, void *context, struct store **ret_store);

/**
 * store_crash() - free the store as SIGKILL would: open and sealed commits that store_poll() has
 * not reported are lost, except that with @keep_unreported the next @keep_unreported sealed commits
 * do reach the disk although nobody was told
 */
void store_crash(struct store *store, unsigned keep_unreported);

/** store_disk_fail() - after @good good writes let @writes batch writes fail with -@error_number */
void store_disk_fail(struct store_disk *disk, unsigned good, unsigned writes, int error_number);

/** store_memory_hold() - while held, store_poll() writes nothing (a slow disk) */
void store_memory_hold(struct store *store, bool hold);

#endif
