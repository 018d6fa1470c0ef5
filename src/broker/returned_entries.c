/*
 * returned_entries.c - a ring of sorted chunks without holes
 *
 * Invariants: sequences grow within a chunk and along the ring; no chunk is empty; with no entry
 * there is no memory.
 */
#include "broker/returned_entries.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { RETURNED_CHUNK = 64 };

struct returned_chunk {
    uint8_t first, end; /* places in use */
    struct queue_entry at[RETURNED_CHUNK];
};

static struct returned_chunk **slot(const struct returned_entries *back, uint32_t index)
{
    return &back->chunks[(back->chunk_first + index) & (back->chunk_capacity - 1)];
}

static struct returned_chunk *chunk_at(const struct returned_entries *back, uint32_t index)
{
    return *slot(back, index);
}

static unsigned live(const struct returned_chunk *chunk)
{
    return (unsigned)(chunk->end - chunk->first);
}

static uint64_t last_sequence(const struct returned_chunk *chunk)
{
    return chunk->at[chunk->end - 1].sequence;
}

static int directory_reserve(struct returned_entries *back)
{
    uint32_t capacity = back->chunk_capacity ? back->chunk_capacity * 2 : 1;
    struct returned_chunk **chunks;

    if (back->chunk_count < back->chunk_capacity)
        return 0;
    chunks = malloc(capacity * sizeof(struct returned_chunk *));
    if (!chunks)
        return -ENOMEM;
    for (uint32_t i = 0; i < back->chunk_count; i++)
        chunks[i] = chunk_at(back, i);
    free(back->chunks);
    back->chunks = chunks;
    back->chunk_first = 0;
    back->chunk_capacity = capacity;
    return 0;
}

/* An empty chunk at @index, whose places are used from @first on. */
static int chunk_insert(struct returned_entries *back, uint32_t index, uint8_t first)
{
    struct returned_chunk *chunk;

    if (directory_reserve(back))
        return -ENOMEM;
    chunk = malloc(sizeof *chunk);
    if (!chunk)
        return -ENOMEM;
    chunk->first = chunk->end = first;
    if (index == 0)
        back->chunk_first = (back->chunk_first - 1) & (back->chunk_capacity - 1);
    back->chunk_count++;
    if (index)
        for (uint32_t i = back->chunk_count - 1; i > index; i--)
            *slot(back, i) = chunk_at(back, i - 1);
    *slot(back, index) = chunk;
    return 0;
}

static void chunk_drop(struct returned_entries *back, uint32_t index)
{
    free(chunk_at(back, index));
    if (index == 0)
        back->chunk_first = (back->chunk_first + 1) & (back->chunk_capacity - 1);
    else
        for (uint32_t i = index; i + 1 < back->chunk_count; i++)
            *slot(back, i) = chunk_at(back, i + 1);
    if (--back->chunk_count == 0) {
        free(back->chunks); /* requeues are bursts: an idle queue keeps nothing for them */
        *back = (struct returned_entries){ 0 };
    }
}

