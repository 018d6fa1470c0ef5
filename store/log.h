/*
 * log.h - the write-ahead log: where a commit becomes durable
 *
 * Records of octets, numbered 1, 2, 3 and so on for the life of the directory, in segment files
 * that are overwritten in place. log.c says why this is not left to RocksDB. One thread uses a log.
 */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include "store/backend.h"
#include "store/store.h"

struct store_log;

/** store_log_visit() - called per record; a negative result ends the replay, which returns it */
typedef int (*store_log_visit)(void *context, uint64_t number, struct amqp_bytes record);

/** struct store_log_settings - how a log is written from now on */
struct store_log_settings {
    size_t segment_bytes; /* about how long a file gets before the next is begun */
    bool synced; /* each record is synced before the next is appended; kept with what is written,
                    so that recovery can tell a torn record from a damaged one */
    const struct store_observer *observer; /* borrowed; may be NULL */
};

/**
 * store_log_open() - open or create the log in a directory, which is created
 *
 * Two files beside the directory belong to it: log.last (log_note.c) and, when the operator makes
 * it, log.accept-loss (log_repair.c).
 *
 * Return: 0; -errno, with a sentence in @fault.
 */
int store_log_open(const char *directory, const struct store_log_settings *settings,
                   struct store_fault *fault, struct store_log **ret_log);

struct store_files;

/** store_log_open_files() - the same in a directory that is open already; @files is moved */
int store_log_open_files(struct store_files *files, const char *directory,
                         const struct store_log_settings *settings, struct store_fault *fault,
                         struct store_log **ret_log);

/**
 * store_log_replay() - hand out the records after number @after, in order
 *
 * @after is what the database has for certain. What is handed out is on the disk before. The last
 * record may be torn or missing its end: it was never synced, and is not handed out. The next
 * record to be appended gets the number after the last one handed out.
 *
 * Return: 0; -EBADMSG, with a sentence in @fault that names the file, when records that were synced
 *         are damaged or missing (README.md says which losses can be seen); what @visit returned;
 *         -errno.
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

/**
 * store_log_finish() - say on the disk that the log ends here; before a close in good order
 *
 * Syncs what was appended. A failure costs nothing but that a lost end may not be noticed. It says
 * nothing about the database.
 */
void store_log_finish(struct store_log *log);

/** store_log_close() - close the files and free it; syncs nothing. NULL is fine. */
void store_log_close(struct store_log *log);

#endif
