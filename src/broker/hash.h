/*
 * hash.h - uthash that reports a failed allocation instead of ending the process
 *
 * After HASH_ADD the handle's `tbl` is NULL when there was no memory. To be included before any
 * header that includes <uthash.h>.
 */
#ifndef BROKER_HASH_H
#define BROKER_HASH_H

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((void)(element))
#include <uthash.h>

#endif
