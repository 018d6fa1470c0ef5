/*
 * pack.c - runs of entries and records of messages as octets
 *
 * A run is one queue's entries of one record. Neighbours differ little: the next sequence, the next
 * place in the record, the same size, the same priority, nearly the same expiry. So an entry is an
 * octet of flags and then only what differs from its predecessor, as differences: one octet for
 * most of them. A record keeps the end of each of its messages in a table behind them, so that one
 * message is found without a walk.
 */
#include "store/pack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum {
    ENTRY_SEQUENCE = 1, /* varint: sequences skipped */
    ENTRY_INDEX = 2,    /* zigzag: index - (previous + 1) */
    ENTRY_EXPIRES = 4,  /* zigzag: difference */
    ENTRY_BODY = 8,     /* zigzag: difference */
    ENTRY_PRIORITY = 16 /* one octet, its new value */
};
#define ENTRY_KNOWN_FLAGS 31u

static uint64_t zigzag(uint64_t difference)
{
    return (difference << 1) ^ (uint64_t)((int64_t)difference >> 63);
}

static uint64_t unzigzag(uint64_t packed)
{
    return (packed >> 1) ^ (0 - (packed & 1));
}

bool store_unpack_varint(struct amqp_bytes *from, uint64_t *ret_value)
{
    uint64_t value = 0;
    unsigned shift;

    for (shift = 0; shift < 64 && from->size > 0; shift += 7) {
        uint8_t octet = *from->data;

        from->data++;
        from->size--;
        if (shift == 63 && octet > 1)
            return false;
        value |= (uint64_t)(octet & 0x7f) << shift;
        if (octet < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

void store_run_packer_start(struct store_run_packer *packer, uint64_t first)
{
    packer->size = 0;
    /* "index -1": the first message of a record then differs by nothing from what was before it */
    packer->previous = (struct store_entry){ .sequence = first - 1, .location = UINT64_MAX };
}

int store_run_packer_reserve(struct store_run_packer *packer)
{
    size_t capacity = packer->capacity ? packer->capacity * 2 : 2 * STORE_ENTRY_MAX_BYTES;
    uint8_t *data;

    if (LIKELY(packer->capacity - packer->size >= STORE_ENTRY_MAX_BYTES))
        return 0;
    data = realloc(packer->data, capacity);
    if (!data)
        return -ENOMEM;
    packer->data = data;
    packer->capacity = capacity;
    return 0;
}

void store_run_packer_add(struct store_run_packer *packer, const struct store_entry *entry)
{
    const struct store_entry *previous = &packer->previous;
    uint64_t skipped = entry->sequence - previous->sequence - 1;
    uint16_t moved = (uint16_t)(entry->location - previous->location - 1);
    uint8_t *start = packer->data + packer->size;
    uint8_t *at = start + 1;
    uint8_t flags = 0;

    assert(packer->capacity - packer->size >= STORE_ENTRY_MAX_BYTES);
    if (skipped) {
        flags |= ENTRY_SEQUENCE;
        at += store_pack_varint(at, skipped);
    }
    if (moved) {
        flags |= ENTRY_INDEX;
        at += store_pack_varint(at, zigzag((uint64_t)(int64_t)(int16_t)moved));
    }
    if (entry->expires_ms != previous->expires_ms) {
        flags |= ENTRY_EXPIRES;
        at += store_pack_varint(at, zigzag(entry->expires_ms - previous->expires_ms));
    }
    if (entry->body_bytes != previous->body_bytes) {
        flags |= ENTRY_BODY;
        at += store_pack_varint(at, zigzag((uint64_t)entry->body_bytes - previous->body_bytes));
    }
    if (entry->priority != previous->priority) {
        flags |= ENTRY_PRIORITY;
        *at++ = entry->priority;
    }
    *start = flags;
    packer->size = (size_t)(at - packer->data);
    packer->previous = *entry;
}

size_t store_run_pack_head(uint8_t *to, uint64_t record, unsigned count)
{
    size_t n = store_pack_varint(to, record);

    return n + store_pack_varint(to + n, count);
}

int store_run_reader_init(struct store_run_reader *reader, uint64_t queue_id, uint64_t first,
                          struct amqp_bytes value)
{
    uint64_t count;

    *reader = (struct store_run_reader){ .rest = value };
    if (!store_unpack_varint(&reader->rest, &reader->record) ||
        !store_unpack_varint(&reader->rest, &count))
        return -EBADMSG;
    if (count == 0 || count > STORE_RUN_SPAN || reader->record >> 48 != 0 || first == 0)
        return -EBADMSG;
    reader->left = (uint32_t)count;
    reader->entry.queue_id = queue_id;
    reader->entry.sequence = first - 1;
    reader->entry.location = UINT64_MAX;
    return 0;
}

/* The fields of one entry that are there, each added to what the entry before had. */
static bool run_unpack_fields(struct store_run_reader *reader, uint8_t flags)
{
    struct store_entry *entry = &reader->entry;
    uint64_t skipped = 0;
    uint64_t moved = 0;
    uint64_t expires = 0;
    uint64_t body = 0;

    if (((flags & ENTRY_SEQUENCE) && !store_unpack_varint(&reader->rest, &skipped)) ||
        ((flags & ENTRY_INDEX) && !store_unpack_varint(&reader->rest, &moved)) ||
        ((flags & ENTRY_EXPIRES) && !store_unpack_varint(&reader->rest, &expires)) ||
        ((flags & ENTRY_BODY) && !store_unpack_varint(&reader->rest, &body)))
        return false;
    if (flags & ENTRY_PRIORITY) {
        if (reader->rest.size == 0)
            return false;
        entry->priority = *reader->rest.data;
        reader->rest.data++;
        reader->rest.size--;
    }
    if (skipped >= STORE_RUN_SPAN)
        return false;
    entry->sequence += skipped + 1;
    entry->location = reader->record << 16 |
                      (uint16_t)(entry->location + 1 + unzigzag(moved));
    entry->expires_ms += unzigzag(expires);
    entry->body_bytes = (uint32_t)(entry->body_bytes + unzigzag(body));
    return true;
}

int store_run_next(struct store_run_reader *reader)
{
    uint8_t flags;

    if (reader->left == 0)
        return reader->rest.size == 0 ? 0 : -EBADMSG;
    if (reader->rest.size == 0)
        return -EBADMSG;
    flags = *reader->rest.data;
    reader->rest.data++;
    reader->rest.size--;
    if (flags & ~ENTRY_KNOWN_FLAGS)
        return -EBADMSG;
    if (!run_unpack_fields(reader, flags))
        return -EBADMSG;
    reader->left--;
    return 1;
}

static uint32_t get_u32le(const uint8_t *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof value);
    return le32toh(value);
}

int store_record_message(struct amqp_bytes record, uint32_t index, struct amqp_bytes *ret_message)
{
    const uint8_t *table;
    size_t count;
    size_t start;
    size_t end;

    if (record.size < 4)
        return -EBADMSG;
    count = get_u32le(record.data + record.size - 4);
    if (index >= count || count > (record.size - 4) / 4)
        return -EBADMSG;
    table = record.data + record.size - 4 - 4 * count;
    start = index ? get_u32le(table + 4 * (size_t)(index - 1)) : 0;
    end = get_u32le(table + 4 * (size_t)index);
    if (start > end || end > (size_t)(table - record.data))
        return -EBADMSG;
    *ret_message = (struct amqp_bytes){ record.data + start, end - start };
    return 0;
}
