/*
 * store.h - the only door to what survives the process
 *
 * The caller (one thread, the broker's) adds to the *open commit*: metadata records, messages,
 * queue entries, settlements. store_seal() closes it; a committer thread writes it as one atomic,
 * synced batch and store_poll() then reports every commit up to it as durable. Nothing is durable
 * when a call returns. Commits become durable in order, each whole or not at all.
 *
 * The store knows ids and octets, not queues or exchanges. Its rules:
 *
 * - A message is appended once per commit, however many queues it goes to, and is packed with its
 *   neighbours into a *record* (up to record_bytes; a larger message is a record of its own). Its
 *   `location` names record and place. A record is deleted when no live entry refers to it.
 * - An *entry* (queue id, sequence) refers to a location. Sequences of one queue only grow.
 * - Settling an entry removes it for good. A settlement that was lost by a crash (its commit was
 *   not durable) brings the entry back: at worst a redelivery.
 * - Ids (queue ids) and locations are never used twice in the life of a data directory.
 *
 * A failing disk does not lose the open or sealed commits: the committer writes the same commits
 * again and reports `stalled` until one succeeds (a failed sync is never taken for done). Only the
 * memory that they hold grows; the caller stops its publishers. A full disk first takes the room
 * that is kept in reserve: `stalled` is reported, so that nothing new is published, and all goes on
 * so that what is there can be consumed.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <sys/uio.h>

#include "amqp/base.h"

struct store;

/* Kinds of metadata records. The numbers are part of the format on disk. */
enum store_kind {
    STORE_KIND_VHOST = 1,
    STORE_KIND_USER = 2,
    STORE_KIND_PERMISSION = 3,
    STORE_KIND_TOPIC_PERMISSION = 4,
    STORE_KIND_EXCHANGE = 5,
    STORE_KIND_QUEUE = 6,
    STORE_KIND_BINDING = 7,
    STORE_KIND_POLICY = 8,
    STORE_KIND_PARAMETER = 9,
    STORE_KIND_GLOBAL_PARAMETER = 10,
};

enum store_sync {
    STORE_SYNC_COMMIT,   /* fdatasync before a commit is reported */
    STORE_SYNC_INTERVAL, /* reported when written; synced every sync_interval_ms */
    STORE_SYNC_NEVER,    /* reported when written; the kernel decides */
};

enum store_phase {
    STORE_PHASE_LOG,     /* store_open(): octets of the log that have been read, and all of them */
    STORE_PHASE_ENTRIES, /* store_recover(): queue entries; how many there are is not known: 0 */
};

/** struct store_observer - who hears how opening and recovering get on; any member may be NULL */
struct store_observer {
    void *context;
    /** called often, so that a slow start can be told from one that hangs */
    void (*progress)(void *context, enum store_phase phase, uint64_t done, uint64_t total);
    /** a sentence for the operator about what was found and was not as it should be */
    void (*notice)(void *context, const char *text);
};

struct store_options {
    enum store_sync sync;
    unsigned sync_interval_ms;
    size_t record_bytes;       /* largest packed record: 262144 */
    size_t write_buffer_bytes; /* memtable: 16777216 */
    unsigned readers;          /* threads that read messages back: 2 */
    uint64_t reserve_bytes;    /* room on the disk, given up when it is full: 67108864; 0: none */
    const struct store_observer *observer; /* borrowed until the store is closed, or NULL */
};

/** store_options_default() - store.sync = commit and the sizes above */
struct store_options store_options_default(void);

/** struct store_entry - a message's place in a queue */
struct store_entry {
    uint64_t queue_id;
    uint64_t sequence;       /* > 0, larger than any before, or recovered, in this queue */
    uint64_t location;       /* from store_append() */
    uint64_t expires_ms;     /* wall clock; 0 for never */
    uint32_t body_bytes;     /* kept for accounting before the message is read */
    uint32_t delivery_count; /* on recovery: the last count set; 0 when enqueued */
    uint8_t priority;
    bool delivered;          /* on recovery only: at or below the delivered mark, or counted */
};

/** struct store_events - what store_poll() calls, on the thread that calls it */
struct store_events {
    /** every commit up to and including @commit is durable (as store_options.sync means it) */
    void (*durable)(void *context, uint64_t commit);
    /** writing fails, or only the reserve has room (@error is -errno, @text says it for the log);
        or all is well again (@error 0) */
    void (*stalled)(void *context, int error, const char *text);
    /** a read has ended: @message borrowed, or @error -errno (-ENOENT, -EIO, -EBADMSG) */
    void (*read)(void *context, void *request, int error, struct amqp_bytes message);
};

/** struct store_visitor - what store_recover() calls; a negative result stops it and is returned */
struct store_visitor {
    int (*meta)(void *context, enum store_kind kind, struct amqp_bytes key,
                struct amqp_bytes value);
    int (*entry)(void *context, const struct store_entry *entry);
};

/**
 * store_open() - open or create the database under a directory
 * @directory:  created if missing; locked against other processes
 * @events:     kept, with @context; called only from store_poll()
 * @error_text: receives a sentence for the operator on failure
 *
 * Return: 0; -EBUSY when another process has it; -EPROTO for a format of another version;
 *         -errno otherwise.
 */
int store_open(const char *directory, const struct store_options *options,
               const struct store_events *events, void *context, char *error_text,
               size_t error_text_size, struct store **ret_store);

