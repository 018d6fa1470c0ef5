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
 * - Most records die before they are in files, and SingleDelete lets them vanish together with their
 *   tombstone. It is legal only for keys that were put once. Earlier versions went on after RocksDB
 *   had refused a batch, which may have left something behind: a note in META says so, and then this
 *   directory deletes plainly.
 * - RocksDB never learns that the disk is full or fails (rocksdb_files.cc); while its threads wait
 *   for the disk, so do apply() and reopen(), and nothing else. Calls that write files are made
 *   where they can be left behind (guard.h). After an error that RocksDB tells all the same nothing
 *   is called any more, not even to close it: the log has everything, and the process has to end.
 */
#include "store/backend_rocksdb-internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "store/files.h"
#include "store/guard.h"
#include "store/pack.h"

#define LOG_SEGMENT_BYTES (16u << 20)
#define LOOK_BYTES (1u << 20) /* applied, between two looks at what is in files by now */
#define PACE_MS 2
#define TAKE_MS 1000 /* between two attempts to take the reserve again */

static const char plain_deletes_key[] = { 0, 'd' }; /* written by earlier versions */

/* ---- how it is ---- */

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with these arguments */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Now and then, as asking disturbs those who write. */
static bool take_reserve_again(struct rocks *rocks)
{
    int_fast64_t at_ms = atomic_load(&rocks->take_at_ms);
    int64_t now = now_ms();

    return now >= at_ms &&
           atomic_compare_exchange_strong(&rocks->take_at_ms, &at_ms, now + TAKE_MS) &&
           store_reserve_take(rocks->reserve);
}

static enum store_backend_state rocks_look(struct store_backend *backend, int *ret_error,
                                           struct store_fault *fault)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);
    enum store_backend_state state = rocks_files_look(rocks->files, ret_error, fault);

    if (state != STORE_BACKEND_WELL || store_reserve_is_held(rocks->reserve) ||
        take_reserve_again(rocks))
        return state;
    *ret_error = -ENOSPC;
    (void)snprintf(fault->text, sizeof fault->text,
                   "the disk is full, and its reserve of %llu octets is in use",
                   (unsigned long long)store_reserve_bytes(rocks->reserve));
    return STORE_BACKEND_SHORT;
}

static void rocks_watch(struct store_backend *backend, void (*changed)(void *context),
                        void *context)
{
    rocks_files_watch(CONTAINER_OF(backend, struct rocks, backend)->files, changed, context);
}

static void rocks_abandon(struct store_backend *backend)
{
    rocks_leave(CONTAINER_OF(backend, struct rocks, backend));
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
    for (i = 0; i < n_batches; i++)
        for (op = batches[i]; op; op = op->next)
            batch_add(rocks, batch, op);
    store_put_u64be(number, store_log_next(rocks->log));
    rocksdb_writebatch_put_cf(batch->writes, rocks->handles[ROCKS_FAMILY_APPLIED], rocks_applied_key,
                              sizeof rocks_applied_key, (const char *)number, sizeof number);
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
        if (rocks_is_no_room(rc))
            (void)store_reserve_give_up(rocks->reserve); /* it is written again soon */
        store_log_restart(rocks->log, number);
        store_batches_give_back(&rocks->batches, batch);
        return rc;
    }
    store_batches_push(&rocks->batches, batch);
    return 0;
}

/* Memtables that wait to be flushed, of the family that has most. */
static unsigned memtables_waiting(struct rocks *rocks)
{
    uint64_t most = 0;
    size_t f;

    for (f = 0; f < ROCKS_FAMILIES; f++) {
        uint64_t n = 0;

        (void)rocksdb_property_int_cf(rocks->db, rocks->handles[f],
                                      "rocksdb.num-immutable-mem-table", &n); /* or 0 */
        most = n > most ? n : most;
    }
    return (unsigned)most;
}

/* What is in memory and waits for the disk is bounded. */
static int pace(struct rocks *rocks, struct store_fault *fault)
{
    const struct timespec pause = { 0, PACE_MS * 1000000 };

    while (memtables_waiting(rocks) >= ROCKS_MEMTABLES_MAX) {
        if (rocks_is_lost(rocks)) {
            (void)snprintf(fault->text, sizeof fault->text, "the database waits for the disk");
            return -EIO;
        }
        (void)nanosleep(&pause, NULL); /* a signal makes it shorter: fine */
    }
    return 0;
}

/* After each LOOK_BYTES: what is in files by now, and whether those who flush keep up. */
static int look_at_files(struct rocks *rocks, struct store_fault *fault)
{
    uint64_t in_files;
    int rc = pace(rocks, fault);

    if (rc)
        return rc;
    rc = rocks_read_applied(rocks, rocks->read_persisted, &in_files, fault);
    if (rc)
        rocks_files_lose(rocks->files, rc, fault->text); /* what cannot be read is not built upon */
    else
        atomic_store(&rocks->in_files, in_files);
    return rc;
}

static int rocks_apply(struct store_backend *backend, struct store_fault *fault)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);
    struct store_batch *batch = store_batches_pop(&rocks->batches);
    size_t size;
    int rc;

    assert(batch);
    rc = rocks_is_lost(rocks) ? not_open(fault) : rocks_apply_batch(rocks, batch->writes, fault);
    (void)rocksdb_writebatch_data(batch->writes, &size);
    store_batches_give_back(&rocks->batches, batch);
    rocks->unread_bytes += size;
    if (rc || rocks->unread_bytes < LOOK_BYTES)
        return rc;
    rocks->unread_bytes = 0;
    return look_at_files(rocks, fault);
}

