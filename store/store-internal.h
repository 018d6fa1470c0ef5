/*
 * store-internal.h - the parts of a store, shared by the files of this folder
 *
 * store.c      the door: open, close, append, metadata, seal, poll, read
 * queues.c     runs of entries: enqueue, what goes into the commit when it is sealed
 * settle.c     taking entries out: watermark, bits, counts; forgetting a queue
 * live.c       how many live entries each record has
 * recover.c    rebuilding all that from the database
 * committer.c, readers.c   the threads; the memory store has neither
 *
 * What is in memory is small: 32 octets per run (one queue's entries of one record, at most 4096),
 * 4 octets per record, and a queue is known only while it has entries.
 */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include <stdatomic.h>

#include "store/commit.h"
#include "store/map.h"

enum store_run_flags {
    STORE_RUN_OPEN = 1,        /* still packed; not yet a change in the open commit */
    STORE_RUN_PAGE_DIRTY = 2,  /* bits have changed and are to be written */
    STORE_RUN_PAGE_STORED = 4, /* a page of bits is on disk or on its way */
};

/** struct store_run - a queue's entries of one record, by sequence; all of them or some are live */
struct store_run {
    uint64_t first;
    uint64_t record;
    uint64_t *bits;  /* STORE_RUN_SPAN of them or NULL: not live, although above the watermark */
    uint16_t span;   /* last sequence - first */
    uint16_t count;  /* entries, dead ones included */
    uint16_t live;
    uint16_t flags;
};

/**
 * struct store_queue - a queue that has entries, or had some in the open commit
 *
 * Entries at or below @low are settled; above it, those whose bit is set. Sequences that were never
 * used (their messages are transient) count as settled, so @low passes over them.
 */
struct store_queue {
    uint64_t id;
    uint64_t low;
    uint64_t last;      /* sequence of the newest entry */
    uint64_t delivered; /* entries up to here were handed out */
    uint64_t stored_low;
    uint64_t stored_delivered;
    struct store_run *runs; /* runs[head .. head + n_runs), by sequence, some of them dead */
    uint32_t head, n_runs, capacity;
    uint32_t n_dead;
    uint32_t hint; /* run that was found last, counted from head */
    bool dirty;
    bool forgotten; /* no longer in store.queues; freed when it leaves the dirty list */
    bool marks_stored;
    struct store_run_packer *packer; /* of the last run while it is open */
    struct store_queue *next_dirty;
    struct store_map counts; /* sequence -> delivery count, of live entries */
};

/** struct store_live - counters by record number, in chunks that exist while one is not zero */
struct store_live {
    struct store_map chunks; /* chunk number + 1 -> struct live_chunk * */
    uint64_t cached_number;
    struct live_chunk *cached;
    uint64_t live_records;
};

/** struct store_dirty_page - a run whose bits have changed; looked up again, as it may be gone */
struct store_dirty_page {
    uint64_t queue_id;
    uint64_t first;
};

/** struct store_reading - a read on its way or ended */
struct store_reading {
    struct store_reading *next;
    void *request;
    uint64_t location;
    int error;
    struct amqp_bytes message;
    uint8_t *memory; /* what message lies in; owned, or NULL */
};

/** struct store_readings - a list of them; @last is not used while @first is NULL */
struct store_readings {
    struct store_reading *first, *last;
};

/** struct store_reserved - numbers that are never given out twice: up to @end by what is on disk */
struct store_reserved {
    uint64_t next;
    uint64_t end;
};

/** struct store_waker - how the threads make store_fd() readable; fd -1 in the memory store */
struct store_waker {
    int fd;
    atomic_bool signalled; /* spares a system call for each report but the first */
};

void store_waker_wake(struct store_waker *waker);

struct store {
    struct store_options options;
    const struct store_events *events;
    void *context;
    struct store_backend *backend;
    struct store_waker waker;
    struct store_committer *committer; /* NULL: store_poll() writes */
    struct store_readers *readers;     /* NULL: store_poll() reads */
    struct store_pool pool;
    struct store_commit *open;
    struct store_commit *sealed, *sealed_last; /* not yet known to be applied, oldest first */
    unsigned in_flight; /* not yet reported durable */
    uint64_t durable;   /* the last commit that was */
    struct store_reserved records, queue_ids;
    struct store_map queues; /* id -> struct store_queue * */
    struct store_queue *last_queue;
    struct store_queue *dirty;
    struct store_dirty_page *dirty_pages;
    size_t n_dirty_pages, dirty_pages_capacity;
    struct store_run_packer *free_packers;
    struct store_live live;
    struct store_map *recovering; /* ids named by store_recover_queue(); NULL otherwise */
    struct store_readings readings, readings_done;
    bool recovered;
    bool held;       /* memory store: writes nothing */
    int stall_error; /* memory store: what was last reported */
    int lost;        /* -errno: the database cannot be used any more */
    struct store_fault lost_fault;
    struct store_stats stats;
};

