/*
 * rocksdb_life.c - opening RocksDB, replaying the log into it, closing it or leaving it
 *
 * All of these write files, and a write waits until the disk works: they run where they can be left
 * behind (guard.h). A database that was left, or lost, is never called again, not even to close it:
 * its threads may be in the middle of anything. The log has everything that it may lack.
 */
#include "store/backend_rocksdb-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/guard.h"
#include "store/pack.h"

#define READ_TIER_PERSISTED 2 /* RocksDB's kPersistedTier: what no log is needed for */
#define BATCH_HEAD_BYTES 12u  /* of RocksDB: sequence, count */
#define STUCK_MS_MAX 2000     /* when an operator waits */
#define CACHE_BYTES (32u << 20)

static const char *const family_name[ROCKS_FAMILIES] = {
    [STORE_FAMILY_MESSAGES] = "messages",
    [STORE_FAMILY_QUEUES] = "queues",
    [STORE_FAMILY_SETTLED] = "settled",
    [STORE_FAMILY_META] = "default",
    [ROCKS_FAMILY_APPLIED] = "applied",
};

/* RocksDB has only sentences; those that the operator can do something about get their errno. */
int rocks_error_of(const char *text)
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
int rocks_fail(struct store_fault *fault, const char *what, char *text)
{
    int error = rocks_error_of(text);

    (void)snprintf(fault->text, sizeof fault->text, "%s: %s", what, text);
    rocksdb_free(text);
    return -error;
}

bool rocks_is_lost(struct rocks *rocks)
{
    struct store_fault ignored;
    int error;

    return rocks_files_look(rocks->files, &error, &ignored) == STORE_BACKEND_LOST;
}

/* ---- opening ---- */

static int rocks_make_options(struct rocks *rocks, const struct store_options *options)
{
    int rc = rocks_files_new(rocks->reserve, &rocks->files);

    if (rc)
        return rc;
    rocks->cache = rocksdb_cache_create_lru(CACHE_BYTES);
    rocks_options_make(rocks->cache, options->write_buffer_bytes, rocks->options);
    rocks_files_use(rocks->files, rocks->options[STORE_FAMILY_META]);
    rocks->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->write_options, 1);
    rocks->read_options = rocksdb_readoptions_create();
    rocks->read_persisted = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(rocks->read_persisted, READ_TIER_PERSISTED);
    return 0;
}

/* RocksDB has told an error: nothing is built upon what it has in memory now. */
int rocks_lose(struct rocks *rocks, struct store_fault *fault, const char *what, char *text)
{
    int rc = rocks_fail(fault, what, text);

    rocks_files_lose(rocks->files, rc, fault->text);
    return rc;
}

/* The number of the last record that was applied; @options choose what may still be in memory. */
int rocks_read_applied(struct rocks *rocks, const rocksdb_readoptions_t *options,
                        uint64_t *ret_number, struct store_fault *fault)
{
    char *text = NULL;
    size_t size = 0;
    char *data = rocksdb_get_cf(rocks->db, options, rocks->handles[ROCKS_FAMILY_APPLIED],
                                rocks_applied_key, sizeof rocks_applied_key, &size, &text);
    uint64_t number = 0;

    if (text)
        return rocks_fail(fault, "cannot read from the database", text);
    if (data && size == sizeof number)
        number = store_get_u64be((const uint8_t *)data);
    free(data);
    *ret_number = number;
    return 0;
}

int rocks_apply_batch(struct rocks *rocks, rocksdb_writebatch_t *batch, struct store_fault *fault)
{
    char *text = NULL;

    rocksdb_write(rocks->db, rocks->write_options, batch, &text);
    return text ? rocks_lose(rocks, fault, "cannot write to the database", text) : 0;
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
    rc = rocks_apply_batch(replay->rocks, batch, replay->fault);
    rocksdb_writebatch_destroy(batch);
    return rc;
}

