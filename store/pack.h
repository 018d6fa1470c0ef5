/*
 * pack.h - the octets on disk: keys, numbers, runs of entries, records of messages
 *
 * Pure functions over buffers; README.md draws the layouts. What is read is checked, never trusted:
 * a readers' buffer that does not make sense gives -EBADMSG.
 */
#ifndef STORE_PACK_H
#define STORE_PACK_H

#include <endian.h>
#include <sys/types.h>

#include "store/store.h"

/* Sequences from the first to the last of one run, both included; a page of bits is its eighth. */
#define STORE_RUN_SPAN 4096u
#define STORE_PAGE_BYTES (STORE_RUN_SPAN / 8)
/* A longer message is a record of its own. */
#define STORE_LARGE_BYTES 65536u
#define STORE_RECORD_MESSAGES 65535u

enum store_settled_what {
    STORE_SETTLED_MARKS = 0, /* no number: low watermark, delivered mark */
    STORE_SETTLED_PAGE = 1,  /* number = first sequence of the run it belongs to */
    STORE_SETTLED_COUNT = 2, /* number = sequence */
};

#define STORE_KEY_RECORD_BYTES 8
#define STORE_KEY_RUN_BYTES 16
#define STORE_KEY_MARKS_BYTES 9
#define STORE_KEY_SETTLED_BYTES 17

static inline uint64_t store_record_of(uint64_t location)
{
    return location >> 16;
}

static inline uint32_t store_index_of(uint64_t location)
{
    return (uint32_t)(location & 0xffff);
}

static inline void store_put_u64be(uint8_t *to, uint64_t value)
{
    value = htobe64(value);
    memcpy(to, &value, sizeof value);
}

static inline uint64_t store_get_u64be(const uint8_t *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof value);
    return be64toh(value);
}

/** store_pack_varint() - 7 bits an octet, low first; at most 10 octets; returns their number */
static inline size_t store_pack_varint(uint8_t *to, uint64_t value)
{
    size_t n = 0;

    while (value >= 0x80) {
        to[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[n++] = (uint8_t)value;
    return n;
}

/** store_unpack_varint() - false, and @from spoilt, when it is cut short or longer than 64 bits */
bool store_unpack_varint(struct amqp_bytes *from, uint64_t *ret_value);

/** struct store_run_packer - the entries of one run, as far as they are known */
struct store_run_packer {
    struct store_run_packer *next_free;
    uint8_t *data;
    size_t size;
    size_t capacity;
    struct store_entry previous;
};

/* An upper bound of what one entry, and of what the head of a run takes. */
#define STORE_ENTRY_MAX_BYTES 40
#define STORE_RUN_HEAD_MAX_BYTES 21

/** store_run_packer_start() - forget what was packed; the next entry has sequence @first */
void store_run_packer_start(struct store_run_packer *packer, uint64_t first);

/** store_run_packer_reserve() - room for one more entry: 0 or -ENOMEM */
int store_run_packer_reserve(struct store_run_packer *packer);

/** store_run_packer_add() - add an entry, for which there is room */
void store_run_packer_add(struct store_run_packer *packer, const struct store_entry *entry);

/** store_run_pack_head() - what precedes the entries; returns the octets written */
size_t store_run_pack_head(uint8_t *to, uint64_t record, unsigned count);

/** struct store_run_reader - a walk over the entries of a packed run */
struct store_run_reader {
    struct amqp_bytes rest;
    uint64_t record;
    uint32_t left;
    struct store_entry entry; /* the one that store_run_next() found */
};

/** store_run_reader_init() - 0 or -EBADMSG */
int store_run_reader_init(struct store_run_reader *reader, uint64_t queue_id, uint64_t first,
                          struct amqp_bytes value);

/** store_run_next() - 1 with the next in reader->entry; 0 at the end; -EBADMSG */
int store_run_next(struct store_run_reader *reader);

/** store_record_message() - find one message in a packed record: 0 or -EBADMSG */
int store_record_message(struct amqp_bytes record, uint32_t index, struct amqp_bytes *ret_message);

#endif
