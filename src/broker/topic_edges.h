/*
 * topic_edges.h - the literal edges of a topic exchange's trie, all in one hash table
 *
 * An open table: where an edge leads stands next to its hash, so that finding one takes one line of
 * the cache, and finding none does too. Edges move when others come and go: a pointer to one is
 * good until the next topic_edges_add() or topic_edges_remove(), and the former moves none within
 * what was reserved.
 */
#ifndef BROKER_TOPIC_EDGES_H
#define BROKER_TOPIC_EDGES_H

#include "amqp/base.h"

struct binding;
struct topic_node;

enum topic_edge_kind { TOPIC_EDGE_NONE, TOPIC_EDGE_LEAF, TOPIC_EDGE_NODE };

struct topic_edge {
    uint32_t hash;
    enum topic_edge_kind kind;
    union {
        struct binding *leaf; /* bindings of one key: list by next_same */
        struct topic_node *node;
    };
};

/** struct topic_edges - starts as all zero; holds no memory while it is empty and not reserved */
struct topic_edges {
    struct topic_edge *slots;
    size_t mask;
    size_t count;
};

/**
 * topic_edges_reserve() - room for @n more: adding them moves none; false on allocation failure
 *
 * A caller that then adds none of them calls topic_edges_trim(), as only removing the last edge
 * frees an empty table.
 */
bool topic_edges_reserve(struct topic_edges *edges, size_t n);
/** topic_edges_trim() - free the slots of an empty table; does nothing to one that is not empty */
void topic_edges_trim(struct topic_edges *edges);
/** topic_edges_add() - one with @hash, to be filled at once by the caller; NULL without memory */
struct topic_edge *topic_edges_add(struct topic_edges *edges, uint32_t hash);
/** topic_edges_remove() - @edge is of this table */
void topic_edges_remove(struct topic_edges *edges, struct topic_edge *edge);

/** topic_edges_from() - @slot or the first edge behind it with @hash; NULL if there is none */
static inline struct topic_edge *topic_edges_from(const struct topic_edges *edges, size_t slot,
                                                  uint32_t hash)
{
    for (;; slot++) {
        struct topic_edge *edge = &edges->slots[slot & edges->mask];

        if (edge->kind == TOPIC_EDGE_NONE)
            return NULL;
        if (edge->hash == hash)
            return edge;
    }
}

/** topic_edges_first(), topic_edges_next() - the edges with one hash, in no order */
static inline struct topic_edge *topic_edges_first(const struct topic_edges *edges, uint32_t hash)
{
    return edges->count ? topic_edges_from(edges, hash, hash) : NULL;
}

static inline struct topic_edge *topic_edges_next(const struct topic_edges *edges,
                                                  const struct topic_edge *edge)
{
    return topic_edges_from(edges, (size_t)(edge - edges->slots) + 1, edge->hash);
}

/** topic_edges_fetch() - begin to bring into the processor's cache what topic_edges_first() reads */
static inline void topic_edges_fetch(const struct topic_edges *edges, uint32_t hash)
{
    __builtin_prefetch(&edges->slots[hash & edges->mask]);
}

#endif
