/*
 * backend_rocksdb.c - the log and RocksDB 7.8 under the store
 *
 * A write is one RocksDB batch: its octets become a record of the log (log.h), which makes it
 * durable, and then it is applied to the memtables. RocksDB itself logs nothing. What matters:
 *
 * - Each batch also puts its record's number. All column families are flushed together
 *   (atomic_flush), so what RocksDB has after a crash is the state after exactly the batch whose
 *   number it has, and the records after that are applied again: every batch once.
 * - Records up to the number that is in files, which a read of the persisted tier tells, are let go.
 * - Values of 64 KiB and more, so whole records under load, go to blob files when the memtable is
 *   flushed: compaction then moves keys only. Most records die earlier, and SingleDelete lets them
 *   vanish together with their tombstone. It is legal only for keys that were put once. Whether a
 *   batch that RocksDB refused has left something behind is not known, so after that this directory
 *   deletes plainly (a note in META says so).
 * - We hold a lock file of our own, because reopening lets go of RocksDB's for a moment.
 */
#include "store/backend_rocksdb.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/batches.h"
#include "store/files.h"
#include "store/log.h"
#include "store/pack.h"

#define FAMILY_APPLIED STORE_FAMILIES /* one key: the number of the last record that was applied */
#define N_FAMILIES (STORE_FAMILIES + 1)
#define SMALL_BUFFER_BYTES (16u << 20) /* memtables of all but the messages */
#define LOG_SEGMENT_BYTES (16u << 20)
#define LOOK_BYTES (1u << 20)          /* applied, between two looks at what is in files by now */
#define READ_TIER_PERSISTED 2          /* RocksDB's kPersistedTier: what no log is needed for */
#define BATCH_HEAD_BYTES 12u           /* of RocksDB: sequence, count */
#define CACHE_BYTES (32u << 20)
#define BLOB_BYTES_MIN 65536u

static const char *const family_name[N_FAMILIES] = {
    [STORE_FAMILY_MESSAGES] = "messages",
    [STORE_FAMILY_QUEUES] = "queues",
    [STORE_FAMILY_SETTLED] = "settled",
    [STORE_FAMILY_META] = "default",
    [FAMILY_APPLIED] = "applied",
};

static const char plain_deletes_key[] = { 0, 'd' };
static const char applied_key[] = { 'n' };

struct rocks {
    struct store_backend backend;
    char *path;
    int lock_fd;
    pthread_rwlock_t lock; /* db and handles: changed by reopen(), used by others meanwhile */
    rocksdb_t *db;         /* NULL: closed */
    rocksdb_column_family_handle_t *handles[N_FAMILIES];
    rocksdb_options_t *options[N_FAMILIES];
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *write_options;
    rocksdb_readoptions_t *read_options;
    rocksdb_readoptions_t *read_persisted;
    struct store_log *log;
    bool synced;  /* every record, before the next is written */
    bool refused; /* by RocksDB: it has to be opened again */
    struct store_batches batches;  /* logged and not applied */
    atomic_uint_fast64_t in_files; /* number of the last record that is; the applier finds out */
    uint64_t released;             /* number up to which the log has been told to forget */
    size_t unread_bytes;           /* applied since in_files was last looked at */
    bool plain_deletes;            /* SingleDelete is not legal any more */
    bool plain_deletes_stored;     /* and the database says so */
};

/* RocksDB has only sentences; those that the operator can do something about get their errno. */
static int error_of(const char *text)
{
    static const struct {
        const char *part;
        int error;
    } known[] = {
        { "No space left on device", ENOSPC },  { "Disk quota exceeded", EDQUOT },
        { "File too large", EFBIG },            { "Permission denied", EACCES },
        { "Read-only file system", EROFS },     { "Too many open files", EMFILE },
        { "Resource temporarily unavailable", EBUSY },
        { "Column family", EPROTO }, /* "not opened", "not found": written by another version */
        { "Column families not opened", EPROTO },
        { "Corruption", EBADMSG },
    };
    size_t i;

    for (i = 0; i < N_ELEMENTS(known); i++)
        if (strstr(text, known[i].part))
            return known[i].error;
    return EIO;
}

