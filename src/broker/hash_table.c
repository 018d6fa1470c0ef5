/*
 * hash_table.c - see hash_table.h
 *
 * The number of buckets is a power of two, doubled when there are more elements than half of the
 * buckets, unless the owner wants fewer: most look-ups that find nothing then end at an empty
 * bucket, without a visit to another element's cold memory. An emptied table gives its buckets
 * back, so that the owner has nothing to release.
 */
#include "broker/hash_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { BUCKETS_MIN = 8 };

/* Less than eight octets as a number, without a copy whose parts are waited for one by one. */
static inline uint64_t load_short(const uint8_t *at, size_t size)
{
    uint32_t first, last;

    if (size >= sizeof first) {
        memcpy(&first, at, sizeof first);
        memcpy(&last, at + size - sizeof last, sizeof last);
        return first | (uint64_t)last << (8 * (size - sizeof last));
    }
    if (size == 0)
        return 0;
    return at[0] | (uint64_t)at[size / 2] << (8 * (size / 2)) |
           (uint64_t)at[size - 1] << (8 * (size - 1));
}

uint64_t hash_octets(uint64_t seed, const void *data, size_t size)
{
    const uint8_t *at = data;
    uint64_t hash = seed ^ (size * 0x9e3779b97f4a7c15u);
    uint64_t word;

    for (; size >= sizeof word; size -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = hash_mix(hash ^ word);
    }
    return hash_mix(hash ^ load_short(at, size));
}

static bool resize(struct hash_table *table, size_t n_buckets)
{
    struct hash_link **buckets = calloc(n_buckets, sizeof *buckets);

    if (!buckets)
        return false;
    for (size_t i = 0; table->buckets && i <= table->mask; i++) {
        struct hash_link *link = table->buckets[i], *next;

        for (; link; link = next) {
            struct hash_link **bucket = &buckets[link->hash & (n_buckets - 1)];

            next = link->next;
            link->next = *bucket;
            *bucket = link;
        }
    }
    free(table->buckets);
    table->buckets = buckets;
    table->mask = n_buckets - 1;
    return true;
}

static bool is_full(const struct hash_table *table)
{
    if (table->fill)
        return table->count > table->fill * table->mask;
    return (size_t)2 * table->count > table->mask;
}

int hash_table_add(struct hash_table *table, struct hash_link *link, uint64_t hash)
{
    struct hash_link **bucket;

    if (!table->buckets && !resize(table, BUCKETS_MIN))
        return -ENOMEM;
    if (is_full(table))
        (void)resize(table, 2 * (table->mask + 1)); /* else its chains grow longer */
    bucket = &table->buckets[hash & table->mask];
    link->hash = hash;
    link->next = *bucket;
    *bucket = link;
    table->count++;
    return 0;
}

void hash_table_remove(struct hash_table *table, struct hash_link *link)
{
    struct hash_link **at = &table->buckets[link->hash & table->mask];

    while (*at != link) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = link->next;
    if (--table->count == 0) {
        free(table->buckets);
        *table = (struct hash_table){ .fill = table->fill };
    }
}

struct hash_link *hash_table_walk(const struct hash_table *table, const struct hash_link *link)
{
    size_t bucket = link ? (link->hash & table->mask) + 1 : 0;

    if (link && link->next)
        return link->next;
    for (; table->buckets && bucket <= table->mask; bucket++)
        if (table->buckets[bucket])
            return table->buckets[bucket];
    return NULL;
}