/* ---- store.c ---- */

/** store_new() - a store over an open backend (moved, also on failure): checks its format */
int store_new(struct store_backend *backend, const struct store_options *options,
              const struct store_events *events, void *context, struct store_fault *fault,
              struct store **ret_store);

/** store_free() - free everything that is in memory; writes nothing, tells nobody */
void store_free(struct store *store);

/** store_write_sealed() - write the oldest sealed commit now, without a thread: 0 or -errno */
int store_write_sealed(struct store *store, struct store_fault *fault);

/* ---- readers.c ---- */

/** store_readings_push() - append to a list */
void store_readings_push(struct store_readings *readings, struct store_reading *reading);

/** store_reading_fetch() - do a read on the backend; the outcome is in @reading */
void store_reading_fetch(struct store_reading *reading, struct store_backend *backend);

void store_reading_free(struct store_reading *reading);

void store_readings_free(struct store_readings *readings);

/* ---- live.c ---- */

/** store_live_add() - one more live entry refers to a record: 0 or -ENOMEM */
int store_live_add(struct store_live *live, uint64_t record, uint32_t entries);

/** store_live_sub() - fewer; returns what is left */
uint32_t store_live_sub(struct store_live *live, uint64_t record, uint32_t entries);

uint32_t store_live_get(struct store_live *live, uint64_t record);

void store_live_release(struct store_live *live);

/* ---- queues.c ---- */

/** store_queue_find() - a queue that has entries, or NULL */
struct store_queue *store_queue_find(struct store *store, uint64_t id);

/** store_queue_obtain() - find it, or make one whose next sequence is at least @first */
int store_queue_obtain(struct store *store, uint64_t id, uint64_t first,
                       struct store_queue **ret_queue);

/** store_queue_free() - take a queue out of the store's table and free it; it is not dirty */
void store_queue_free(struct store *store, struct store_queue *queue);

/** store_queue_add_run() - a new, empty, last run: 0 or -ENOMEM */
int store_queue_add_run(struct store_queue *queue, uint64_t first, uint64_t record);

/** store_queue_run() - the run that covers a sequence, or NULL */
struct store_run *store_queue_run(struct store_queue *queue, uint64_t sequence);

/** store_queue_touch() - something of it has to be written with the open commit */
void store_queue_touch(struct store *store, struct store_queue *queue);

/** store_queue_drop_packer() - its last run is open no more */
void store_queue_drop_packer(struct store *store, struct store_queue *queue);

/** store_queues_emit() - turn what is dirty into changes of the open commit: 0 or -ENOMEM */
int store_queues_emit(struct store *store);

static inline struct store_run *store_queue_run_at(struct store_queue *queue, uint32_t i)
{
    return &queue->runs[queue->head + i];
}

/* ---- settle.c ---- */

/** store_run_set_dead() - mark sequences as not live in a run's bits, which it has */
void store_run_set_dead(struct store_run *run, uint64_t from, uint64_t to);

/** store_run_need_bits() - give a run its bits: 0 or -ENOMEM */
int store_run_need_bits(struct store_run *run);

/** store_run_is_dead() - whether a sequence that the run covers is settled or was never used */
static inline bool store_run_is_dead(const struct store_run *run, uint64_t sequence)
{
    uint64_t at = sequence - run->first;

    return run->bits && (run->bits[at / 64] >> (at % 64) & 1);
}

/** store_queue_advance() - move the watermark as far up as it goes, drop dead runs */
void store_queue_advance(struct store_queue *queue);

/** store_queue_bury() - the run (not open) has no live entry: forget it */
void store_queue_bury(struct store_queue *queue, struct store_run *run);

/** store_run_delete() - changes that delete a run and its page; room for both was reserved */
void store_run_delete(struct store *store, const struct store_queue *queue,
                      const struct store_run *run);

#endif
