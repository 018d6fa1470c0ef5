/*
 * returned_entries.h - ready messages that have come back, in order of sequence
 *
 * A client that is cut may give back a million, mostly from the last to the first, and they may
 * expire or be taken from anywhere. So they are kept sorted, in chunks of 64 full entries: adding
 * at either end and taking the first cost the same whatever there is, anything else a binary search
 * and the move of half a chunk. Empty, it takes no memory but for this struct.
 */
#ifndef BROKER_RETURNED_ENTRIES_H
#define BROKER_RETURNED_ENTRIES_H

#include "broker/entry_chunk.h"

struct returned_chunk;

struct returned_entries {
    struct returned_chunk **chunks; /* a ring; capacity a power of two */
    uint32_t chunk_first, chunk_count, chunk_capacity;
    uint32_t count;
};

/** returned_entries_add() - 0 or -ENOMEM. Its sequence is not there */
int returned_entries_add(struct returned_entries *back, const struct queue_entry *entry);

/** returned_entries_first() - the smallest sequence; borrowed until the next change; NULL: empty */
struct queue_entry *returned_entries_first(const struct returned_entries *back);

/** returned_entries_find() - borrowed likewise; NULL: it is not here */
struct queue_entry *returned_entries_find(const struct returned_entries *back, uint64_t sequence);

/** returned_entries_next() - the first with this sequence or a larger one; NULL: none */
struct queue_entry *returned_entries_next(const struct returned_entries *back, uint64_t sequence);

/** returned_entries_remove() - @found is borrowed from one of the above */
void returned_entries_remove(struct returned_entries *back, const struct queue_entry *found);

#endif
