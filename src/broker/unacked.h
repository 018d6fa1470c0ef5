/*
 * unacked.h - the deliveries of a channel that wait for an acknowledgement
 *
 * Sorted by delivery tag, in chunks: a client may hold a million, and nothing that it does with one
 * of them may take time in proportion to all. Tags have gaps (no-ack deliveries use them up too),
 * so a tag is found by guessing its place and, failing that, by binary search.
 */
#ifndef BROKER_UNACKED_H
#define BROKER_UNACKED_H

#include "broker/queue_entries.h"

struct consumer;
struct queue;

struct unacked_delivery {
    uint64_t tag;
    struct queue *queue;       /* referenced; NULL: a hole */
    struct consumer *consumer; /* NULL for basic.get */
    struct queue_entry entry;
    uint64_t delivered_ms;
    bool counted;              /* against the shared limit (channel_is_counted()) */
    bool timed_out;            /* its message is back in the queue: settling it does nothing */
};

struct unacked_chunk;

struct unacked {
    struct unacked_chunk **chunks; /* a ring; capacity a power of two */
    uint32_t chunk_first, chunk_count, chunk_capacity;
    uint32_t count;
};

void unacked_init(struct unacked *unacked);
/** unacked_release() - must be empty */
void unacked_release(struct unacked *unacked);

/** unacked_add() - tags grow. 0 or -ENOMEM */
int unacked_add(struct unacked *unacked, const struct unacked_delivery *delivery);

/** unacked_find() - the delivery with this tag, borrowed until the next change; NULL if none */
struct unacked_delivery *unacked_find(struct unacked *unacked, uint64_t tag);

/** unacked_first() - the oldest delivery; NULL when empty */
struct unacked_delivery *unacked_first(struct unacked *unacked);

/** unacked_last() - the newest delivery; NULL when empty */
struct unacked_delivery *unacked_last(struct unacked *unacked);

/** unacked_from() - the oldest delivery with this tag or a larger one; NULL: none */
struct unacked_delivery *unacked_from(struct unacked *unacked, uint64_t tag);

/** unacked_before() - the newest delivery with a smaller tag; NULL: none */
struct unacked_delivery *unacked_before(struct unacked *unacked, uint64_t tag);

/** unacked_remove() - take @delivery out (a pointer from one of the above) */
void unacked_remove(struct unacked *unacked, struct unacked_delivery *delivery);

/** unacked_insert() - put back a delivery whose tag may lie among those present (tx.rollback) */
int unacked_insert(struct unacked *unacked, const struct unacked_delivery *delivery);

/** unacked_chunk_count() - for tests: memory follows it */
static inline uint32_t unacked_chunk_count(const struct unacked *unacked)
{
    return unacked->chunk_count;
}

#endif
