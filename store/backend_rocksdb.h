/*
 * backend_rocksdb.h - RocksDB as a backend
 */
#ifndef STORE_BACKEND_ROCKSDB_H
#define STORE_BACKEND_ROCKSDB_H

#include "store/backend.h"
#include "store/store.h"

/**
 * store_backend_rocksdb_open() - open or create the database in a directory, which exists
 *
 * Return: 0; -EBUSY when another process has it; -errno, with a sentence in @fault.
 */
int store_backend_rocksdb_open(const char *directory, const struct store_options *options,
                               struct store_fault *fault, struct store_backend **ret_backend);

#endif
