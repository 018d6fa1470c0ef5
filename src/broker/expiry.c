/*
 * expiry.c - the heap of messages that are out of step with their queue
 *
 * A record is true when ready_find() finds its place and the entry there has ENTRY_TIMED and the
 * same time; a message that was delivered and came back has a new record, and the old one is
 * recognised by the flag having been counted as stale: whichever of two equal records comes up
 * first takes the message, the other then finds nothing.
 */
#include "broker/expiry.h"

#include <errno.h>
#include <stdlib.h>

enum { EXPIRY_FIRST_CAPACITY = 32, EXPIRY_STALE_ALLOWED = 64, EXPIRY_STALE_STEPS = 4096 };

void expiry_init(struct expiry *expiry)
{
    *expiry = (struct expiry){ 0 };
}

void expiry_release(struct expiry *expiry)
{
    free(expiry->order);
    *expiry = (struct expiry){ 0 };
}

static bool earlier(const struct expiry_record *a, const struct expiry_record *b)
{
    return a->expires_ms < b->expires_ms ||
           (a->expires_ms == b->expires_ms && a->place < b->place);
}

static void sift_down(struct expiry_record *heap, uint32_t at, uint32_t count)
{
    struct expiry_record moving = heap[at];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= count)
            break;
        if (child + 1 < count && earlier(&heap[child + 1], &heap[child]))
            child++;
        if (!earlier(&heap[child], &moving))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static void sift_up(struct expiry_record *heap, uint32_t at)
{
    struct expiry_record moving = heap[at];

    while (at > 0 && earlier(&moving, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moving;
}

static int add(struct expiry *expiry, const struct queue_entry *entry)
{
    struct expiry_order *order = expiry->order;

    if (!order || order->count == order->capacity) {
        uint32_t capacity = order ? order->capacity * 2 : EXPIRY_FIRST_CAPACITY;

        order = realloc(order, sizeof *order + capacity * sizeof order->heap[0]);
        if (!order)
            return -ENOMEM;
        if (!expiry->order)
            order->count = order->stale = order->sweep = 0;
        order->capacity = capacity;
        expiry->order = order;
    }
    order->heap[order->count] =
        (struct expiry_record){ entry->expires_ms, entry->sequence << 8 | entry->priority };
    sift_up(order->heap, order->count++);
    return 0;
}

/* The latest time, when a message with or without one (EXPIRY_NEVER) comes after the others. */
static uint64_t latest_with(const struct expiry *expiry, uint64_t expires_ms)
{
    if (expires_ms != EXPIRY_NEVER || expiry->latest_ms == 0 || expiry->latest_ms == EXPIRY_NEVER)
        return expires_ms;
    return EXPIRY_NEVER_AFTER_TIMES;
}

int expiry_admit(struct expiry *expiry, struct queue_entry *entry, bool alone, bool ordered)
{
    uint64_t expires_ms = entry->expires_ms ? entry->expires_ms : EXPIRY_NEVER;
    int rc;

    entry->flags &= (uint8_t)~ENTRY_TIMED;
    if (alone)
        expiry->latest_ms = 0;
    if (!ordered && expires_ms >= expiry->latest_ms) {
        expiry->latest_ms = latest_with(expiry, expires_ms);
        return 0;
    }
    if (!entry->expires_ms)
        return 0;
    rc = add(expiry, entry);
    if (!rc)
        entry->flags |= ENTRY_TIMED;
    return rc;
}

static struct queue_entry *find(struct ready *ready, const struct expiry_record *record)
{
    struct queue_entry *entry =
        ready_find(ready, (uint8_t)record->place, record->place >> 8);

    return entry && (entry->flags & ENTRY_TIMED) && entry->expires_ms == record->expires_ms
               ? entry
               : NULL;
}

static void pop(struct expiry *expiry)
{
    struct expiry_order *order = expiry->order;

    if (--order->count == 0) {
        free(TAKE(expiry->order));
        return;
    }
    order->heap[0] = order->heap[order->count];
    sift_down(order->heap, 0, order->count);
}

static void remove_at(struct expiry_order *order, uint32_t at)
{
    if (at == --order->count)
        return;
    order->heap[at] = order->heap[order->count];
    sift_down(order->heap, at, order->count);
    sift_up(order->heap, at);
}

/*
 * Drops records whose message has gone, from where the last call ended. What moves up behind that
 * place is passed over until the next round.
 */
static void drop_stale(struct expiry *expiry, struct ready *ready)
{
    struct expiry_order *order = expiry->order;

    for (uint32_t steps = 0; steps < EXPIRY_STALE_STEPS && order->count && order->stale; steps++) {
        if (order->sweep >= order->count)
            order->sweep = 0;
        if (find(ready, &order->heap[order->sweep])) {
            order->sweep++;
        } else {
            remove_at(order, order->sweep);
            order->stale--;
        }
    }
    if (order->count == 0)
        free(TAKE(expiry->order));
}

bool expiry_take_due(struct expiry *expiry, struct ready *ready, uint64_t wall_ms,
                     struct queue_entry *ret_entry)
{
    struct expiry_order *order = expiry->order;

    if (UNLIKELY(order && order->stale > order->count / 2 + EXPIRY_STALE_ALLOWED))
        drop_stale(expiry, ready);
    while ((order = expiry->order) && order->heap[0].expires_ms <= wall_ms) {
        struct queue_entry *entry = find(ready, &order->heap[0]);

        pop(expiry);
        if (entry) {
            ready_remove(ready, entry, ret_entry);
            return true;
        }
        if (expiry->order && expiry->order->stale)
            expiry->order->stale--;
    }
    return false;
}
