/*
 * ready.h - the ready messages of a queue, by priority
 *
 * One deque (queue_entries.h) a priority level. A queue without x-max-priority has only level 0.
 * A level comes into being when it is first used, so memory follows the priorities in use, and a
 * queue that never had a message takes none.
 * Counts and octets are kept here, together with what they count.
 */
#ifndef BROKER_READY_H
#define BROKER_READY_H

#include "broker/queue_entries.h"

enum { READY_PRIORITY_MAX = 255 };

struct ready_levels;

struct ready {
    struct queue_entries *base;   /* level 0; NULL until it is used */
    struct ready_levels *levels;  /* 1 to 255; NULL until one is used */
    uint64_t bytes; /* of bodies */
    uint64_t heavy_bytes; /* of the heavy ones in memory: what they have besides their bodies */
    uint32_t count;
};

void ready_init(struct ready *ready);
/** ready_release() - it must be empty */
void ready_release(struct ready *ready);

/** ready_push() - append to the level entry->priority; sequences grow. 0 or -ENOMEM */
int ready_push(struct ready *ready, const struct queue_entry *entry);
/** ready_put_back() - to its own position in its level. 0 or -ENOMEM */
int ready_put_back(struct ready *ready, const struct queue_entry *entry);

/** ready_first() - the next entry: the oldest of the highest level; NULL when empty */
struct queue_entry *ready_first(struct ready *ready);

/** ready_oldest() - the oldest of level 0 that never came back; NULL when there is none */
static inline struct queue_entry *ready_oldest(const struct ready *ready)
{
    return ready->base ? queue_entries_ring_first(ready->base) : NULL;
}

/** ready_pop() - remove the first entry; false when empty */
bool ready_pop(struct ready *ready, struct queue_entry *ret_entry);

/** ready_find() - NULL if it is not here; borrowed until the next change */
struct queue_entry *ready_find(struct ready *ready, uint8_t priority, uint64_t sequence);
/** ready_remove() - take out what ready_find() has found */
void ready_remove(struct ready *ready, struct queue_entry *found, struct queue_entry *ret_entry);

/** ready_set_resident() - @message has come for an entry that was not in memory; moved */
void ready_set_resident(struct ready *ready, struct queue_entry *entry, struct message *message);

/** struct ready_walk - visit all entries, level by level from the highest; until the next change */
struct ready_walk {
    struct ready *ready;
    int level;
    struct queue_entries_walk walk;
};

struct ready_walk ready_walk(struct ready *ready);
struct queue_entry *ready_walk_next(struct ready_walk *walk);

#endif