static void rocks_tidy(struct store_backend *backend)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);

    release_log(rocks);
    store_log_drop_spares(rocks->log);
    rocks_tidy_run(rocks->tidy);
}

static int rocks_sync(struct store_backend *backend, struct store_fault *fault)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);

    if (!rocks->db)
        return not_open(fault);
    return store_log_sync(rocks->log, fault);
}

/* ---- after a failure, and the end ---- */

static int flush(void *context, struct store_fault *fault)
{
    struct rocks *rocks = context;
    uint64_t in_files;
    int rc = rocks_files_flush(rocks->db, rocks->handles, ROCKS_FAMILIES, fault);

    if (rc == 0)
        rc = rocks_read_applied(rocks, rocks->read_persisted, &in_files, fault);
    if (rc)
        rocks_files_lose(rocks->files, rc, fault->text);
    else
        atomic_store(&rocks->in_files, in_files);
    return rc;
}

/*
 * When each record is synced before the next is written, a failure costs only what was not
 * reported, and is written again. Otherwise records before it may be missing on the disk too, and
 * those after it would be worth nothing: RocksDB's files take over all of them first.
 */
static int rocks_reopen(struct store_backend *backend, struct store_fault *fault)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);
    bool left = false;
    int rc;

    if (!rocks->synced)
        store_log_restart(rocks->log, store_log_next(rocks->log));
    if (rocks_is_lost(rocks)) {
        store_batches_drop(&rocks->batches); /* the log has them */
        return 0;
    }
    if (rocks->synced)
        return 0;
    rc = store_guard(rocks->files, flush, rocks, UINT_MAX, fault, &left);
    if (rc == 0)
        store_log_release(rocks->log, atomic_load(&rocks->in_files));
    return rc;
}

/* What the end of the log is, is true of a database that was left, too; but one that was left while
 * it was opened may still be reading the log. */
static void rocks_close(struct store_backend *backend)
{
    struct rocks *rocks = CONTAINER_OF(backend, struct rocks, backend);

    if (rocks->db && !rocks->left)
        rocks_shut(rocks);
    if (rocks->replayed)
        store_log_finish(rocks->log);
    if (rocks->left)
        return;
    store_log_close(rocks->log);
    store_batches_release(&rocks->batches);
    if (rocks->cache)
        rocks_release_options(rocks);
    store_reserve_free(rocks->reserve);
    if (rocks->lock_fd >= 0)
        (void)close(rocks->lock_fd); /* which unlocks it */
    free(rocks->path);
    free(rocks);
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

    if (rocks->db && !rocks_is_lost(rocks)) {
        data = rocksdb_get_cf(rocks->db, rocks->read_options, rocks->handles[family],
                              (const char *)key.data, key.size, &size, &text);
        rc = data ? 0 : -ENOENT;
    }
    if (text) {
        rc = -rocks_error_of(text);
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
    rc = -rocks_error_of(text);
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
    if (rocks->db) {
        iterator = rocksdb_create_iterator_cf(rocks->db, options, rocks->handles[family]);
        rc = scan_with(iterator, lower, visit, context);
        rocksdb_iter_destroy(iterator);
    } else {
        rc = -EAGAIN;
    }
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
    .look = rocks_look,
    .watch = rocks_watch,
    .tidy = rocks_tidy,
    .abandon = rocks_abandon,
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
        free(data);
    }
    return rc == -ENOENT ? 0 : rc;
}

/* The log's note may have to be made: if there is no room for it, with that of the reserve. */
static int open_log(struct rocks *rocks, const char *directory, const struct store_options *options,
                    struct store_fault *fault)
{
    const struct store_log_settings settings = {
        .segment_bytes = LOG_SEGMENT_BYTES,
        .synced = rocks->synced,
        .observer = options->observer,
    };
    char path[4096];
    int rc;

    (void)snprintf(path, sizeof path, "%s/log", directory); /* the lock's is longer */
    do
        rc = store_log_open(path, &settings, fault, &rocks->log);
    while (rocks_is_no_room(rc) && store_reserve_give_up(rocks->reserve));
    return rc;
}

static int sync_names(const char *directory, struct store_fault *fault)
{
    int rc = store_files_sync_names(directory);

    if (rc)
        (void)snprintf(fault->text, sizeof fault->text, "cannot sync %.180s: %s", directory,
                       strerror(-rc));
    return rc;
}

int store_backend_rocksdb_open(const char *directory, const struct store_options *options,
                               struct store_fault *fault, struct store_backend **ret_backend)
{
    struct rocks *rocks = calloc(1, sizeof *rocks);
    size_t path_size = strlen(directory) + sizeof "/rocksdb";
    int rc;

    if (!rocks)
        return -ENOMEM;
    rocks->backend.ops = &rocks_ops;
    rocks->lock_fd = -1;
    store_batches_init(&rocks->batches);
    rocks->path = malloc(path_size);
    if (!rocks->path) {
        rocks_close(&rocks->backend);
        return -ENOMEM;
    }
    (void)snprintf(rocks->path, path_size, "%s/rocksdb", directory);
    rocks->synced = options->sync == STORE_SYNC_COMMIT;
    rc = take_lock(rocks, directory, fault);
    if (rc == 0)
        rc = store_reserve_new(directory, options->reserve_bytes, &rocks->reserve);
    if (rc == 0)
        rc = open_log(rocks, directory, options, fault);
    if (rc == 0)
        rc = rocks_start(rocks, options, fault);
    if (rc == 0)
        rc = sync_names(directory, fault); /* that of the database, too */
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