/* Frees RocksDB's sentence. */
static int fail(struct store_fault *fault, const char *what, char *text)
{
    int error = error_of(text);

    (void)snprintf(fault->text, sizeof fault->text, "%s: %s", what, text);
    rocksdb_free(text);
    return -error;
}

/* ---- opening ---- */

static void set_common_options(rocksdb_options_t *options, rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(options, SMALL_BUFFER_BYTES);
    rocksdb_options_set_max_write_buffer_number(options, 4);
    /* A stretch of tombstones is what makes scanning slow; it is worth a compaction of its own. */
    rocksdb_options_add_compact_on_deletion_collector_factory(options, 1024, 512);
}

static void set_message_options(rocksdb_options_t *options, size_t write_buffer_bytes)
{
    rocksdb_options_set_write_buffer_size(options, write_buffer_bytes);
    rocksdb_options_set_enable_blob_files(options, 1);
    rocksdb_options_set_min_blob_size(options, BLOB_BYTES_MIN);
    rocksdb_options_set_enable_blob_gc(options, 1);
    rocksdb_options_set_blob_gc_age_cutoff(options, 0.5);
    rocksdb_options_set_blob_gc_force_threshold(options, 0.7);
}

/* Of the database as a whole; RocksDB reads them from the options that open it. */
static void set_database_options(rocksdb_options_t *options, size_t write_buffer_bytes)
{
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_create_missing_column_families(options, 1);
    rocksdb_options_set_atomic_flush(options, 1);
    rocksdb_options_set_allow_concurrent_memtable_write(options, 0); /* there is one writer */
    rocksdb_options_set_db_write_buffer_size(options, 2 * write_buffer_bytes);
    /* Of directories of format version 1, which have a log of RocksDB's: */
    rocksdb_options_set_wal_recovery_mode(options, rocksdb_point_in_time_recovery);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_bytes_per_sync(options, 1 << 20);
    rocksdb_options_set_max_open_files(options, 256);
    rocksdb_options_set_info_log_level(options, 2 /* warnings */);
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_skip_stats_update_on_db_open(options, 1);
}

static void rocks_make_options(struct rocks *rocks, const struct store_options *options)
{
    size_t f;

    rocks->cache = rocksdb_cache_create_lru(CACHE_BYTES);
    for (f = 0; f < N_FAMILIES; f++) {
        rocks->options[f] = rocksdb_options_create();
        set_common_options(rocks->options[f], rocks->cache);
    }
    /* Nobody gets a single key of these: they are scanned at the start. So a memtable is only
     * appended to, and sorted by the thread that flushes it. */
    rocksdb_options_set_memtable_vector_rep(rocks->options[STORE_FAMILY_QUEUES]);
    rocksdb_options_set_memtable_vector_rep(rocks->options[STORE_FAMILY_SETTLED]);
    rocksdb_options_set_memtable_vector_rep(rocks->options[FAMILY_APPLIED]);
    set_message_options(rocks->options[STORE_FAMILY_MESSAGES], options->write_buffer_bytes);
    set_database_options(rocks->options[STORE_FAMILY_META], options->write_buffer_bytes);
    rocks->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->write_options, 1);
    rocks->read_options = rocksdb_readoptions_create();
    rocks->read_persisted = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(rocks->read_persisted, READ_TIER_PERSISTED);
}

/* The number of the last record that was applied; @options choose what may still be in memory. */
static int read_applied(struct rocks *rocks, const rocksdb_readoptions_t *options,
                        uint64_t *ret_number, struct store_fault *fault)
{
    char *text = NULL;
    size_t size = 0;
    char *data = rocksdb_get_cf(rocks->db, options, rocks->handles[FAMILY_APPLIED], applied_key,
                                sizeof applied_key, &size, &text);
    uint64_t number = 0;

    if (text)
        return fail(fault, "cannot read from the database", text);
    if (data && size == sizeof number)
        number = store_get_u64be((const uint8_t *)data);
    free(data);
    *ret_number = number;
    return 0;
}

