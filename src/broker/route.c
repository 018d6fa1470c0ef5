/*
 * route.c - see route.h
 *
 * The walk marks what it has seen with the broker's route generation, a number that no earlier walk
 * has had. Exchanges still to be asked stand in a list through themselves; queues are the result.
 *
 * What an exchange remembers is a table with one place for each hash of a key. A key that is not
 * there leaves only its hash in its place; when it comes again before another one did, it takes the
 * place of whoever was there. So a stream of keys that never repeat costs one write each, and only
 * memory that all of them share. The table grows with what it does not know, up to 4096 places.
 */
#include "broker/route.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/broker.h"
#include "broker/hash_table.h"
#include "broker/queue.h"
#include "broker/vhost.h"

enum {
    CACHE_SLOTS_MIN = 64,
    CACHE_SLOTS_MAX = 4096,
    CACHE_ROUTE_DESTINATIONS_MAX = 1024, /* adding more to a route costs more than finding them */
    CACHE_DESTINATIONS_MAX = 262144,     /* of all keys of one exchange: 2 MiB of pointers */
};

/* The destinations of one key, which stands behind them. */
struct cached_route {
    uint32_t n_destinations;
    uint8_t key_bytes;
    struct destination *destinations[];
};

struct cache_slot {
    uint32_t tag;      /* of the route that is here: looked at before the route itself */
    uint32_t newcomer; /* tag of the last key that was not found here */
    struct cached_route *cached;
};

struct route_cache {
    size_t n_slots;   /* a power of two */
    size_t n_unknown; /* keys that were not found, since it has this size */
    size_t n_destinations;
    struct cache_slot slots[];
};

/* --- remembered destinations --- */

static struct amqp_str cached_key(const struct cached_route *cached)
{
    return (struct amqp_str){ (const char *)&cached->destinations[cached->n_destinations],
                              cached->key_bytes };
}

void route_forget(struct exchange *exchange)
{
    struct route_cache *cache = TAKE(exchange->cache);

    if (!cache)
        return;
    for (size_t i = 0; i < cache->n_slots; i++)
        free(cache->slots[i].cached);
    free(cache);
}

/* The upper half of a key's hash; the lower half has chosen the slot. */
static uint32_t hash_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

/* A table with room for one more; NULL without memory. May forget what the old one held. */
static struct route_cache *cache_with_room(struct exchange *exchange, size_t n_destinations)
{
    struct route_cache *cache = exchange->cache;
    size_t n_slots = cache ? cache->n_slots : CACHE_SLOTS_MIN;

    if (cache && cache->n_destinations + n_destinations > CACHE_DESTINATIONS_MAX) {
        route_forget(exchange);
    } else if (cache && cache->n_unknown > n_slots && n_slots < CACHE_SLOTS_MAX) {
        route_forget(exchange);
        n_slots *= 2;
    }
    if (!exchange->cache) {
        exchange->cache = calloc(1, sizeof *cache + n_slots * sizeof cache->slots[0]);
        if (exchange->cache)
            exchange->cache->n_slots = n_slots;
    }
    return exchange->cache;
}

static void cache_drop(struct route_cache *cache, struct cache_slot *slot)
{
    struct cached_route *cached = TAKE(slot->cached);

    if (!cached)
        return;
    cache->n_destinations -= cached->n_destinations;
    free(cached);
}

/* Without memory it is just not remembered. */
static void remember(struct exchange *exchange, struct amqp_str key, uint64_t hash,
                     const struct route *route)
{
    size_t destinations_bytes = route->n_found * sizeof(struct destination *);
    struct cached_route *cached;
    struct route_cache *cache;
    struct cache_slot *slot;

    if (route->n_found > CACHE_ROUTE_DESTINATIONS_MAX || key.size > UINT8_MAX)
        return;
    cache = cache_with_room(exchange, route->n_found);
    if (!cache)
        return;
    slot = &cache->slots[hash & (cache->n_slots - 1)];
    cache->n_unknown++;
    if (slot->newcomer != hash_tag(hash)) {
        slot->newcomer = hash_tag(hash);
        return;
    }
    cached = malloc(sizeof *cached + destinations_bytes + key.size);
    if (!cached)
        return;
    *cached = (struct cached_route){ .n_destinations = (uint32_t)route->n_found,
                                     .key_bytes = (uint8_t)key.size };
    if (destinations_bytes)
        memcpy(cached->destinations, route->found, destinations_bytes);
    if (key.size)
        memcpy((char *)cached->destinations + destinations_bytes, key.data, key.size);
    cache_drop(cache, slot);
    slot->tag = hash_tag(hash);
    slot->cached = cached;
    cache->n_destinations += route->n_found;
}

static const struct cached_route *recall(const struct exchange *exchange, struct amqp_str key,
                                         uint64_t hash)
{
    const struct route_cache *cache = exchange->cache;
    const struct cache_slot *slot;

    if (!cache)
        return NULL;
    slot = &cache->slots[hash & (cache->n_slots - 1)];
    if (!slot->cached || slot->tag != hash_tag(hash) ||
        !amqp_str_equal(cached_key(slot->cached), key))
        return NULL;
    return slot->cached;
}