/* A second time when there is room, from where it has come: what was handed out is on the disk. */
static int replay_log(struct rocks *rocks, struct store_fault *fault)
{
    struct replay replay = { rocks, fault };
    uint64_t applied;
    int rc;

    do {
        rc = rocks_read_applied(rocks, rocks->read_options, &applied, fault);
        if (rc == 0)
            rc = store_log_replay(rocks->log, applied, replay_record, &replay, fault);
    } while (rocks_is_no_room(rc) && store_reserve_give_up(rocks->reserve));
    return rc;
}

static void on_flushed(void *context)
{
    struct rocks *rocks = context;
    struct store_fault ignored;
    uint64_t in_files;

    if (rocks_read_applied(rocks, rocks->read_persisted, &in_files, &ignored) == 0)
        atomic_store(&rocks->in_files, in_files);
}

static int open_and_replay(void *context, struct store_fault *fault)
{
    struct rocks *rocks = context;
    char *text = NULL;
    int rc;

    rocks->db = rocksdb_open_column_families(
        rocks->options[STORE_FAMILY_META], rocks->path, ROCKS_FAMILIES, family_name,
        (const rocksdb_options_t *const *)rocks->options, rocks->handles, &text);
    if (text) {
        rocks->db = NULL;
        return rocks_fail(fault, "cannot open the database", text);
    }
    if (!rocks_files_are_used(rocks->files)) {
        (void)snprintf(fault->text, sizeof fault->text,
                       "this version of RocksDB does not take the files that it is given");
        return -EPROTO;
    }
    rc = rocks_tidy_new(&(struct rocks_tidy_work){ .db = rocks->db,
                                                   .handles = rocks->handles,
                                                   .directory = rocks->path,
                                                   .flushed = on_flushed,
                                                   .context = rocks },
                        &rocks->tidy);
    return rc ? rc : replay_log(rocks, fault);
}

static int shut(void *context, struct store_fault *fault)
{
    struct rocks *rocks = context;
    size_t f;

    (void)fault;
    rocks_tidy_free(rocks->tidy);
    for (f = 0; f < ROCKS_FAMILIES; f++)
        rocksdb_column_family_handle_destroy(rocks->handles[f]);
    rocksdb_close(rocks->db); /* flushes, or the log has it */
    return 0;
}

static atomic_bool left_open; /* of the process, like RocksDB's threads */

bool store_is_left_open(void)
{
    return atomic_load(&left_open);
}

/* Threads of RocksDB's may use anything of it for as long as the process lives. */
void rocks_leave(struct rocks *rocks)
{
    rocks->left = true;
    atomic_store(&left_open, true);
    rocks_files_lose(rocks->files, -EIO, "the database waits for the disk");
}

void rocks_shut(struct rocks *rocks)
{
    struct store_fault fault;
    bool left = false;

    if (rocks_is_lost(rocks)) {
        rocks_leave(rocks);
        return;
    }
    (void)store_guard(rocks->files, shut, rocks, STUCK_MS_MAX, &fault, &left); /* the log has what it has not */
    if (left)
        rocks_leave(rocks);
    rocks->db = NULL;
}

void rocks_release_options(struct rocks *rocks)
{
    size_t f;

    rocksdb_readoptions_destroy(rocks->read_options);
    rocksdb_readoptions_destroy(rocks->read_persisted);
    rocksdb_writeoptions_destroy(rocks->write_options);
    for (f = 0; f < ROCKS_FAMILIES; f++)
        rocksdb_options_destroy(rocks->options[f]);
    rocksdb_cache_destroy(rocks->cache);
    rocks_files_free(rocks->files);
}

int rocks_start(struct rocks *rocks, const struct store_options *options,
                struct store_fault *fault)
{
    bool left = false;
    int rc = rocks_make_options(rocks, options);

    if (rc)
        return rc;
    rc = store_guard(rocks->files, open_and_replay, rocks, STUCK_MS_MAX, fault, &left);
    if (left)
        rocks_leave(rocks);
    rocks->replayed = rc == 0;
    return rc;
}