static int apply_batch(struct rocks *rocks, rocksdb_writebatch_t *batch, struct store_fault *fault)
{
    char *text = NULL;

    rocksdb_write(rocks->db, rocks->write_options, batch, &text);
    if (!text)
        return 0;
    rocks->refused = true;
    return fail(fault, "cannot write to the database", text);
}

struct replay {
    struct rocks *rocks;
    struct store_fault *fault;
};

static int replay_record(void *context, uint64_t number, struct amqp_bytes record)
{
    struct replay *replay = context;
    rocksdb_writebatch_t *batch;
    int rc;

    if (record.size < BATCH_HEAD_BYTES) {
        (void)snprintf(replay->fault->text, sizeof replay->fault->text,
                       "record %llu of the log is not a batch", (unsigned long long)number);
        return -EBADMSG;
    }
    batch = rocksdb_writebatch_create_from((const char *)record.data, record.size);
    rc = apply_batch(replay->rocks, batch, replay->fault);
    rocksdb_writebatch_destroy(batch);
    return rc;
}

static void rocks_shut(struct rocks *rocks)
{
    size_t f;

    if (!rocks->db)
        return;
    for (f = 0; f < N_FAMILIES; f++)
        rocksdb_column_family_handle_destroy(rocks->handles[f]);
    rocksdb_close(rocks->db); /* flushes, or the log has it */
    rocks->db = NULL;
}

static int rocks_open(struct rocks *rocks, struct store_fault *fault)
{
    struct replay replay = { rocks, fault };
    uint64_t applied;
    char *text = NULL;
    int rc;

    rocks->db = rocksdb_open_column_families(
        rocks->options[STORE_FAMILY_META], rocks->path, N_FAMILIES, family_name,
        (const rocksdb_options_t *const *)rocks->options, rocks->handles, &text);
    if (text) {
        rocks->db = NULL;
        return fail(fault, "cannot open the database", text);
    }
    rocks->refused = false;
    rc = read_applied(rocks, rocks->read_options, &applied, fault);
    if (rc == 0)
        rc = store_log_replay(rocks->log, applied, replay_record, &replay, fault);
    if (rc)
        rocks_shut(rocks);
    return rc;
}

static int rocks_reopen(struct store_backend *backend, struct store_fault *fault)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);
    bool refused = rocks->refused;
    int rc;

    /* The log has been restarted; the database has all that was synced. */
    if (rocks->db && !refused && rocks->synced)
        return 0;
    store_batches_drop(&rocks->batches);
    (void)pthread_rwlock_wrlock(&rocks->lock);
    rocks_shut(rocks);
    rc = rocks_open(rocks, fault);
    (void)pthread_rwlock_unlock(&rocks->lock);
    if (!refused)
        return rc;
    rocks->plain_deletes = true;
    rocks->plain_deletes_stored = false;
    return rc;
}

static void rocks_close(struct store_backend *backend)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);
    bool is_open = rocks->db != NULL;
    size_t f;

    rocks_shut(rocks);
    if (is_open)
        store_log_finish(rocks->log);
    store_log_close(rocks->log);
    store_batches_release(&rocks->batches);
    if (rocks->cache) {
        rocksdb_readoptions_destroy(rocks->read_options);
        rocksdb_readoptions_destroy(rocks->read_persisted);
        rocksdb_writeoptions_destroy(rocks->write_options);
        for (f = 0; f < N_FAMILIES; f++)
            rocksdb_options_destroy(rocks->options[f]);
        rocksdb_cache_destroy(rocks->cache);
    }
    (void)pthread_rwlock_destroy(&rocks->lock);
    if (rocks->lock_fd >= 0)
        (void)close(rocks->lock_fd); /* which unlocks it */
    free(rocks->path);
    free(rocks);
}

