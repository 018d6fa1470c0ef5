/*
 * backend_rocksdb-internal.h - what the two files of the backend share
 */
#ifndef STORE_BACKEND_ROCKSDB_INTERNAL_H
#define STORE_BACKEND_ROCKSDB_INTERNAL_H

#include <errno.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "store/backend_rocksdb.h"
#include "store/batches.h"
#include "store/log.h"
#include "store/reserve.h"
#include "store/rocksdb_files.h"
#include "store/rocksdb_options.h"
#include "store/rocksdb_tidy.h"

struct rocks {
    struct store_backend backend;
    char *path;
    int lock_fd;
    rocksdb_t *db; /* NULL: not open */
    rocksdb_column_family_handle_t *handles[ROCKS_FAMILIES];
    rocksdb_options_t *options[ROCKS_FAMILIES];
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *write_options;
    rocksdb_readoptions_t *read_options;
    rocksdb_readoptions_t *read_persisted;
    struct store_log *log;
    struct store_reserve *reserve;
    struct rocks_files *files;
    struct rocks_tidy *tidy;
    atomic_int_fast64_t take_at_ms; /* the reserve, again */
    bool left;                      /* a thread may still be in a call for it */
    bool replayed;                  /* the log is used by nobody but the thread that writes */
    bool synced;                    /* every record, before the next is written */
    struct store_batches batches;  /* logged and not applied */
    atomic_uint_fast64_t in_files; /* number of the last record that is; the applier finds out */
    uint64_t released;             /* number up to which the log has been told to forget */
    size_t unread_bytes;           /* applied since in_files was last looked at */
    bool plain_deletes;            /* SingleDelete is not legal any more */
};

static const char rocks_applied_key[] = { 'n' }; /* in ROCKS_FAMILY_APPLIED */

/** rocks_error_of() - RocksDB's sentence as an errno; EIO when it says nothing known */
int rocks_error_of(const char *text);

/** rocks_is_no_room() - whether giving up the reserve (reserve.h) is an answer to this -errno */
static inline bool rocks_is_no_room(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

/** rocks_is_lost() - nothing of RocksDB may be called any more */
bool rocks_is_lost(struct rocks *rocks);

/**
 * rocks_start() - make the options, open the database, give it what the log has
 *
 * Return: 0; -errno, with a sentence in @fault; rocks->left says whether a thread is still at it.
 */
int rocks_start(struct rocks *rocks, const struct store_options *options,
                struct store_fault *fault);

/** rocks_read_applied() - number of the last record applied; @options: also in memory, or not */
int rocks_read_applied(struct rocks *rocks, const rocksdb_readoptions_t *options,
                       uint64_t *ret_number, struct store_fault *fault);

/** rocks_apply_batch() - after a failure the database is lost */
int rocks_apply_batch(struct rocks *rocks, rocksdb_writebatch_t *batch, struct store_fault *fault);

/** rocks_leave() - from now on it is lost, and never closed: store_is_left_open() */
void rocks_leave(struct rocks *rocks);

/** rocks_shut() - close the database, or leave it: rocks->left */
void rocks_shut(struct rocks *rocks);

/** rocks_release_options() - what rocks_start() has made, once the database is closed */
void rocks_release_options(struct rocks *rocks);

#endif
