/*
 * map.c - open addressing with linear probing and deletion by shifting back
 *
 * Keys are mostly small and consecutive, so they are spread by a multiplication (Fibonacci hashing)
 * whose top bits choose the slot. Deletion moves later members of the cluster back instead of
 * leaving a tombstone: the table of a broker that creates and deletes queues all day stays as fast
 * as on its first day.
 */
#include "store/map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const size_t MAP_MIN_SLOTS = 8;

static size_t map_home(const struct store_map *map, uint64_t key)
{
    uint64_t mixed = key * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t)(mixed >> 32) & (map->n_slots - 1);
}

void store_map_release(struct store_map *map)
{
    free(map->slots);
    *map = (struct store_map){ 0 };
}

struct store_map_slot *store_map_find(const struct store_map *map, uint64_t key)
{
    size_t at;

    if (map->used == 0)
        return NULL;
    for (at = map_home(map, key); map->slots[at].key != 0; at = (at + 1) & (map->n_slots - 1))
        if (map->slots[at].key == key)
            return &map->slots[at];
    return NULL;
}

static void map_place(struct store_map *map, uint64_t key, uint64_t value)
{
    size_t at = map_home(map, key);

    while (map->slots[at].key != 0)
        at = (at + 1) & (map->n_slots - 1);
    map->slots[at] = (struct store_map_slot){ key, value };
    map->used++;
}

static int map_resize(struct store_map *map, size_t n_slots)
{
    struct store_map next = { calloc(n_slots, sizeof *next.slots), n_slots, 0 };
    size_t i;

    if (!next.slots)
        return -ENOMEM;
    for (i = 0; i < map->n_slots; i++)
        if (map->slots[i].key != 0)
            map_place(&next, map->slots[i].key, map->slots[i].value);
    free(map->slots);
    *map = next;
    return 0;
}

int store_map_set(struct store_map *map, uint64_t key, uint64_t value)
{
    struct store_map_slot *slot = store_map_find(map, key);

    assert(key != 0);
    if (slot) {
        slot->value = value;
        return 0;
    }
    if (map->used + 1 > map->n_slots / 4 * 3) {
        int rc = map_resize(map, map->n_slots ? map->n_slots * 2 : MAP_MIN_SLOTS);

        if (rc)
            return rc;
    }
    map_place(map, key, value);
    return 0;
}

void store_map_remove(struct store_map *map, uint64_t key)
{
    struct store_map_slot *slot = store_map_find(map, key);
    size_t mask = map->n_slots - 1;
    size_t hole;
    size_t at;

    if (!slot)
        return;
    hole = (size_t)(slot - map->slots);
    for (at = (hole + 1) & mask; map->slots[at].key != 0; at = (at + 1) & mask) {
        size_t home = map_home(map, map->slots[at].key);

        /* may move into the hole unless its home lies cyclically in (hole, at] */
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole] = (struct store_map_slot){ 0 };
    map->used--;
    /* A failure to shrink is no failure. */
    if (map->n_slots > MAP_MIN_SLOTS && map->used < map->n_slots / 8)
        (void)map_resize(map, map->n_slots / 2);
}
