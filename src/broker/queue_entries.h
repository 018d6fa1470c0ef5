/*
 * queue_entries.h - ready messages in order of sequence (of one priority level)
 *
 * Two structures. The *ring* is a deque of chunks: new messages are appended with growing
 * sequences, so it is sorted by construction, and a directory of the chunks finds any sequence by
 * binary search; chunks in the middle of which no message is in memory are packed (entry_chunk.h)
 * and unpacked when an entry of them is asked for. Entries that come back (requeue) to positions that
 * the ring has left behind are kept apart, sorted (returned_entries.h); the next message is the
 * smaller of the two heads. No node per message: an entry is 32 octets, less when packed, and an
 * empty queue holds one chunk at most, which is small unless there were many.
 *
 * An entry that leaves from the middle (it expired) stays as a hole until its chunk has no other
 * left or the head has passed it.
 *
 * An entry holds its message or, when the message is only in the store, its location.
 */
#ifndef BROKER_QUEUE_ENTRIES_H
#define BROKER_QUEUE_ENTRIES_H

#include "broker/entry_chunk.h"
#include "broker/returned_entries.h"

struct queue_entries {
    struct entry_chunk **chunks; /* directory: a ring, capacity a power of two */
    uint32_t chunk_first, chunk_count, chunk_capacity;
    uint32_t ring_count;       /* without holes */
    uint32_t frozen_count;     /* chunks that are packed */
    struct entry_chunk *spare; /* kept while some are: the next head is unpacked into it */
    struct entry_chunk *warm;  /* in the middle, unpacked last; packed again after the next one */
    struct returned_entries back;
};

void queue_entries_init(struct queue_entries *entries);
/** queue_entries_release() - free the structures; they must be empty */
void queue_entries_release(struct queue_entries *entries);

static inline uint32_t queue_entries_count(const struct queue_entries *entries)
{
    return entries->ring_count + entries->back.count;
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

/**
 * queue_entries_find() - by sequence; borrowed until the next change or search
 *
 * Return: NULL if it is not here, or if there is no memory to unpack what it lies in.
 */
struct queue_entry *queue_entries_find(struct queue_entries *entries, uint64_t sequence);

/** queue_entries_remove() - take out an entry that queue_entries_find() has found */
void queue_entries_remove(struct queue_entries *entries, struct queue_entry *found,
                          struct queue_entry *ret_entry);

/**
 * struct queue_entries_walk - visit all entries: the ring from its head, then what came back, each in order
 *
 * Valid until the next change; flags and message of an entry may be changed until the next step.
 * Without memory to unpack a chunk the walk ends early.
 */
struct queue_entries_walk {
    struct queue_entries *entries;
    uint32_t chunk, at;
    uint64_t back_at;
};

static inline struct queue_entries_walk queue_entries_walk(struct queue_entries *entries)
{
    return (struct queue_entries_walk){ .entries = entries };
}

struct queue_entry *queue_entries_walk_next(struct queue_entries_walk *walk);

#endif
