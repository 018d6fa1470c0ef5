/*
 * entry_chunk.h - up to 64 entries of a queue, in full or packed
 *
 * A queue's first chunk has room for 4 entries and grows to 16 and 64: most queues never hold more
 * than a few messages, and a chunk stays with its queue when it is empty.
 *
 * A chunk in use is an array of entries, 32 octets each. In the middle of a long queue nobody looks
 * at them for a while, and they are all alike: sequences and locations count by one, sizes and
 * flags repeat. There a chunk is *frozen*: column by column, as runs of equal differences, which
 * takes about one octet an entry when messages are alike and some six when they are not. So the
 * index of ten million messages takes the memory of a small one, without a place on disk that would
 * have to be kept in step.
 *
 * A frozen chunk, behind the same head:
 *
 *   column by column  | count | width | difference, `width` octets, low first | count | ...
 *   columns           sequence, location, expiry, body octets, (delivery count, priority, flags)
 *
 * `count` entries in a row differ from the one before by the same (zigzag) difference; the first
 * one of a column differs from 0. Holes are left out.
 */
#ifndef BROKER_ENTRY_CHUNK_H
#define BROKER_ENTRY_CHUNK_H

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
    ENTRY_PAGED = 128,      /* transient, but in the store to save memory: settle it there */
};

enum { ENTRY_CHUNK = 64, ENTRY_CHUNK_FIRST = 4 }; /* entries in a chunk, and in a queue's first */

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
    uint8_t capacity;       /* places there are; 0 when frozen */
    bool frozen;            /* entries[] is not there: packed octets are */
    uint64_t last_sequence; /* of the place before `end`, hole or not */
    struct queue_entry entries[];
};

/** entry_chunk_new() - an empty one, not frozen; NULL: no memory. Freed with free() */
struct entry_chunk *entry_chunk_new(uint8_t capacity);

/**
 * entry_chunk_grow() - one that takes the place of @chunk, with room for more
 * @chunk: of less than ENTRY_CHUNK entries; moved, but on failure
 *
 * Return: NULL without memory.
 */
struct entry_chunk *entry_chunk_grow(struct entry_chunk *chunk);

/** entry_chunk_clear() - make it empty again; it is not frozen */
void entry_chunk_clear(struct entry_chunk *chunk);

/** entry_chunk_can_freeze() - nobody holds or awaits a message of it, and something is in it */
bool entry_chunk_can_freeze(const struct entry_chunk *chunk);

/**
 * entry_chunk_freeze() - a packed copy of a chunk that can be frozen
 *
 * Return: NULL without memory, or when packing it would gain little: it stays as it is.
 */
struct entry_chunk *entry_chunk_freeze(const struct entry_chunk *chunk);

/** entry_chunk_thaw() - unpack @frozen into @ret_chunk, an empty one; both stay the caller's */
void entry_chunk_thaw(const struct entry_chunk *frozen, struct entry_chunk *ret_chunk);

#endif
