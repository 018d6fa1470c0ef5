/*
 * topic_edges.c - see topic_edges.h
 *
 * Linear probing: an edge stands in the first free slot from the one that its hash names, and there
 * is no free slot between the two. A removed edge leaves no mark: those behind it move up. Of eight
 * slots at most five are taken, so that a look-up rarely goes on to the next line of the cache. An
 * emptied table gives its slots back, so that the owner has nothing to release.
 */
#include "broker/topic_edges.h"

#include <assert.h>
#include <stdlib.h>

enum { SLOTS_MIN = 8 };

static struct topic_edge *free_slot(const struct topic_edges *edges, uint32_t hash)
{
    size_t slot = hash & edges->mask;

    while (edges->slots[slot].kind != TOPIC_EDGE_NONE)
        slot = (slot + 1) & edges->mask;
    return &edges->slots[slot];
}

static bool resize(struct topic_edges *edges, size_t n_slots)
{
    struct topic_edges grown = {
        .slots = calloc(n_slots, sizeof *grown.slots), .mask = n_slots - 1, .count = edges->count
    };

    if (!grown.slots)
        return false;
    for (size_t i = 0; edges->slots && i <= edges->mask; i++) {
        if (edges->slots[i].kind != TOPIC_EDGE_NONE)
            *free_slot(&grown, edges->slots[i].hash) = edges->slots[i];
    }
    free(edges->slots);
    *edges = grown;
    return true;
}

bool topic_edges_reserve(struct topic_edges *edges, size_t n)
{
    size_t n_slots = edges->slots ? edges->mask + 1 : SLOTS_MIN;

    if (n == 0)
        return true;
    while (8 * (edges->count + n) > 5 * n_slots)
        n_slots *= 2;
    return (edges->slots && n_slots == edges->mask + 1) || resize(edges, n_slots);
}

void topic_edges_trim(struct topic_edges *edges)
{
    if (edges->count)
        return;
    free(edges->slots);
    *edges = (struct topic_edges){ 0 };
}

struct topic_edge *topic_edges_add(struct topic_edges *edges, uint32_t hash)
{
    struct topic_edge *edge;

    if (!topic_edges_reserve(edges, 1))
        return NULL;
    edges->count++;
    edge = free_slot(edges, hash);
    edge->hash = hash;
    return edge;
}

void topic_edges_remove(struct topic_edges *edges, struct topic_edge *edge)
{
    size_t gap = (size_t)(edge - edges->slots);

    assert(edge->kind != TOPIC_EDGE_NONE);
    for (size_t at = (gap + 1) & edges->mask; edges->slots[at].kind != TOPIC_EDGE_NONE;
         at = (at + 1) & edges->mask) {
        size_t moved = (at - edges->slots[at].hash) & edges->mask; /* from where its hash says */

        if (moved >= ((at - gap) & edges->mask)) {
            edges->slots[gap] = edges->slots[at];
            gap = at;
        }
    }
    edges->slots[gap] = (struct topic_edge){ .kind = TOPIC_EDGE_NONE };
    edges->count--;
    topic_edges_trim(edges);
}
