/*
 * queue_entries.c - a deque of chunks for what comes; returned_entries.h has what comes back
 *
 * Invariants of the ring: chunks in the directory are not empty (live > 0), but for one that may
 * be kept alone and empty, so that a queue that hovers around empty does not allocate for each
 * message; within a chunk the places from `first` to `end` hold growing sequences, and so do the
 * chunks in order; the place at `first` is never a hole; only a chunk that is alone may have fewer
 * places than others.
 *
 * The head is never frozen; what lies between it and the tail is frozen when the tail moves on, if
 * it can be, and a frozen one that becomes the tail is full. The head has to be there without fail,
 * so a chunk's memory is kept aside (`spare`) as long as anything is frozen: the next head is
 * unpacked into it, and the old head becomes the spare.
 */
#include "broker/queue_entries.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void queue_entries_init(struct queue_entries *entries)
{
    *entries = (struct queue_entries){ 0 };
}

static struct entry_chunk **slot(const struct queue_entries *entries, uint32_t index)
{
    return &entries->chunks[(entries->chunk_first + index) & (entries->chunk_capacity - 1)];
}

static struct entry_chunk *head_chunk(const struct queue_entries *entries)
{
    return *slot(entries, 0);
}

static struct entry_chunk *tail_chunk(const struct queue_entries *entries)
{
    return *slot(entries, entries->chunk_count - 1);
}

void queue_entries_release(struct queue_entries *entries)
{
    assert(queue_entries_count(entries) == 0);
    for (uint32_t i = 0; i < entries->chunk_count; i++)
        free(*slot(entries, i));
    free(entries->spare);
    free(entries->chunks);
    *entries = (struct queue_entries){ 0 };
}

static int grow_directory(struct queue_entries *entries)
{
    uint32_t capacity = entries->chunk_capacity ? entries->chunk_capacity * 2 : 2;
    struct entry_chunk **chunks = malloc(capacity * sizeof(struct entry_chunk *));

    if (!chunks)
        return -ENOMEM;
    for (uint32_t i = 0; i < entries->chunk_count; i++)
        chunks[i] = *slot(entries, i);
    free(entries->chunks);
    entries->chunks = chunks;
    entries->chunk_first = 0;
    entries->chunk_capacity = capacity;
    return 0;
}

/* A chunk that is not used any more is freed, or kept for the next head. */
static void retire_chunk(struct queue_entries *entries, struct entry_chunk *chunk)
{
    if (entries->warm == chunk)
        entries->warm = NULL;
    if (entries->frozen_count && !entries->spare) {
        entry_chunk_clear(chunk);
        entries->spare = chunk;
    } else {
        free(chunk);
    }
}

/* Pack the chunk at @index, if it is in the middle and can be packed. */
static void freeze_at(struct queue_entries *entries, uint32_t index)
{
    struct entry_chunk *chunk = *slot(entries, index);
    struct entry_chunk *frozen;

    if (index == 0 || index + 1 >= entries->chunk_count || !entry_chunk_can_freeze(chunk))
        return;
    frozen = entry_chunk_freeze(chunk);
    if (!frozen)
        return;
    *slot(entries, index) = frozen;
    entries->frozen_count++;
    retire_chunk(entries, chunk);
}

/* A frozen chunk gives way to what is in it. */
static void thaw_into(struct queue_entries *entries, uint32_t index, struct entry_chunk *chunk)
{
    struct entry_chunk *frozen = *slot(entries, index);

    entry_chunk_thaw(frozen, chunk);
    *slot(entries, index) = chunk;
    entries->frozen_count--;
    free(frozen);
    if (entries->frozen_count == 0) {
        free(entries->spare);
        entries->spare = NULL;
    }
}

static void thaw_head(struct queue_entries *entries)
{
    struct entry_chunk *chunk = entries->spare;

    if (!head_chunk(entries)->frozen)
        return;
    assert(chunk);
    entries->spare = NULL;
    thaw_into(entries, 0, chunk);
}

