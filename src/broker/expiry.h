/*
 * expiry.h - which message of a queue expires next
 *
 * Messages expire when their time comes, wherever they stand. Most queues need nothing for that:
 * when messages come with times that never decrease (one TTL for all), the first is always the next
 * to expire. Only a message that comes with an earlier time than one before it, or returns by
 * requeue, goes into the *order*, a binary heap of (time, place). Invariant: every message with a
 * time that is not in the order expires no earlier than all messages before it that never came
 * back; so the next to expire is the first of those (ready_oldest()) or the top of the order. The
 * head need not be: a message that comes back stands before others, whenever it expires.
 *
 * A message that leaves the queue otherwise leaves its record behind. Stale records are dropped
 * when they come to the top, and are searched for, a part at a time, when they are the majority.
 */
#ifndef BROKER_EXPIRY_H
#define BROKER_EXPIRY_H

#include "broker/ready.h"

struct expiry_record {
    uint64_t expires_ms;
    uint64_t place; /* sequence << 8 | priority */
};

/** struct expiry_order - a binary heap, the earliest first; it is freed when it becomes empty */
struct expiry_order {
    uint32_t count, capacity;
    uint32_t stale; /* records whose message has gone, as far as is known */
    uint32_t sweep; /* where the search for them goes on */
    struct expiry_record heap[];
};

/* Of expiry.latest_ms: later than any time. */
#define EXPIRY_NEVER UINT64_MAX              /* a message has no time, and none before it has one */
#define EXPIRY_NEVER_AFTER_TIMES (UINT64_MAX - 1) /* it has none, but some before it have */

struct expiry {
    struct expiry_order *order; /* NULL: empty */
    uint64_t latest_ms; /* latest time among the messages outside the order; 0: there are none */
};

void expiry_init(struct expiry *expiry);
void expiry_release(struct expiry *expiry);

/**
 * expiry_admit() - a message is about to be pushed (or put back)
 * @alone:    the queue is empty: nothing before it
 * @ordered:  it must go into the order: it comes back, or the queue has priorities
 *
 * Sets ENTRY_TIMED in entry->flags when it went into the order. 0 or -ENOMEM.
 */
int expiry_admit(struct expiry *expiry, struct queue_entry *entry, bool alone, bool ordered);

/** expiry_is_idle() - no message of the queue has a time */
static inline bool expiry_is_idle(const struct expiry *expiry)
{
    return (expiry->latest_ms == 0 || expiry->latest_ms == EXPIRY_NEVER) && !expiry->order;
}

/** expiry_leave() - an entry with ENTRY_TIMED has left the queue by another way */
static inline void expiry_leave(struct expiry *expiry, const struct queue_entry *entry)
{
    if (UNLIKELY(entry->flags & ENTRY_TIMED))
        expiry->order->stale++;
}

/** expiry_take_due() - remove an entry of the order whose time has come from @ready; false: none */
bool expiry_take_due(struct expiry *expiry, struct ready *ready, uint64_t wall_ms,
                     struct queue_entry *ret_entry);

/** expiry_next_ms() - earliest time in the order (perhaps stale); UINT64_MAX when it is empty */
static inline uint64_t expiry_next_ms(const struct expiry *expiry)
{
    return expiry->order ? expiry->order->heap[0].expires_ms : UINT64_MAX;
}

#endif
