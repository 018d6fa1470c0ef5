/*
 * rocksdb_options.c - RocksDB as a database of short-lived keys behind a log of our own
 *
 * Values of 64 KiB and more, so whole records under load, go to blob files when the memtable is
 * flushed: compaction then moves keys only.
 */
#include "store/rocksdb_options.h"

#define SMALL_BUFFER_BYTES (16u << 20) /* memtables of all but the messages */
#define BLOB_BYTES_MIN 65536u

static void set_common_options(rocksdb_options_t *options, rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(options, SMALL_BUFFER_BYTES);
    /* The backend stops at ROCKS_MEMTABLES_MAX; RocksDB's own limit would hold a call for as long as
     * the disk does not work. */
    rocksdb_options_set_max_write_buffer_number(options, 16 * ROCKS_MEMTABLES_MAX);
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

void rocks_options_make(rocksdb_cache_t *cache, size_t write_buffer_bytes,
                        rocksdb_options_t *ret_options[ROCKS_FAMILIES])
{
    size_t f;

    for (f = 0; f < ROCKS_FAMILIES; f++) {
        ret_options[f] = rocksdb_options_create();
        set_common_options(ret_options[f], cache);
    }
    /* Nobody gets a single key of these: they are scanned at the start. So a memtable is only
     * appended to, and sorted by the thread that flushes it. */
    rocksdb_options_set_memtable_vector_rep(ret_options[STORE_FAMILY_QUEUES]);
    rocksdb_options_set_memtable_vector_rep(ret_options[STORE_FAMILY_SETTLED]);
    rocksdb_options_set_memtable_vector_rep(ret_options[ROCKS_FAMILY_APPLIED]);
    set_message_options(ret_options[STORE_FAMILY_MESSAGES], write_buffer_bytes);
    set_database_options(ret_options[STORE_FAMILY_META], write_buffer_bytes);
}
