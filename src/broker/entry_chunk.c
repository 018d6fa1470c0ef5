/*
 * entry_chunk.c - packing and unpacking entries, column by column
 *
 * The format is in entry_chunk.h. It never leaves the process, so what is read was written here:
 * assertions, not checks, guard it.
 */
#include "broker/entry_chunk.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>

enum column {
    COLUMN_SEQUENCE,
    COLUMN_LOCATION,
    COLUMN_EXPIRES,
    COLUMN_BODY,
    COLUMN_REST,
    COLUMNS,
};

enum {
    ENTRY_CHUNK_GROWTH = 4,
    RUN_MAX_BYTES = 2 + 8,
    PACKED_MAX_BYTES = COLUMNS * ENTRY_CHUNK * RUN_MAX_BYTES,
    /* Packing to more than this gains too little for the time that it takes. */
    PACKED_WORTH_BYTES = ENTRY_CHUNK * (int)sizeof(struct queue_entry) * 3 / 4,
    HELD_FLAGS = ENTRY_RESIDENT | ENTRY_FETCHING | ENTRY_LOST,
};

static_assert(ENTRY_CHUNK <= UINT8_MAX, "the length of a run and a capacity are one octet");
static_assert(ENTRY_CHUNK_FIRST * ENTRY_CHUNK_GROWTH * ENTRY_CHUNK_GROWTH == ENTRY_CHUNK,
              "a chunk that grows comes to the size of the others");

struct entry_chunk *entry_chunk_new(uint8_t capacity)
{
    struct entry_chunk *chunk = malloc(sizeof *chunk + capacity * sizeof(struct queue_entry));

    if (chunk)
        *chunk = (struct entry_chunk){ .capacity = capacity };
    return chunk;
}

struct entry_chunk *entry_chunk_grow(struct entry_chunk *chunk)
{
    uint8_t capacity = (uint8_t)(chunk->capacity * ENTRY_CHUNK_GROWTH);

    assert(chunk->capacity < ENTRY_CHUNK);
    assert(!chunk->frozen);
    chunk = realloc(chunk, sizeof *chunk + capacity * sizeof(struct queue_entry));
    if (chunk)
        chunk->capacity = capacity;
    return chunk;
}

void entry_chunk_clear(struct entry_chunk *chunk)
{
    *chunk = (struct entry_chunk){ .capacity = chunk->capacity };
}

bool entry_chunk_can_freeze(const struct entry_chunk *chunk)
{
    if (chunk->frozen || chunk->live == 0)
        return false;
    for (uint32_t i = chunk->first; i < chunk->end; i++)
        if (chunk->entries[i].flags & HELD_FLAGS)
            return false;
    return true;
}

static uint64_t get_column(const struct queue_entry *entry, enum column column)
{
    switch (column) {
    case COLUMN_SEQUENCE:
        return entry->sequence;
    case COLUMN_LOCATION:
        return entry->location;
    case COLUMN_EXPIRES:
        return entry->expires_ms;
    case COLUMN_BODY:
        return entry->body_bytes;
    case COLUMN_REST:
        return (uint64_t)entry->delivery_count << 16 | (uint64_t)entry->priority << 8 |
               entry->flags;
    case COLUMNS:
        break;
    }
    return 0;
}

static void set_column(struct queue_entry *entry, enum column column, uint64_t value)
{
    switch (column) {
    case COLUMN_SEQUENCE:
        entry->sequence = value;
        break;
    case COLUMN_LOCATION:
        entry->location = value;
        break;
    case COLUMN_EXPIRES:
        entry->expires_ms = value;
        break;
    case COLUMN_BODY:
        entry->body_bytes = (uint32_t)value;
        break;
    case COLUMN_REST:
        entry->delivery_count = (uint16_t)(value >> 16);
        entry->priority = (uint8_t)(value >> 8);
        entry->flags = (uint8_t)value;
        break;
    case COLUMNS:
        break;
    }
}

/* Small negative differences become small numbers too. */
static uint64_t zigzag(uint64_t difference)
{
    return difference << 1 ^ (0 - (difference >> 63));
}

static uint64_t unzigzag(uint64_t code)
{
    return code >> 1 ^ (0 - (code & 1));
}

static size_t put_run(uint8_t *to, uint32_t count, uint64_t difference)
{
    uint64_t code = zigzag(difference);
    unsigned width = code ? (64 - (unsigned)__builtin_clzll(code) + 7) / 8 : 0;

    to[0] = (uint8_t)count;
    to[1] = (uint8_t)width;
    code = htole64(code);
    memcpy(to + 2, &code, width);
    return 2 + width;
}

static size_t get_run(const uint8_t *from, uint32_t *ret_count, uint64_t *ret_difference)
{
    uint64_t code = 0;

    assert(from[1] <= sizeof code);
    memcpy(&code, from + 2, from[1]);
    *ret_count = from[0];
    *ret_difference = unzigzag(le64toh(code));
    return (size_t)2 + from[1];
}

static size_t pack_column(const struct entry_chunk *chunk, enum column column, uint8_t *to)
{
    uint64_t previous = 0, difference = 0;
    uint32_t count = 0;
    size_t size = 0;

    for (uint32_t i = chunk->first; i < chunk->end; i++) {
        uint64_t value;

        if (chunk->entries[i].flags & ENTRY_HOLE)
            continue;
        value = get_column(&chunk->entries[i], column);
        if (count > 0 && value - previous != difference) {
            size += put_run(to + size, count, difference);
            count = 0;
        }
        difference = value - previous;
        previous = value;
        count++;
    }
    return size + put_run(to + size, count, difference);
}

static size_t unpack_column(const uint8_t *from, uint32_t live, enum column column,
                            struct queue_entry *ret_entries)
{
    uint64_t value = 0;
    size_t size = 0;
    uint32_t at = 0;

    while (at < live) {
        uint64_t difference;
        uint32_t count;

        size += get_run(from + size, &count, &difference);
        assert(count > 0);
        assert(count <= live - at);
        for (uint32_t end = at + count; at < end; at++) {
            value += difference;
            set_column(&ret_entries[at], column, value);
        }
    }
    return size;
}

struct entry_chunk *entry_chunk_freeze(const struct entry_chunk *chunk)
{
    uint8_t packed[PACKED_MAX_BYTES];
    struct entry_chunk *frozen;
    size_t size = 0;

    assert(!chunk->frozen);
    for (int column = 0; column < COLUMNS; column++)
        size += pack_column(chunk, (enum column)column, packed + size);
    if (size > PACKED_WORTH_BYTES)
        return NULL;
    frozen = malloc(sizeof *frozen + size);
    if (!frozen)
        return NULL;
    *frozen = (struct entry_chunk){ .end = chunk->live,
                                    .live = chunk->live,
                                    .frozen = true,
                                    .last_sequence = chunk->last_sequence };
    memcpy(frozen->entries, packed, size);
    return frozen;
}

void entry_chunk_thaw(const struct entry_chunk *frozen, struct entry_chunk *ret_chunk)
{
    const uint8_t *packed = (const uint8_t *)frozen->entries;
    size_t size = 0;

    assert(frozen->frozen);
    assert(frozen->live <= ret_chunk->capacity);
    *ret_chunk = (struct entry_chunk){ .end = frozen->live,
                                       .live = frozen->live,
                                       .capacity = ret_chunk->capacity,
                                       .last_sequence = frozen->last_sequence };
    for (int column = 0; column < COLUMNS; column++)
        size += unpack_column(packed + size, frozen->live, (enum column)column,
                              ret_chunk->entries);
}
