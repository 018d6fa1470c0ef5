/*
 * unacked.h - the deliveries of a channel that wait for an acknowledgement
 *
 * Sorted by delivery tag by construction: a ring that grows at the tail. An entry settled in the
 * middle leaves a hole, and holes are closed when they are the majority. Tags have gaps (no-ack
 * deliveries use them up too), so a tag is found by guessing its place and, failing that, by
 * binary search.
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
    bool counted;              /* in channel->global_unacked */
    bool timed_out;            /* its message is back in the queue: settling it does nothing */
};

struct unacked {
    struct unacked_delivery *ring; /* capacity a power of two */
    uint32_t first, used, capacity;
    uint32_t count; /* without holes */
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

/** unacked_at() - place @index of the ring, 0 to used - 1: perhaps a hole (queue NULL) */
static inline struct unacked_delivery *unacked_at(const struct unacked *unacked, uint32_t index)
{
    return &unacked->ring[(unacked->first + index) & (unacked->capacity - 1)];
}

/** unacked_remove() - take @delivery out (a pointer from find, first or last) */
void unacked_remove(struct unacked *unacked, struct unacked_delivery *delivery);

/** unacked_insert() - put back a delivery whose tag may lie among those present (tx.rollback) */
int unacked_insert(struct unacked *unacked, const struct unacked_delivery *delivery);

#endif
