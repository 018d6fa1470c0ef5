/*
 * map.h - a hash table from one non-zero 64-bit number to another
 *
 * The store looks up a queue, a chunk of counters or a delivery count for nearly every message, so
 * this is open addressing over one array: no node per key, a hit is one or two cache lines. It
 * costs 16 octets per slot and is between a quarter and three quarters full. Pointers are kept as
 * uintptr_t. Order of iteration is a function of the keys and their history, so it is repeatable.
 */
#ifndef STORE_MAP_H
#define STORE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_map_slot {
    uint64_t key; /* 0: empty */
    uint64_t value;
};

/** struct store_map - all zero is an empty map */
struct store_map {
    struct store_map_slot *slots;
    size_t n_slots; /* 0 or a power of two */
    size_t used;
};

/** store_map_release() - free the memory of the map, which is empty and usable afterwards */
void store_map_release(struct store_map *map);

/** store_map_find() - the slot of a key, or NULL; valid until the next change */
struct store_map_slot *store_map_find(const struct store_map *map, uint64_t key);

/**
 * store_map_set() - insert or replace
 * @key: not 0
 *
 * Return: 0; -ENOMEM with the map unchanged (never when the key is there already).
 */
int store_map_set(struct store_map *map, uint64_t key, uint64_t value);

/** store_map_remove() - forget a key; nothing happens when it is not there */
void store_map_remove(struct store_map *map, uint64_t key);

#endif