/* The first chunk whose last sequence is not below @sequence; chunk_count: there is none. */
static uint32_t find_chunk(const struct returned_entries *back, uint64_t sequence)
{
    uint32_t from = 0, to = back->chunk_count;

    if (to && sequence <= last_sequence(chunk_at(back, 0)))
        return 0;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;

        if (last_sequence(chunk_at(back, middle)) < sequence)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static uint8_t find_place(const struct returned_chunk *chunk, uint64_t sequence)
{
    uint8_t from = chunk->first, to = chunk->end;

    while (from < to) {
        uint8_t middle = (uint8_t)(from + (to - from) / 2);

        if (chunk->at[middle].sequence < sequence)
            from = (uint8_t)(middle + 1);
        else
            to = middle;
    }
    return from;
}

/* Two chunks of the full one at @index. */
static int split(struct returned_entries *back, uint32_t index)
{
    struct returned_chunk *chunk, *next;
    int rc = chunk_insert(back, index + 1, 0);

    if (rc)
        return rc;
    chunk = chunk_at(back, index);
    next = chunk_at(back, index + 1);
    memcpy(next->at, chunk->at + RETURNED_CHUNK / 2, RETURNED_CHUNK / 2 * sizeof chunk->at[0]);
    next->end = RETURNED_CHUNK / 2;
    chunk->end = RETURNED_CHUNK / 2;
    return 0;
}

/* Into a chunk that is not full: by moving what is before the place, or what is behind it. */
static void place_entry(struct returned_chunk *chunk, const struct queue_entry *entry)
{
    uint8_t place = find_place(chunk, entry->sequence);

    assert(live(chunk) < RETURNED_CHUNK);
    assert(place == chunk->end || chunk->at[place].sequence != entry->sequence);
    if (chunk->end == RETURNED_CHUNK || (chunk->first && place == chunk->first)) {
        memmove(chunk->at + chunk->first - 1, chunk->at + chunk->first,
                (size_t)(place - chunk->first) * sizeof chunk->at[0]);
        chunk->first--;
        place--;
    } else {
        memmove(chunk->at + place + 1, chunk->at + place,
                (size_t)(chunk->end - place) * sizeof chunk->at[0]);
        chunk->end++;
    }
    chunk->at[place] = *entry;
}

int returned_entries_add(struct returned_entries *back, const struct queue_entry *entry)
{
    uint32_t index = find_chunk(back, entry->sequence);
    struct returned_chunk *chunk;
    int rc = 0;

    if (index == back->chunk_count && index)
        index--; /* behind all others */
    chunk = back->chunk_count ? chunk_at(back, index) : NULL;
    if (!chunk) {
        rc = chunk_insert(back, 0, RETURNED_CHUNK);
    } else if (live(chunk) == RETURNED_CHUNK) {
        if (entry->sequence > last_sequence(chunk))
            rc = chunk_insert(back, ++index, 0);
        else if (index == 0 && entry->sequence < chunk->at[chunk->first].sequence)
            rc = chunk_insert(back, 0, RETURNED_CHUNK);
        else
            rc = split(back, index);
        chunk = chunk_at(back, index);
        if (!rc && live(chunk) && entry->sequence > last_sequence(chunk))
            index++; /* into the second half */
    }
    if (rc)
        return rc;
    place_entry(chunk_at(back, index), entry);
    back->count++;
    return 0;
}

struct queue_entry *returned_entries_first(const struct returned_entries *back)
{
    struct returned_chunk *chunk;

    if (back->count == 0)
        return NULL;
    chunk = chunk_at(back, 0);
    return &chunk->at[chunk->first];
}

struct queue_entry *returned_entries_next(const struct returned_entries *back, uint64_t sequence)
{
    uint32_t index = find_chunk(back, sequence);
    struct returned_chunk *chunk;

    if (index == back->chunk_count)
        return NULL;
    chunk = chunk_at(back, index);
    return &chunk->at[find_place(chunk, sequence)];
}

struct queue_entry *returned_entries_find(const struct returned_entries *back, uint64_t sequence)
{
    struct queue_entry *found = returned_entries_next(back, sequence);

    return found && found->sequence == sequence ? found : NULL;
}

/* The entries of the chunk after @index join those in it, when they are few. */
static void merge(struct returned_entries *back, uint32_t index)
{
    struct returned_chunk *chunk, *next;

    if (index + 1 >= back->chunk_count)
        return;
    chunk = chunk_at(back, index);
    next = chunk_at(back, index + 1);
    if (live(chunk) + live(next) > RETURNED_CHUNK / 2)
        return;
    memmove(chunk->at, chunk->at + chunk->first, live(chunk) * sizeof chunk->at[0]);
    chunk->end = (uint8_t)live(chunk);
    chunk->first = 0;
    memcpy(chunk->at + chunk->end, next->at + next->first, live(next) * sizeof chunk->at[0]);
    chunk->end = (uint8_t)(chunk->end + live(next));
    chunk_drop(back, index + 1);
}

void returned_entries_remove(struct returned_entries *back, const struct queue_entry *found)
{
    uint32_t index = find_chunk(back, found->sequence);
    struct returned_chunk *chunk = chunk_at(back, index);
    uint8_t place = (uint8_t)(found - chunk->at);

    assert(place >= chunk->first && place < chunk->end);
    if (place == chunk->first) {
        chunk->first++;
    } else {
        memmove(chunk->at + place, chunk->at + place + 1,
                (size_t)(chunk->end - place - 1) * sizeof chunk->at[0]);
        chunk->end--;
    }
    back->count--;
    if (live(chunk) == 0) {
        chunk_drop(back, index);
    } else if (live(chunk) <= RETURNED_CHUNK / 4 && index > 0) {
        merge(back, index);
        merge(back, index - 1);
    }
}