/**
 * store_close() - commit what is open and sealed, wait for it, free the store
 *
 * While the disk fails it does not wait for ever: after 5 s the rest is given up. A database that
 * waits for the disk is left open, as the log has all of it: see store_is_left_open().
 *
 * Return: 0, or -errno when commits were given up.
 */
int store_close(struct store *store);

/**
 * store_lost() - whether the database cannot be used any more in this process
 * @ret_text: a sentence, borrowed from the store; set only if so
 *
 * After a sync of its files failed, or RocksDB said no: what is confirmed is in the log, and the
 * next process finds it. This one should say so and end.
 *
 * Return: 0 or -errno.
 */
int store_lost(const struct store *store, const char **ret_text);

/**
 * store_is_left_open() - a database of this process could not be closed
 *
 * After store_close() or a failed store_open(): threads of RocksDB may run on, so the process must
 * end by _exit(), not by exit() or by returning from main().
 */
bool store_is_left_open(void);

/**
 * store_recover() - hand out everything that is stored; once, before any change
 *
 * First all metadata, kind by kind in the order of enum store_kind, keys in octet order; then the
 * live entries, queue by queue, by sequence. Entries of queues that are not named by
 * store_recover_queue() within meta() are orphans of a deleted queue and are dropped for good.
 */
int store_recover(struct store *store, const struct store_visitor *visitor, void *context);

/** store_recover_queue() - called from within visitor.meta(): this queue id is in use */
int store_recover_queue(struct store *store, uint64_t queue_id);

/**
 * store_next_sequence() - the smallest sequence that this queue has never used, as far as the store
 * knows: 1 for a new queue; after store_recover(), above every entry and every settled mark
 */
uint64_t store_next_sequence(struct store *store, uint64_t queue_id);

/* ---- adding to the open commit; 0 or -ENOMEM, which leaves the commit as it was ---- */

/** store_new_queue_id() - an id that no queue of this directory ever had */
uint64_t store_new_queue_id(struct store *store);

int store_put_meta(struct store *store, enum store_kind kind, struct amqp_bytes key,
                   struct amqp_bytes value);
int store_delete_meta(struct store *store, enum store_kind kind, struct amqp_bytes key);

/**
 * store_append() - add a message
 * @parts:         its octets in pieces, copied
 * @ret_location:  to be given to store_enqueue() in this same commit; a message that no entry
 *                 refers to when the commit is sealed is not kept. Later it may be enqueued again
 *                 as long as one of its entries is live.
 */
int store_append(struct store *store, const struct iovec *parts, size_t n_parts,
                 uint64_t *ret_location);

/** store_enqueue() - add an entry (delivery_count and delivered are ignored) */
int store_enqueue(struct store *store, const struct store_entry *entry);

/**
 * store_settle() - remove an entry; @location as it was enqueued. Never makes a commit urgent.
 *
 * Nothing happens, and 0 is returned, when the entry is settled already or its queue forgotten.
 */
int store_settle(struct store *store, uint64_t queue_id, uint64_t sequence, uint64_t location);

/** store_count_delivery() - remember an entry's delivery count (after a requeue) */
int store_count_delivery(struct store *store, uint64_t queue_id, uint64_t sequence,
                         uint32_t delivery_count);

/**
 * store_mark_delivered() - entries up to @sequence have been handed to consumers
 *
 * A change of the open commit, as a settlement is: `redelivered` can be told after a restart once
 * that is durable. Never makes a commit urgent, and cannot fail.
 */
void store_mark_delivered(struct store *store, uint64_t queue_id, uint64_t sequence);

/**
 * store_forget_queue() - remove every entry of a queue and its marks; its id is spent
 *
 * The store does not remember in memory where a queue's entries lie, so the caller also settles
 * each of them, before or after this call (deliveries that are still unacknowledged are settled
 * when their channel lets go of them): settling an entry of a forgotten queue only releases its
 * message. What a crash leaves unsettled is released by store_recover().
 */
int store_forget_queue(struct store *store, uint64_t queue_id);

/* ---- committing ---- */

/** store_open_commit() - the number of the open commit: what is added now is durable with it */
uint64_t store_open_commit(const struct store *store);

/** store_open_bytes() - octets in the open commit; 0 when nothing has been added */
size_t store_open_bytes(const struct store *store);

/** store_in_flight() - sealed commits that are not yet reported durable */
unsigned store_in_flight(const struct store *store);

/**
 * store_seal() - close the open commit and hand it to the committer
 *
 * Does nothing when the open commit is empty. The caller decides when: at the end of a wake-up when
 * somebody waits and nothing is in flight, or when the commit has grown large.
 *
 * Return: 0, or -ENOMEM with the commit still open.
 */
int store_seal(struct store *store);

/** store_fd() - becomes readable when store_poll() has something to report; -1: poll always */
int store_fd(const struct store *store);

/** store_poll() - report what has ended since the last call */
void store_poll(struct store *store);

/**
 * store_read() - fetch a message, on a reader thread
 * @request:  given back to events.read, in any order
 *
 * Messages of commits not yet durable can be read too.
 */
int store_read(struct store *store, uint64_t location, void *request);

/** struct store_stats - for metrics and tests */
struct store_stats {
    uint64_t commits;
    uint64_t bytes_appended;
    uint64_t live_entries;
    uint64_t live_records;
    uint64_t recovered_queues; /* that store_recover_queue() was called for */
    uint64_t sync_us_total; /* time spent in writing and syncing, on the committer */
};

void store_get_stats(const struct store *store, struct store_stats *ret_stats);

#endif
