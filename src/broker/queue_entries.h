/*
 * queue_entries.h - ready messages in order of sequence (of one priority level)
 *
 * Two structures. The *ring* is a deque of chunks: new messages are appended with growing
 * sequences, so it is sorted by construction, and a directory of the chunks finds any sequence by
 * binary search. The *heap* takes entries that come back (requeue) to positions that the ring has
 * left behind; there are few, and the next message is the smaller of the two heads. No node per
 * message: an entry is 32 octets, and an empty queue holds no chunk.
 *
 * An entry that leaves from the middle (it expired) stays as a hole until its chunk has no other
 * left or the head has passed it.
 *
 * An entry holds its message or, when the message is only in the store, its location.
 */
#ifndef BROKER_QUEUE_ENTRIES_H
#define BROKER_QUEUE_ENTRIES_H

#include "amqp/base.h"
#include "broker/message.h"

enum {
    ENTRY_RESIDENT = 1,     /* `message` is set and referenced; else `location` */
    ENTRY_STORED = 2,       /* the store has this entry: settle it there */
    ENTRY_REDELIVERED = 4,  /* has been delivered or got before */
    ENTRY_FETCHING = 8,     /* a read from the store is under way */
    ENTRY_LOST = 16,        /* could not be read back: passed over */
    ENTRY_HOLE = 32,        /* has left from the middle of the ring */
    ENTRY_TIMED = 64,       /* stands in the queue's order of expiry (expiry.h) */
    ENTRY_CHUNK = 64,       /* entries in a chunk */
};

struct queue_entry {
    uint64_t sequence;
    union {
        struct message *message;
        uint64_t location;
    };
    uint64_t expires_ms; /* wall clock; 0: never */
    uint32_t body_bytes;
    uint16_t delivery_count; /* requeues, saturating */
    uint8_t priority;        /* level in the queue, not the property */
    uint8_t flags;
};

struct entry_chunk {
    uint32_t first, end; /* places in use, holes included */
    uint32_t live;
    struct queue_entry entries[ENTRY_CHUNK];
};

struct queue_entries {
    struct entry_chunk **chunks; /* directory: a ring, capacity a power of two */
    uint32_t chunk_first, chunk_count, chunk_capacity;
    uint32_t ring_count; /* without holes */
    uint32_t heap_count, heap_capacity;
    struct queue_entry *heap;
};

void queue_entries_init(struct queue_entries *entries);
/** queue_entries_release() - free the structures; they must be empty */
void queue_entries_release(struct queue_entries *entries);

static inline uint32_t queue_entries_count(const struct queue_entries *entries)
{
    return entries->ring_count + entries->heap_count;
}

/** queue_entries_push() - append; the sequence is larger than all before. 0 or -ENOMEM */
int queue_entries_push(struct queue_entries *entries, const struct queue_entry *entry);

/** queue_entries_put_back() - to its own position. 0 or -ENOMEM */
int queue_entries_put_back(struct queue_entries *entries, const struct queue_entry *entry);

/** queue_entries_first() - the next entry, borrowed until the next change; NULL when empty */
struct queue_entry *queue_entries_first(struct queue_entries *entries);

/** queue_entries_ring_first() - the same, passing over those that came back */
struct queue_entry *queue_entries_ring_first(const struct queue_entries *entries);

/** queue_entries_pop() - remove the first entry; false when empty */
bool queue_entries_pop(struct queue_entries *entries, struct queue_entry *ret_entry);

/** queue_entries_find() - by sequence; NULL if not here. Borrowed until the next change */
struct queue_entry *queue_entries_find(struct queue_entries *entries, uint64_t sequence);

/** queue_entries_remove() - take out an entry that queue_entries_find() has found */
void queue_entries_remove(struct queue_entries *entries, struct queue_entry *found,
                          struct queue_entry *ret_entry);

/**
 * struct queue_entries_walk - visit all entries: the ring from its head, then the heap, unordered
 *
 * Valid until the next change; flags and message of an entry may be changed.
 */
struct queue_entries_walk {
    struct queue_entries *entries;
    uint32_t chunk, at, heap_at;
};

static inline struct queue_entries_walk queue_entries_walk(struct queue_entries *entries)
{
    return (struct queue_entries_walk){ .entries = entries };
}

struct queue_entry *queue_entries_walk_next(struct queue_entries_walk *walk);

#endif
