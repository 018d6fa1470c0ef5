/*
 * backend_memory.h - the imaginary disk as a backend, and a closer look at it for the store's tests
 */
#ifndef STORE_BACKEND_MEMORY_H
#define STORE_BACKEND_MEMORY_H

#include "store/memory.h"
#include "store/store-internal.h"

/** store_backend_memory() - a backend over a disk (borrowed), or NULL when out of memory */
struct store_backend *store_backend_memory(struct store_disk *disk);

/** store_disk_fail_late() - like store_disk_fail(), but the failing writes do reach the disk */
void store_disk_fail_late(struct store_disk *disk, unsigned good, unsigned writes,
                          int error_number);

/** store_disk_count() - keys in a family */
size_t store_disk_count(const struct store_disk *disk, enum store_family family);

#endif
