/*
 * hash_table.h - chained hash tables whose links live in their elements
 *
 * For tables with keys of several parts, and with very many elements: the owner computes a 64-bit
 * hash, keeps a struct hash_link in each element and compares keys itself. Adding allocates only
 * when the table grows, and a table that cannot grow only gets slower.
 *
 * Not uthash, because of its size: a UT_hash_handle has 56 octets and a hash_link 16.
 *
 * The buckets cost 16 to 32 octets an element where there are twice as many of them as elements.
 * An owner that has very many elements and asks for few of them per message has fewer buckets.
 */
#ifndef BROKER_HASH_TABLE_H
#define BROKER_HASH_TABLE_H

#include "amqp/base.h"

struct hash_link {
    struct hash_link *next; /* in the same bucket */
    uint64_t hash;
};

/** struct hash_table - starts as all zero but for @fill; holds no memory while it is empty */
struct hash_table {
    struct hash_link **buckets;
    size_t mask;
    uint32_t count;
    uint32_t fill; /* most elements for each bucket; 0: one for two buckets */
};

/** hash_mix() - spread the bits of a number; part of every hash here */
static inline uint64_t hash_mix(uint64_t value)
{
    value ^= value >> 32;
    value *= 0x9e3779b97f4a7c15u;
    value ^= value >> 29;
    value *= 0xbf58476d1ce4e5b9u;
    value ^= value >> 32;
    return value;
}

/** hash_octets() - @seed lets hashes of several parts follow from each other */
uint64_t hash_octets(uint64_t seed, const void *data, size_t size);

static inline uint64_t hash_str(uint64_t seed, struct amqp_str str)
{
    return hash_octets(seed, str.data, str.size);
}

/** hash_table_add() - @link is in no table; 0, or -ENOMEM for the first element only */
int hash_table_add(struct hash_table *table, struct hash_link *link, uint64_t hash);
/** hash_table_remove() - @link is in this table */
void hash_table_remove(struct hash_table *table, struct hash_link *link);

/** hash_link_same() - @link or the first one behind it with this hash; NULL if there is none */
static inline struct hash_link *hash_link_same(struct hash_link *link, uint64_t hash)
{
    while (link && link->hash != hash)
        link = link->next;
    return link;
}

/** hash_table_first(), hash_table_next() - the elements with one hash, in no order */
static inline struct hash_link *hash_table_first(const struct hash_table *table, uint64_t hash)
{
    return table->count ? hash_link_same(table->buckets[hash & table->mask], hash) : NULL;
}

static inline struct hash_link *hash_table_next(const struct hash_link *link)
{
    return hash_link_same(link->next, link->hash);
}

/**
 * hash_table_walk() - visit all elements, in no order
 * @link: the one before, in this table; NULL: begin
 *
 * An element added meanwhile may be visited or not; when the buckets become more (@mask tells),
 * others may be as well.
 *
 * Return: NULL when that was the last one.
 */
struct hash_link *hash_table_walk(const struct hash_table *table, const struct hash_link *link);

#endif
