/*
 * log.h - the write-ahead log: where a commit becomes durable
 *
 * Records of octets, numbered 1, 2, 3 and so on for the life of the directory, in segment files
 * that are overwritten in place. log.c says why this is not left to RocksDB. One thread uses a log.
 */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include "store/backend.h"

struct store_log;

/** store_log_visit() - called per record; a negative result ends the replay, which returns it */
typedef int (*store_log_visit)(void *context, uint64_t number, struct amqp_bytes record);

/**
 * store_log_open() - open or create the log in a directory, which is created
 * @segment_bytes: about how long a file gets before the next is begun
 * @synced:  each record is synced before the next is appended; kept with what is written from now
 *           on, so that recovery can tell a torn record from a damaged one
 *
 * Return: 0; -errno, with a sentence in @fault.
 */
int store_log_open(const char *directory, size_t segment_bytes, bool synced,
                   struct store_fault *fault, struct store_log **ret_log);

/**
 * store_log_replay() - hand out the records after number @after, in order
 *
 * The last record may be torn or missing its end: it was never synced, and is not handed out. The
 * next record to be appended gets the number after the last one handed out.
 *
 * Return: 0; -EBADMSG, with a sentence in @fault, when records that were synced are damaged, and
 *         later ones are there; what @visit returned; -errno.
 */
int store_log_replay(struct store_log *log, uint64_t after, store_log_visit visit, void *context,
                     struct store_fault *fault);

/** store_log_next() - the number that the next record will have */
uint64_t store_log_next(const struct store_log *log);

/**
 * store_log_append() - write a record behind the last one; not synced
 *
 * Return: 0; -errno, with a sentence in @fault: only store_log_restart() may follow.
 */
int store_log_append(struct store_log *log, struct amqp_bytes record, struct store_fault *fault);

/** store_log_sync() - make what was appended stable; a failure is like one of store_log_append() */
int store_log_sync(struct store_log *log, struct store_fault *fault);

/**
 * store_log_restart() - after a failure: record @next and those after it have not been written
 *
 * What a failed write or sync has left on the disk is not known; it is not touched again. The next
 * record goes to a new segment, which says that it takes the place of them.
 */
void store_log_restart(struct store_log *log, uint64_t next);

/** store_log_release() - records up to @number will not be asked for again */
void store_log_release(struct store_log *log, uint64_t number);

/** store_log_drop_spares() - give back what is kept for segments to come: the disk is full */
void store_log_drop_spares(struct store_log *log);

/** store_log_close() - close the files and free it; syncs nothing. NULL is fine. */
void store_log_close(struct store_log *log);

#endif