void route_fetch(struct exchange *exchange, struct amqp_str *keys, size_t n_keys)
{
    size_t n_unknown = 0;

    for (size_t i = 0; i < n_keys; i++) {
        if (!recall(exchange, keys[i], hash_str(0, keys[i])))
            keys[n_unknown++] = keys[i];
    }
    exchange->type->fetch(exchange, keys, n_unknown);
}

/* --- the walk --- */

void route_init(struct route *route)
{
    *route = (struct route){ 0 };
}

void route_release(struct route *route)
{
    free(route->queues);
    free(route->found);
    *route = (struct route){ 0 };
}

/* @array with room for one more element behind @n; NULL without memory: the old one stays. */
static void *with_room(void *array, size_t n, size_t *capacity)
{
    size_t wanted = *capacity ? 2 * *capacity : 16;

    if (n < *capacity)
        return array;
    array = realloc(array, wanted * sizeof(void *));
    if (array)
        *capacity = wanted;
    return array;
}

static void add_pending(struct route *route, struct exchange *exchange)
{
    exchange->destination.visited = route->generation;
    exchange->pending_next = NULL;
    if (route->pending_last)
        route->pending_last->pending_next = exchange;
    else
        route->pending_first = exchange;
    route->pending_last = exchange;
}

static struct exchange *take_pending(struct route *route)
{
    struct exchange *exchange = route->pending_first;

    route->pending_first = exchange->pending_next;
    if (!route->pending_first)
        route->pending_last = NULL;
    return exchange;
}

static int visit(struct route *route, struct destination *destination)
{
    struct queue **queues;

    if (UNLIKELY(destination->deleted))
        return 0; /* its bindings will be gone soon */
    route->matched = true; /* also when it was seen before: no reason for the alternate exchange */
    if (destination->visited == route->generation)
        return 0;
    if (destination->is_exchange) {
        add_pending(route, CONTAINER_OF(destination, struct exchange, destination));
        return 0;
    }
    queues = with_room(route->queues, route->n_queues, &route->capacity);
    if (!queues)
        return -ENOMEM;
    route->queues = queues;
    destination->visited = route->generation;
    route->queues[route->n_queues++] = CONTAINER_OF(destination, struct queue, destination);
    return 0;
}

int route_add(struct route *route, struct destination *destination)
{
    struct destination **found;

    if (!route->collecting)
        return visit(route, destination);
    found = with_room(route->found, route->n_found, &route->found_capacity);
    if (!found)
        return -ENOMEM;
    route->found = found;
    route->found[route->n_found++] = destination;
    return 0;
}

static int visit_all(struct route *route, struct destination *const *destinations, size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n && !rc; i++)
        rc = visit(route, destinations[i]);
    return rc;
}

static int match_remembered(struct route *route, struct exchange *exchange, struct amqp_str key)
{
    uint64_t hash = hash_str(0, key);
    const struct cached_route *cached = recall(exchange, key, hash);
    int rc;

    if (cached)
        return visit_all(route, cached->destinations, cached->n_destinations);
    route->n_found = 0;
    route->collecting = true;
    rc = exchange->type->match(exchange, key, route);
    route->collecting = false;
    if (rc)
        return rc;
    remember(exchange, key, hash, route);
    return visit_all(route, route->found, route->n_found);
}

static int match_default(struct route *route, struct exchange *exchange, struct amqp_str key)
{
    struct queue *queue = vhost_get_queue(exchange->destination.vhost, key);

    return queue ? visit(route, &queue->destination) : 0;
}

static int match_key(struct route *route, struct exchange *exchange, struct amqp_str key)
{
    if (!exchange->type)
        return match_default(route, exchange, key);
    if (exchange->type->by_key && !exchange->type->quick)
        return match_remembered(route, exchange, key);
    return exchange->type->match(exchange, key, route);
}

/* The default exchange as an alternate leads nowhere: RabbitMQ sees no bindings in it. */
static void go_to_alternate(struct route *route, struct exchange *exchange)
{
    struct exchange *alternate =
        vhost_get_exchange(exchange->destination.vhost, exchange->alternate);

    if (alternate && alternate->type && alternate->destination.visited != route->generation)
        add_pending(route, alternate);
}

static int visit_exchange(struct route *route, struct exchange *exchange,
                          const struct amqp_str *keys, size_t n_keys)
{
    int rc = 0;

    if (exchange->type && exchange->type->ignores_key)
        n_keys = 1;
    route->matched = false;
    for (size_t i = 0; i < n_keys && !rc; i++)
        rc = match_key(route, exchange, keys[i]);
    if (!rc && !route->matched && exchange->has_alternate)
        go_to_alternate(route, exchange);
    return rc;
}

int route_message(struct route *route, struct exchange *exchange, const struct amqp_str *keys,
                  size_t n_keys)
{
    int rc = 0;

    route->n_queues = 0;
    route->pending_first = route->pending_last = NULL;
    route->generation = ++exchange->destination.vhost->broker->route_generation;
    add_pending(route, exchange);
    while (route->pending_first && !rc)
        rc = visit_exchange(route, take_pending(route), keys, n_keys);
    return rc;
}
