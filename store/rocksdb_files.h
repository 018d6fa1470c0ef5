/*
 * rocksdb_files.h - how RocksDB reaches the disk: it never sees a write fail
 *
 * rocksdb_files.cc says why. All calls may come from any thread.
 */
#ifndef STORE_ROCKSDB_FILES_H
#define STORE_ROCKSDB_FILES_H

#include <rocksdb/c.h>

#include "store/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

struct rocks_files;
struct store_reserve;

/**
 * rocks_files_new() - @reserve is borrowed, and is given up when there is no room
 *
 * Return: 0 or -ENOMEM.
 */
int rocks_files_new(struct store_reserve *reserve, struct rocks_files **ret_files);

/** rocks_files_use() - a database that is opened with these options goes through @files */
void rocks_files_use(struct rocks_files *files, rocksdb_options_t *options);

/** rocks_files_are_used() - whether a database has created anything through @files */
bool rocks_files_are_used(struct rocks_files *files);

/**
 * rocks_files_look() - how it is
 * @ret_error: -errno and a sentence, unless the state is WELL
 *
 * WELL; STUCK while an operation waits for the disk; LOST for ever after a sync has failed, or
 * rocks_files_lose(). The reserve is not looked at.
 */
enum store_backend_state rocks_files_look(struct rocks_files *files, int *ret_error,
                                          struct store_fault *fault);

/** rocks_files_lose() - from now on the state is LOST, with this reason */
void rocks_files_lose(struct rocks_files *files, int error, const char *text);

/**
 * rocks_files_watch() - call this whenever the state changes; NULL: nothing any more
 *
 * It may call rocks_files_look(). When this returns, the function before is not running.
 */
void rocks_files_watch(struct rocks_files *files, void (*changed)(void *context), void *context);

/**
 * rocks_files_flush() - write the memtables of all these families to files, as one change
 *
 * The C interface of 7.8 flushes one family at a time, even with atomic_flush: what the files hold
 * would be the state after no batch at all.
 *
 * Return: 0; -EIO with RocksDB's reason in @fault.
 */
int rocks_files_flush(rocksdb_t *db, rocksdb_column_family_handle_t *const *handles,
                      size_t n_handles, struct store_fault *fault);

/** rocks_files_free() - the database is closed. NULL is fine. */
void rocks_files_free(struct rocks_files *files);

#ifdef __cplusplus
}
#endif

#endif