/* ---- writing ---- */

static void batch_put(struct rocks *rocks, struct store_batch *batch, const struct store_op *op)
{
    const char *key = (const char *)op->key;
    const char *const values[2] = { (const char *)op->value[0].data,
                                    (const char *)op->value[1].data };
    const size_t sizes[2] = { op->value[0].size, op->value[1].size };
    const size_t key_size = op->key_size;

    rocksdb_writebatch_putv_cf(batch->writes, rocks->handles[op->family], 1, &key, &key_size,
                               sizes[1] > 0 ? 2 : 1, values, sizes);
}

static void batch_add(struct rocks *rocks, struct store_batch *batch, const struct store_op *op)
{
    rocksdb_column_family_handle_t *handle = rocks->handles[op->family];
    const char *key = (const char *)op->key;

    switch ((enum store_op_kind)op->kind) {
    case STORE_OP_PUT:
        batch_put(rocks, batch, op);
        return;
    case STORE_OP_DELETE_ONCE:
        if (!rocks->plain_deletes) {
            rocksdb_writebatch_singledelete_cf(batch->writes, handle, key, op->key_size);
            return;
        }
        /* fall through */
    case STORE_OP_DELETE:
        rocksdb_writebatch_delete_cf(batch->writes, handle, key, op->key_size);
        return;
    case STORE_OP_DELETE_RANGE:
        rocksdb_writebatch_delete_range_cf(batch->writes, handle, key, op->key_size,
                                           (const char *)op->value[0].data, op->value[0].size);
        return;
    }
}

static int not_open(struct store_fault *fault)
{
    (void)snprintf(fault->text, sizeof fault->text, "the database is not open");
    return -EIO;
}

/* What the store changes, and that it has been: the number of the record. */
static void batch_fill(struct rocks *rocks, struct store_batch *batch,
                       const struct store_op *const *batches, size_t n_batches)
{
    const struct store_op *op;
    uint8_t number[8];
    size_t i;

    assert(rocksdb_writebatch_count(batch->writes) == 0);
    if (rocks->plain_deletes && !rocks->plain_deletes_stored)
        rocksdb_writebatch_put_cf(batch->writes, rocks->handles[STORE_FAMILY_META],
                                  plain_deletes_key, sizeof plain_deletes_key, "", 0);
    for (i = 0; i < n_batches; i++)
        for (op = batches[i]; op; op = op->next)
            batch_add(rocks, batch, op);
    store_put_u64be(number, store_log_next(rocks->log));
    rocksdb_writebatch_put_cf(batch->writes, rocks->handles[FAMILY_APPLIED], applied_key,
                              sizeof applied_key, (const char *)number, sizeof number);
}

/* Records that are in RocksDB's files are not needed any more. */
static void release_log(struct rocks *rocks)
{
    uint64_t in_files = atomic_load(&rocks->in_files);

    if (in_files == rocks->released)
        return;
    store_log_release(rocks->log, in_files);
    rocks->released = in_files;
}

static int rocks_write(struct store_backend *backend, const struct store_op *const *batches,
                       size_t n_batches, bool sync, struct store_fault *fault)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);
    uint64_t number = store_log_next(rocks->log);
    struct amqp_bytes record;
    struct store_batch *batch;
    int rc;

    if (!rocks->db)
        return not_open(fault);
    batch = store_batches_take(&rocks->batches);
    if (!batch)
        return -ENOMEM;
    release_log(rocks);
    batch_fill(rocks, batch, batches, n_batches);
    record.data = (const uint8_t *)rocksdb_writebatch_data(batch->writes, &record.size);
    rc = store_log_append(rocks->log, record, fault);
    if (rc == 0 && sync)
        rc = store_log_sync(rocks->log, fault);
    if (rc) {
        store_log_restart(rocks->log, number);
        store_batches_give_back(&rocks->batches, batch);
        return rc;
    }
    rocks->plain_deletes_stored = rocks->plain_deletes;
    store_batches_push(&rocks->batches, batch);
    return 0;
}

