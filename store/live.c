/*
 * live.c - how many live entries refer to each record
 *
 * Record numbers grow without end while most records die young, so the counters lie in chunks of
 * 256 consecutive numbers that are found by hashing and freed with their last record. Neighbouring
 * calls nearly always mean the same chunk, which is remembered.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "store/store-internal.h"

#define CHUNK_RECORDS 256u

struct live_chunk {
    uint32_t n_live;
    uint32_t entries[CHUNK_RECORDS];
};

static struct live_chunk *live_find(struct store_live *live, uint64_t record)
{
    uint64_t number = record / CHUNK_RECORDS + 1;
    struct store_map_slot *slot;

    if (LIKELY(live->cached_number == number))
        return live->cached;
    slot = store_map_find(&live->chunks, number);
    if (!slot)
        return NULL;
    live->cached_number = number;
    live->cached = (struct live_chunk *)(uintptr_t)slot->value;
    return live->cached;
}

static struct live_chunk *live_obtain(struct store_live *live, uint64_t record)
{
    uint64_t number = record / CHUNK_RECORDS + 1;
    struct live_chunk *chunk = live_find(live, record);

    if (LIKELY(chunk != NULL))
        return chunk;
    chunk = calloc(1, sizeof *chunk);
    if (!chunk)
        return NULL;
    if (store_map_set(&live->chunks, number, (uintptr_t)chunk)) {
        free(chunk);
        return NULL;
    }
    live->cached_number = number;
    live->cached = chunk;
    return chunk;
}

int store_live_add(struct store_live *live, uint64_t record, uint32_t entries)
{
    struct live_chunk *chunk = live_obtain(live, record);
    uint32_t *counter;

    if (!chunk)
        return -ENOMEM;
    counter = &chunk->entries[record % CHUNK_RECORDS];
    if (*counter == 0) {
        chunk->n_live++;
        live->live_records++;
    }
    *counter += entries;
    assert(*counter >= entries);
    return 0;
}

uint32_t store_live_sub(struct store_live *live, uint64_t record, uint32_t entries)
{
    struct live_chunk *chunk = live_find(live, record);
    uint32_t *counter;

    assert(chunk);
    counter = &chunk->entries[record % CHUNK_RECORDS];
    assert(*counter >= entries);
    *counter -= entries;
    if (*counter != 0)
        return *counter;
    live->live_records--;
    if (--chunk->n_live == 0) {
        store_map_remove(&live->chunks, record / CHUNK_RECORDS + 1);
        live->cached_number = 0;
        live->cached = NULL;
        free(chunk);
    }
    return 0;
}

uint32_t store_live_get(struct store_live *live, uint64_t record)
{
    struct live_chunk *chunk = live_find(live, record);

    return chunk ? chunk->entries[record % CHUNK_RECORDS] : 0;
}

void store_live_release(struct store_live *live)
{
    size_t i;

    for (i = 0; i < live->chunks.n_slots; i++)
        if (live->chunks.slots[i].key != 0)
            free((void *)(uintptr_t)live->chunks.slots[i].value);
    store_map_release(&live->chunks);
    *live = (struct store_live){ 0 };
}
