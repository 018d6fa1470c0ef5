/*
 * unacked.c - a ring of sorted chunks, with holes
 *
 * A chunk has places for UNACKED_CHUNK deliveries. One settled in the middle leaves a hole, which
 * keeps its tag, so that binary search works. Each operation moves the entries of two chunks at
 * most, and pointers to chunks, of which a million deliveries have some 16,000.
 *
 * Invariants: tags grow within a chunk and along the ring; the first and the last used place of a
 * chunk are not holes; no chunk is empty, but for one that is kept alone; only a chunk that is
 * alone may have fewer places than others; two neighbours hold more deliveries together than half
 * a chunk, unless they were the first and second, or last two, at some time: so holes are at most
 * three quarters of the places, plus a few chunks.
 */
#include "broker/unacked.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { UNACKED_CHUNK = 64, UNACKED_CHUNK_FIRST = 4, UNACKED_GROWTH = 4 };

struct unacked_chunk {
    uint8_t first, end; /* places in use, holes included */
    uint8_t live;
    uint8_t capacity;
    struct unacked_delivery at[];
};

static_assert(UNACKED_CHUNK_FIRST * UNACKED_GROWTH * UNACKED_GROWTH == UNACKED_CHUNK,
              "a chunk that grows comes to the size of the others");

void unacked_init(struct unacked *unacked)
{
    *unacked = (struct unacked){ 0 };
}

static struct unacked_chunk **slot(const struct unacked *unacked, uint32_t index)
{
    return &unacked->chunks[(unacked->chunk_first + index) & (unacked->chunk_capacity - 1)];
}

static struct unacked_chunk *chunk_at(const struct unacked *unacked, uint32_t index)
{
    return *slot(unacked, index);
}

void unacked_release(struct unacked *unacked)
{
    assert(unacked->count == 0);
    for (uint32_t i = 0; i < unacked->chunk_count; i++)
        free(chunk_at(unacked, i));
    free(unacked->chunks);
    *unacked = (struct unacked){ 0 };
}

/* --- the ring of chunks --- */

static int directory_reserve(struct unacked *unacked)
{
    uint32_t capacity = unacked->chunk_capacity ? unacked->chunk_capacity * 2 : 1;
    struct unacked_chunk **chunks;

    if (unacked->chunk_count < unacked->chunk_capacity)
        return 0;
    chunks = malloc(capacity * sizeof(struct unacked_chunk *));
    if (!chunks)
        return -ENOMEM;
    for (uint32_t i = 0; i < unacked->chunk_count; i++)
        chunks[i] = chunk_at(unacked, i);
    free(unacked->chunks);
    unacked->chunks = chunks;
    unacked->chunk_first = 0;
    unacked->chunk_capacity = capacity;
    return 0;
}

/* A new, empty chunk at @index. */
static int chunk_insert(struct unacked *unacked, uint32_t index)
{
    uint8_t capacity = unacked->chunk_count ? UNACKED_CHUNK : UNACKED_CHUNK_FIRST;
    struct unacked_chunk *chunk;

    if (directory_reserve(unacked))
        return -ENOMEM;
    chunk = malloc(sizeof *chunk + capacity * sizeof chunk->at[0]);
    if (!chunk)
        return -ENOMEM;
    *chunk = (struct unacked_chunk){ .capacity = capacity };
    for (uint32_t i = unacked->chunk_count; i > index; i--)
        *slot(unacked, i) = chunk_at(unacked, i - 1);
    *slot(unacked, index) = chunk;
    unacked->chunk_count++;
    return 0;
}

static void chunk_drop(struct unacked *unacked, uint32_t index)
{
    struct unacked_chunk *chunk = chunk_at(unacked, index);

    assert(chunk->live == 0);
    if (unacked->chunk_count == 1) {
        chunk->first = chunk->end = 0;
        if (unacked->chunk_capacity > 1)
            unacked_release(unacked); /* a large burst is over */
        return;
    }
    free(chunk);
    if (index == 0)
        unacked->chunk_first = (unacked->chunk_first + 1) & (unacked->chunk_capacity - 1);
    else
        for (uint32_t i = index; i + 1 < unacked->chunk_count; i++)
            *slot(unacked, i) = chunk_at(unacked, i + 1);
    unacked->chunk_count--;
}

/* The only chunk grows to the size of the others. */
static int chunk_grow(struct unacked *unacked)
{
    struct unacked_chunk *chunk = chunk_at(unacked, 0);
    uint8_t capacity = (uint8_t)(chunk->capacity * UNACKED_GROWTH);

    assert(unacked->chunk_count == 1);
    chunk = realloc(chunk, sizeof *chunk + capacity * sizeof chunk->at[0]);
    if (!chunk)
        return -ENOMEM;
    chunk->capacity = capacity;
    *slot(unacked, 0) = chunk;
    return 0;
}