/* The first chunk whose last sequence is not below @sequence; chunk_count if there is none. */
static uint32_t find_chunk(const struct queue_entries *entries, uint64_t sequence)
{
    uint32_t from = 0, to = entries->chunk_count;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        const struct entry_chunk *chunk = *slot(entries, middle);

        if (chunk->last_sequence < sequence)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* A chunk of which entries can be used; the one that was unpacked before it is packed again. */
static struct entry_chunk *chunk_at(struct queue_entries *entries, uint32_t index)
{
    struct entry_chunk *warm = entries->warm;
    struct entry_chunk *chunk = *slot(entries, index);

    if (LIKELY(!chunk->frozen))
        return chunk;
    chunk = entry_chunk_new(ENTRY_CHUNK);
    if (!chunk)
        return NULL;
    thaw_into(entries, index, chunk);
    entries->warm = chunk;
    if (warm)
        freeze_at(entries, find_chunk(entries, warm->last_sequence));
    return chunk;
}

/* The only chunk is full and not yet of full size. */
static int grow_chunk(struct queue_entries *entries)
{
    struct entry_chunk *chunk;

    assert(entries->chunk_count == 1);
    chunk = entry_chunk_grow(tail_chunk(entries));
    if (!chunk)
        return -ENOMEM;
    *slot(entries, 0) = chunk;
    return 0;
}

/* A chunk at the tail with room for one more entry. */
static int make_room(struct queue_entries *entries)
{
    struct entry_chunk *chunk = entries->chunk_count ? tail_chunk(entries) : NULL;

    if (chunk && chunk->end < chunk->capacity)
        return 0;
    if (chunk && chunk->live == 0) {
        entry_chunk_clear(chunk);
        return 0;
    }
    if (chunk && !chunk->frozen && chunk->capacity < ENTRY_CHUNK)
        return grow_chunk(entries);
    if (entries->chunk_count == entries->chunk_capacity && grow_directory(entries))
        return -ENOMEM;
    chunk = entry_chunk_new(entries->chunk_count ? ENTRY_CHUNK : ENTRY_CHUNK_FIRST);
    if (!chunk)
        return -ENOMEM;
    *slot(entries, entries->chunk_count++) = chunk;
    if (entries->chunk_count > 2)
        freeze_at(entries, entries->chunk_count - 2);
    return 0;
}

int queue_entries_push(struct queue_entries *entries, const struct queue_entry *entry)
{
    struct entry_chunk *chunk;
    int rc = make_room(entries);

    if (rc)
        return rc;
    chunk = tail_chunk(entries);
    chunk->entries[chunk->end++] = *entry;
    chunk->last_sequence = entry->sequence;
    chunk->live++;
    entries->ring_count++;
    return 0;
}

struct queue_entry *queue_entries_ring_first(const struct queue_entries *entries)
{
    struct entry_chunk *chunk;

    if (entries->ring_count == 0)
        return NULL;
    chunk = head_chunk(entries);
    return &chunk->entries[chunk->first];
}

/* An empty chunk leaves the directory, unless it is the only one. */
static void drop_chunk(struct queue_entries *entries, uint32_t index)
{
    struct entry_chunk *chunk = *slot(entries, index);

    assert(chunk->live == 0);
    if (entries->chunk_count == 1) {
        entry_chunk_clear(chunk);
        return;
    }
    if (index == 0)
        entries->chunk_first = (entries->chunk_first + 1) & (entries->chunk_capacity - 1);
    else
        for (uint32_t i = index; i + 1 < entries->chunk_count; i++)
            *slot(entries, i) = *slot(entries, i + 1);
    entries->chunk_count--;
    retire_chunk(entries, chunk);
    thaw_head(entries);
}

static void ring_drop_first(struct queue_entries *entries)
{
    struct entry_chunk *chunk = head_chunk(entries);

    entries->ring_count--;
    if (--chunk->live == 0) {
        drop_chunk(entries, 0);
        return;
    }
    do
        chunk->first++;
    while (chunk->entries[chunk->first].flags & ENTRY_HOLE);
}

int queue_entries_put_back(struct queue_entries *entries, const struct queue_entry *entry)
{
    return returned_entries_add(&entries->back, entry);
}

static bool back_is_next(struct queue_entries *entries)
{
    struct queue_entry *first;

    if (LIKELY(entries->back.count == 0))
        return false;
    first = queue_entries_ring_first(entries);
    return !first || returned_entries_first(&entries->back)->sequence < first->sequence;
}

struct queue_entry *queue_entries_first(struct queue_entries *entries)
{
    return back_is_next(entries) ? returned_entries_first(&entries->back)
                                 : queue_entries_ring_first(entries);
}

bool queue_entries_pop(struct queue_entries *entries, struct queue_entry *ret_entry)
{
    struct queue_entry *first;

    if (UNLIKELY(back_is_next(entries))) {
        first = returned_entries_first(&entries->back);
        *ret_entry = *first;
        returned_entries_remove(&entries->back, first);
        return true;
    }
    first = queue_entries_ring_first(entries);
    if (!first)
        return false;
    *ret_entry = *first;
    ring_drop_first(entries);
    return true;
}

static struct queue_entry *chunk_find(struct entry_chunk *chunk, uint64_t sequence)
{
    uint32_t from = chunk->first, to = chunk->end;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        struct queue_entry *entry = &chunk->entries[middle];

        if (entry->sequence == sequence)
            return entry->flags & ENTRY_HOLE ? NULL : entry;
        if (entry->sequence < sequence)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

struct queue_entry *queue_entries_find(struct queue_entries *entries, uint64_t sequence)
{
    uint32_t index;

    if (entries->ring_count) {
        index = find_chunk(entries, sequence);
        if (index < entries->chunk_count) {
            struct entry_chunk *chunk = chunk_at(entries, index);
            struct queue_entry *found = chunk ? chunk_find(chunk, sequence) : NULL;

            if (found)
                return found;
        }
    }
    return returned_entries_find(&entries->back, sequence);
}

void queue_entries_remove(struct queue_entries *entries, struct queue_entry *found,
                          struct queue_entry *ret_entry)
{
    struct entry_chunk *chunk;
    uint32_t index;

    *ret_entry = *found;
    if (entries->back.count && returned_entries_find(&entries->back, found->sequence) == found) {
        returned_entries_remove(&entries->back, found);
        return;
    }
    index = find_chunk(entries, found->sequence);
    chunk = *slot(entries, index);
    if (index == 0 && found == &chunk->entries[chunk->first]) {
        ring_drop_first(entries);
        return;
    }
    found->flags = ENTRY_HOLE;
    entries->ring_count--;
    if (--chunk->live == 0)
        drop_chunk(entries, index);
    else
        while (chunk->entries[chunk->first].flags & ENTRY_HOLE)
            chunk->first++;
}

static struct queue_entry *next_returned(struct queue_entries_walk *walk)
{
    struct queue_entry *entry = returned_entries_next(&walk->entries->back, walk->back_at);

    if (entry)
        walk->back_at = entry->sequence + 1;
    return entry;
}

struct queue_entry *queue_entries_walk_next(struct queue_entries_walk *walk)
{
    struct queue_entries *entries = walk->entries;

    while (entries->ring_count && walk->chunk < entries->chunk_count) {
        struct entry_chunk *chunk = chunk_at(entries, walk->chunk);

        if (!chunk)
            return NULL;
        if (walk->at < chunk->first)
            walk->at = chunk->first;
        while (walk->at < chunk->end) {
            struct queue_entry *entry = &chunk->entries[walk->at++];

            if (!(entry->flags & ENTRY_HOLE))
                return entry;
        }
        walk->chunk++;
        walk->at = 0;
    }
    return next_returned(walk);
}
