/*
 * guard.h - calls of RocksDB that may wait for the disk for ever, made so that the caller need not
 */
#ifndef STORE_GUARD_H
#define STORE_GUARD_H

#include "store/rocksdb_files.h"

/** store_guarded() - 0, or -errno with a sentence in @fault */
typedef int (*store_guarded)(void *context, struct store_fault *fault);

/**
 * store_guard() - run @work on a thread of its own and wait for it
 * @stuck_ms_max: how long the disk may not work
 * @ret_left:     set when it was not waited for to its end: the disk did not work for that long, or
 *                the state is LOST. Its thread runs on, so @context and @files must stay.
 *
 * Return: what @work returned; when it was left, -errno and why.
 */
int store_guard(struct rocks_files *files, store_guarded work, void *context,
                unsigned stuck_ms_max, struct store_fault *fault, bool *ret_left);

#endif