/* --- finding --- */

static uint64_t chunk_last_tag(const struct unacked_chunk *chunk)
{
    return chunk->at[chunk->end - 1].tag;
}

/* The first chunk whose last tag is not below @tag; chunk_count: there is none. */
static uint32_t find_chunk(const struct unacked *unacked, uint64_t tag)
{
    uint32_t from = 0, to = unacked->chunk_count;

    if (unacked->count == 0)
        return unacked->chunk_count;
    if (tag <= chunk_last_tag(chunk_at(unacked, 0)))
        return 0;
    if (to > 1 && tag > chunk_last_tag(chunk_at(unacked, to - 2)))
        from = to - 1;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;

        if (chunk_last_tag(chunk_at(unacked, middle)) < tag)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* The first place of @chunk, hole or not, whose tag is not below @tag. */
static uint8_t find_place(const struct unacked_chunk *chunk, uint64_t tag)
{
    uint8_t from = chunk->first, to = chunk->end;

    while (from < to) {
        uint8_t middle = (uint8_t)(from + (to - from) / 2);

        if (chunk->at[middle].tag < tag)
            from = (uint8_t)(middle + 1);
        else
            to = middle;
    }
    return from;
}

/* Where it is when no tag is missing: the usual case. */
static struct unacked_delivery *guess(struct unacked *unacked, uint64_t tag)
{
    const struct unacked_chunk *first = chunk_at(unacked, 0);
    uint64_t place = tag - first->at[first->first].tag + first->first;
    struct unacked_chunk *chunk;

    if (place / UNACKED_CHUNK >= unacked->chunk_count)
        return NULL;
    chunk = chunk_at(unacked, (uint32_t)(place / UNACKED_CHUNK));
    place %= UNACKED_CHUNK;
    if (place < chunk->first || place >= chunk->end || chunk->at[place].tag != tag)
        return NULL;
    return &chunk->at[place];
}

struct unacked_delivery *unacked_from(struct unacked *unacked, uint64_t tag)
{
    struct unacked_delivery *found = unacked->count ? guess(unacked, tag) : NULL;
    struct unacked_chunk *chunk;
    uint32_t index;
    uint8_t place;

    if (found && found->queue)
        return found;
    index = find_chunk(unacked, tag);
    if (index == unacked->chunk_count)
        return NULL;
    chunk = chunk_at(unacked, index);
    place = find_place(chunk, tag);
    while (!chunk->at[place].queue)
        place++; /* the last place is not a hole */
    return &chunk->at[place];
}

struct unacked_delivery *unacked_before(struct unacked *unacked, uint64_t tag)
{
    struct unacked_delivery *found = unacked->count ? guess(unacked, tag - 1) : NULL;
    struct unacked_chunk *chunk;
    uint32_t index;
    uint8_t place;

    if ((found && found->queue) || unacked->count == 0)
        return found;
    index = find_chunk(unacked, tag);
    if (index < unacked->chunk_count) {
        chunk = chunk_at(unacked, index);
        place = find_place(chunk, tag);
        if (place > chunk->first) {
            do
                place--;
            while (!chunk->at[place].queue); /* the first place is not a hole */
            return &chunk->at[place];
        }
    }
    if (index == 0)
        return NULL;
    chunk = chunk_at(unacked, index - 1);
    return &chunk->at[chunk->end - 1];
}

struct unacked_delivery *unacked_find(struct unacked *unacked, uint64_t tag)
{
    struct unacked_delivery *found = unacked_from(unacked, tag);

    return found && found->tag == tag ? found : NULL;
}

struct unacked_delivery *unacked_first(struct unacked *unacked)
{
    struct unacked_chunk *chunk;

    if (unacked->count == 0)
        return NULL;
    chunk = chunk_at(unacked, 0);
    return &chunk->at[chunk->first];
}

struct unacked_delivery *unacked_last(struct unacked *unacked)
{
    struct unacked_chunk *chunk;

    if (unacked->count == 0)
        return NULL;
    chunk = chunk_at(unacked, unacked->chunk_count - 1);
    return &chunk->at[chunk->end - 1];
}

/* --- changing --- */

/* The deliveries of @chunk, without holes; @to may be its own places. */
static uint8_t copy_live(const struct unacked_chunk *chunk, struct unacked_delivery *to)
{
    uint8_t kept = 0;

    for (uint8_t i = chunk->first; i < chunk->end; i++)
        if (chunk->at[i].queue)
            to[kept++] = chunk->at[i];
    assert(kept == chunk->live);
    return kept;
}

static void chunk_close_holes(struct unacked_chunk *chunk)
{
    chunk->end = copy_live(chunk, chunk->at);
    chunk->first = 0;
}

/* A place at the end of the last chunk. */
static int make_room(struct unacked *unacked)
{
    struct unacked_chunk *chunk =
        unacked->chunk_count ? chunk_at(unacked, unacked->chunk_count - 1) : NULL;

    if (chunk && chunk->end < chunk->capacity)
        return 0;
    if (chunk && unacked->chunk_count == 1 && chunk->live <= chunk->capacity / 2) {
        chunk_close_holes(chunk); /* a small window slides along in one chunk */
        return 0;
    }
    if (chunk && chunk->capacity < UNACKED_CHUNK)
        return chunk_grow(unacked);
    return chunk_insert(unacked, unacked->chunk_count);
}

int unacked_add(struct unacked *unacked, const struct unacked_delivery *delivery)
{
    struct unacked_chunk *chunk;
    int rc = make_room(unacked);

    if (rc)
        return rc;
    chunk = chunk_at(unacked, unacked->chunk_count - 1);
    chunk->at[chunk->end++] = *delivery;
    chunk->live++;
    unacked->count++;
    return 0;
}

/* The deliveries of the chunk after @index join those in it, when they are few. */
static void merge(struct unacked *unacked, uint32_t index)
{
    struct unacked_chunk *chunk, *next;

    if (index + 1 >= unacked->chunk_count)
        return;
    chunk = chunk_at(unacked, index);
    next = chunk_at(unacked, index + 1);
    if (chunk->live + next->live > UNACKED_CHUNK / 2 || chunk->capacity < UNACKED_CHUNK)
        return;
    chunk_close_holes(chunk);
    chunk->end = (uint8_t)(chunk->end + copy_live(next, chunk->at + chunk->end));
    chunk->live = chunk->end;
    next->live = 0;
    chunk_drop(unacked, index + 1);
}

static void trim(struct unacked_chunk *chunk)
{
    while (chunk->first < chunk->end && !chunk->at[chunk->first].queue)
        chunk->first++;
    while (chunk->first < chunk->end && !chunk->at[chunk->end - 1].queue)
        chunk->end--;
}

void unacked_remove(struct unacked *unacked, struct unacked_delivery *delivery)
{
    uint32_t index = find_chunk(unacked, delivery->tag);
    struct unacked_chunk *chunk = chunk_at(unacked, index);

    assert(delivery->queue);
    assert(delivery >= chunk->at && delivery < chunk->at + chunk->end);
    delivery->queue = NULL;
    unacked->count--;
    chunk->live--;
    trim(chunk);
    if (chunk->live == 0) {
        chunk_drop(unacked, index);
        return;
    }
    /* At the ends it is emptied soon: in between it joins a neighbour that has few, too. */
    if (UNLIKELY(chunk->live <= UNACKED_CHUNK / 4 && index > 0)) {
        if (index + 1 < unacked->chunk_count)
            merge(unacked, index);
        merge(unacked, index - 1);
    }
}

/* Two chunks of the full one at @index. */
static int split(struct unacked *unacked, uint32_t index)
{
    struct unacked_chunk *chunk, *next;
    int rc = chunk_insert(unacked, index + 1);

    if (rc)
        return rc;
    chunk = chunk_at(unacked, index);
    next = chunk_at(unacked, index + 1);
    assert(chunk->live == UNACKED_CHUNK);
    memcpy(next->at, chunk->at + UNACKED_CHUNK / 2, UNACKED_CHUNK / 2 * sizeof chunk->at[0]);
    next->end = next->live = UNACKED_CHUNK / 2;
    chunk->end = chunk->live = UNACKED_CHUNK / 2;
    return 0;
}

/* Room for one more in the chunk at @index; where its holes were does not matter any more. */
static int chunk_make_room(struct unacked *unacked, uint32_t index)
{
    struct unacked_chunk *chunk = chunk_at(unacked, index);

    chunk_close_holes(chunk);
    if (chunk->live < chunk->capacity)
        return 0;
    return chunk->capacity < UNACKED_CHUNK ? chunk_grow(unacked) : split(unacked, index);
}

int unacked_insert(struct unacked *unacked, const struct unacked_delivery *delivery)
{
    uint32_t index = find_chunk(unacked, delivery->tag);
    struct unacked_chunk *chunk;
    uint8_t place;
    int rc;

    if (index == unacked->chunk_count)
        return unacked_add(unacked, delivery);
    rc = chunk_make_room(unacked, index);
    if (rc)
        return rc;
    index = find_chunk(unacked, delivery->tag); /* one of two now, perhaps */
    chunk = chunk_at(unacked, index);
    place = find_place(chunk, delivery->tag);
    assert(place == chunk->end || chunk->at[place].tag != delivery->tag);
    memmove(chunk->at + place + 1, chunk->at + place,
            (size_t)(chunk->end - place) * sizeof chunk->at[0]);
    chunk->at[place] = *delivery;
    chunk->end++;
    chunk->live++;
    unacked->count++;
    return 0;
}