static int rocks_apply(struct store_backend *backend, struct store_fault *fault)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);
    struct store_batch *batch = store_batches_pop(&rocks->batches);
    uint64_t in_files;
    size_t size;
    int rc;

    assert(batch);
    rc = apply_batch(rocks, batch->writes, fault);
    (void)rocksdb_writebatch_data(batch->writes, &size);
    store_batches_give_back(&rocks->batches, batch);
    rocks->unread_bytes += size;
    if (rc || rocks->unread_bytes < LOOK_BYTES)
        return rc;
    rocks->unread_bytes = 0;
    rc = read_applied(rocks, rocks->read_persisted, &in_files, fault);
    if (rc)
        rocks->refused = true; /* what cannot be read is not built upon either */
    else
        atomic_store(&rocks->in_files, in_files);
    return rc;
}

static int rocks_sync(struct store_backend *backend, struct store_fault *fault)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);

    if (!rocks->db)
        return not_open(fault);
    return store_log_sync(rocks->log, fault);
}

/* ---- reading ---- */

static int rocks_get(struct store_backend *backend, enum store_family family,
                     struct amqp_bytes key, uint8_t **ret_data, size_t *ret_size)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);
    char *text = NULL;
    char *data = NULL;
    size_t size = 0;
    int rc = -EAGAIN;

    (void)pthread_rwlock_rdlock(&rocks->lock);
    if (rocks->db) {
        data = rocksdb_get_cf(rocks->db, rocks->read_options, rocks->handles[family],
                              (const char *)key.data, key.size, &size, &text);
        rc = data ? 0 : -ENOENT;
    }
    (void)pthread_rwlock_unlock(&rocks->lock);
    if (text) {
        rc = -error_of(text);
        rocksdb_free(text);
        return rc;
    }
    if (rc)
        return rc;
    *ret_data = (uint8_t *)data; /* from malloc(), as RocksDB's C interface promises */
    *ret_size = size;
    return 0;
}

static int scan_with(rocksdb_iterator_t *iterator, struct amqp_bytes lower, store_scan_visit visit,
                     void *context)
{
    char *text = NULL;
    int rc = 0;

    if (lower.size > 0)
        rocksdb_iter_seek(iterator, (const char *)lower.data, lower.size);
    else
        rocksdb_iter_seek_to_first(iterator);
    for (; rocksdb_iter_valid(iterator) && rc >= 0; rocksdb_iter_next(iterator)) {
        struct amqp_bytes key;
        struct amqp_bytes value;

        key.data = (const uint8_t *)rocksdb_iter_key(iterator, &key.size);
        value.data = (const uint8_t *)rocksdb_iter_value(iterator, &value.size);
        rc = visit(context, key, value);
    }
    if (rc < 0)
        return rc;
    rocksdb_iter_get_error(iterator, &text);
    if (!text)
        return 0;
    rc = -error_of(text);
    rocksdb_free(text);
    return rc;
}

static int rocks_scan(struct store_backend *backend, enum store_family family,
                      struct amqp_bytes lower, struct amqp_bytes upper, store_scan_visit visit,
                      void *context)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_iterator_t *iterator;
    int rc;

    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_readoptions_set_readahead_size(options, 1 << 20);
    if (lower.size > 0)
        rocksdb_readoptions_set_iterate_lower_bound(options, (const char *)lower.data, lower.size);
    if (upper.size > 0)
        rocksdb_readoptions_set_iterate_upper_bound(options, (const char *)upper.data, upper.size);
    (void)pthread_rwlock_rdlock(&rocks->lock);
    if (rocks->db) {
        iterator = rocksdb_create_iterator_cf(rocks->db, options, rocks->handles[family]);
        rc = scan_with(iterator, lower, visit, context);
        rocksdb_iter_destroy(iterator);
    } else {
        rc = -EAGAIN;
    }
    (void)pthread_rwlock_unlock(&rocks->lock);
    rocksdb_readoptions_destroy(options);
    return rc;
}

