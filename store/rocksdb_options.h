/*
 * rocksdb_options.h - how RocksDB is configured
 */
#ifndef STORE_ROCKSDB_OPTIONS_H
#define STORE_ROCKSDB_OPTIONS_H

#include <rocksdb/c.h>

#include "store/backend.h"

#define ROCKS_FAMILY_APPLIED STORE_FAMILIES /* one key: number of the last record applied */
#define ROCKS_FAMILIES (STORE_FAMILIES + 1)
#define ROCKS_MEMTABLES_MAX 4 /* of one family; the backend waits when there are more */

/**
 * rocks_options_make() - fill @ret_options with those of each family, to be destroyed one by one
 *
 * Those of STORE_FAMILY_META hold what concerns the database as a whole.
 */
void rocks_options_make(rocksdb_cache_t *cache, size_t write_buffer_bytes,
                        rocksdb_options_t *ret_options[ROCKS_FAMILIES]);

#endif
