/*
 * unacked.c - a sorted ring of deliveries, with holes
 *
 * Invariants: `first` is never a hole unless the ring is empty, nor is the last used place; tags
 * grow along the ring (holes keep theirs, so that binary search works); holes are at most half of
 * the used places plus a few.
 */
#include "broker/unacked.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { UNACKED_FIRST_CAPACITY = 8, UNACKED_HOLES_ALLOWED = 64 };

void unacked_init(struct unacked *unacked)
{
    *unacked = (struct unacked){ 0 };
}

void unacked_release(struct unacked *unacked)
{
    assert(unacked->count == 0);
    free(unacked->ring);
    *unacked = (struct unacked){ 0 };
}

static int grow(struct unacked *unacked)
{
    uint32_t capacity = unacked->capacity ? unacked->capacity * 2 : UNACKED_FIRST_CAPACITY;
    struct unacked_delivery *ring = malloc(capacity * sizeof *ring);

    if (!ring)
        return -ENOMEM;
    for (uint32_t i = 0; i < unacked->used; i++)
        ring[i] = *unacked_at(unacked, i);
    free(unacked->ring);
    unacked->ring = ring;
    unacked->first = 0;
    unacked->capacity = capacity;
    return 0;
}

int unacked_add(struct unacked *unacked, const struct unacked_delivery *delivery)
{
    if (unacked->used == unacked->capacity) {
        int rc = grow(unacked);

        if (rc)
            return rc;
    }
    *unacked_at(unacked, unacked->used++) = *delivery;
    unacked->count++;
    return 0;
}

/* The first index whose tag is not below @tag. */
static uint32_t lower_bound(const struct unacked *unacked, uint64_t tag)
{
    uint32_t from = 0, to = unacked->used;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;

        if (unacked_at(unacked, middle)->tag < tag)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct unacked_delivery *unacked_find(struct unacked *unacked, uint64_t tag)
{
    struct unacked_delivery *found;
    uint64_t guess;

    if (unacked->count == 0 || tag < unacked_at(unacked, 0)->tag)
        return NULL;
    guess = tag - unacked_at(unacked, 0)->tag;
    if (guess >= unacked->used || unacked_at(unacked, (uint32_t)guess)->tag != tag)
        guess = lower_bound(unacked, tag);
    if (guess == unacked->used)
        return NULL;
    found = unacked_at(unacked, (uint32_t)guess);
    return found->tag == tag && found->queue ? found : NULL;
}

struct unacked_delivery *unacked_first(struct unacked *unacked)
{
    return unacked->count ? unacked_at(unacked, 0) : NULL;
}

struct unacked_delivery *unacked_last(struct unacked *unacked)
{
    return unacked->count ? unacked_at(unacked, unacked->used - 1) : NULL;
}

static void close_holes(struct unacked *unacked)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < unacked->used; i++) {
        struct unacked_delivery *delivery = unacked_at(unacked, i);

        if (delivery->queue)
            *unacked_at(unacked, kept++) = *delivery;
    }
    unacked->used = kept;
    assert(unacked->used == unacked->count);
}

static void trim(struct unacked *unacked)
{
    while (unacked->used && !unacked_at(unacked, 0)->queue) {
        unacked->first = (unacked->first + 1) & (unacked->capacity - 1);
        unacked->used--;
    }
    while (unacked->used && !unacked_at(unacked, unacked->used - 1)->queue)
        unacked->used--;
}

void unacked_remove(struct unacked *unacked, struct unacked_delivery *delivery)
{
    assert(delivery->queue);
    delivery->queue = NULL;
    unacked->count--;
    trim(unacked);
    if (UNLIKELY(unacked->used - unacked->count > unacked->count + UNACKED_HOLES_ALLOWED))
        close_holes(unacked);
    if (unacked->count == 0 && unacked->capacity > 4096) {
        free(unacked->ring); /* a large burst is over */
        *unacked = (struct unacked){ 0 };
    }
}

int unacked_insert(struct unacked *unacked, const struct unacked_delivery *delivery)
{
    uint32_t at = lower_bound(unacked, delivery->tag);

    if (at < unacked->used && unacked_at(unacked, at)->tag == delivery->tag) {
        assert(!unacked_at(unacked, at)->queue);
        *unacked_at(unacked, at) = *delivery; /* its own hole is still there */
        unacked->count++;
        return 0;
    }
    if (unacked->used == unacked->capacity) {
        int rc = grow(unacked);

        if (rc)
            return rc;
    }
    for (uint32_t i = unacked->used; i > at; i--)
        *unacked_at(unacked, i) = *unacked_at(unacked, i - 1);
    *unacked_at(unacked, at) = *delivery;
    unacked->used++;
    unacked->count++;
    return 0;
}