static const struct store_backend_ops rocks_ops = {
    .write = rocks_write,
    .apply = rocks_apply,
    .sync = rocks_sync,
    .reopen = rocks_reopen,
    .get = rocks_get,
    .scan = rocks_scan,
    .close = rocks_close,
};

/* ---- the lock, and putting it together ---- */

static int take_lock(struct rocks *rocks, const char *directory, struct store_fault *fault)
{
    char path[4096];
    int rc;

    if ((size_t)snprintf(path, sizeof path, "%s/lock", directory) >= sizeof path) {
        (void)snprintf(fault->text, sizeof fault->text, "the name of the directory is too long");
        return -ENAMETOOLONG;
    }
    rocks->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (rocks->lock_fd < 0) {
        rc = -errno;
        (void)snprintf(fault->text, sizeof fault->text, "cannot create %.180s: %s", path,
                       strerror(-rc));
        return rc;
    }
    if (flock(rocks->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
    (void)snprintf(fault->text, sizeof fault->text,
                   rc == -EBUSY ? "%.180s is in use by another process" : "cannot lock %.180s",
                   directory);
    return rc;
}

static int load_plain_deletes(struct rocks *rocks)
{
    uint8_t *data;
    size_t size;
    int rc = rocks_get(&rocks->backend, STORE_FAMILY_META,
                       (struct amqp_bytes){ (const uint8_t *)plain_deletes_key,
                                            sizeof plain_deletes_key },
                       &data, &size);

    if (rc == 0) {
        rocks->plain_deletes = true;
        rocks->plain_deletes_stored = true;
        free(data);
    }
    return rc == -ENOENT ? 0 : rc;
}

int store_backend_rocksdb_open(const char *directory, const struct store_options *options,
                               struct store_fault *fault, struct store_backend **ret_backend)
{
    struct rocks *rocks = calloc(1, sizeof *rocks);
    size_t path_size = strlen(directory) + sizeof "/rocksdb";
    struct store_log_settings settings = { .segment_bytes = LOG_SEGMENT_BYTES };
    char log_path[4096];
    int rc;

    if (!rocks)
        return -ENOMEM;
    rocks->backend.ops = &rocks_ops;
    rocks->lock_fd = -1;
    (void)pthread_rwlock_init(&rocks->lock, NULL); /* glibc's cannot fail */
    store_batches_init(&rocks->batches);
    rocks->path = malloc(path_size);
    if (!rocks->path) {
        rocks_close(&rocks->backend);
        return -ENOMEM;
    }
    (void)snprintf(rocks->path, path_size, "%s/rocksdb", directory);
    rocks->synced = options->sync == STORE_SYNC_COMMIT;
    settings.synced = rocks->synced;
    settings.observer = options->observer;
    rc = take_lock(rocks, directory, fault);
    if (rc == 0) {
        (void)snprintf(log_path, sizeof log_path, "%s/log", directory); /* the lock's is longer */
        rc = store_log_open(log_path, &settings, fault, &rocks->log);
    }
    if (rc == 0) {
        rocks_make_options(rocks, options);
        rc = rocks_open(rocks, fault);
    }
    if (rc == 0 && (rc = store_files_sync_names(directory)) != 0) /* that of the database, too */
        (void)snprintf(fault->text, sizeof fault->text, "cannot sync %.180s: %s", directory,
                       strerror(-rc));
    if (rc == 0 && (rc = load_plain_deletes(rocks)) != 0)
        (void)snprintf(fault->text, sizeof fault->text, "cannot read from the database: %s",
                       strerror(-rc));
    if (rc) {
        rocks_close(&rocks->backend);
        return rc;
    }
    *ret_backend = &rocks->backend;
    return 0;
}
