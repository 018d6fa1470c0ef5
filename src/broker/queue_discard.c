/*
 * queue_discard.c - entries that leave a queue unwanted: dead-lettered, in order
 *
 * A dead letter is made of its message, so an entry that is not in memory is read first. Reads end
 * in any order; entries are dead-lettered in the order in which they left. So while one is being
 * read, those that leave after it wait behind it, in a list that is emptied from its front. No
 * more than BOUND_DISCARDS, or BOUND_DISCARD_BYTES, are in it on behalf of limits and times, which
 * go on when it is shorter. Many are good: what is read together is read record by record.
 */
#include <assert.h>
#include <stdlib.h>

#include "amqp/bounds.h"
#include "broker/broker.h"
#include "broker/queue-internal.h"
#include "broker/vhost.h"

enum discard_state { DISCARD_READING, DISCARD_READY, DISCARD_UNREADABLE };

struct discard {
    struct discard *next;
    struct queue_entry entry;
    enum dead_letter_reason reason;
    enum discard_state state;
};

bool queue_discards_are_many(const struct queue *queue)
{
    return queue->discard_count >= queue_vhost(queue)->broker->settings.discards_max ||
           queue->discard_bytes >= BOUND_DISCARD_BYTES;
}

static void append(struct queue *queue, struct discard *discard)
{
    if (queue->discards)
        queue->discards_last->next = discard;
    else
        queue->discards = discard;
    queue->discards_last = discard;
    queue->discard_count++;
    queue->discard_bytes += discard->entry.body_bytes;
}

static struct discard *take_first(struct queue *queue)
{
    struct discard *discard = queue->discards;

    queue->discards = discard->next;
    queue->discard_count--;
    queue->discard_bytes -= discard->entry.body_bytes;
    return discard;
}

static bool is_dead_lettered(struct queue *queue)
{
    return !queue->deleted && dead_letter_exchange(queue);
}

/* Lets go of those at the front that need not wait any longer. */
static void drain(struct queue *queue)
{
    struct discard *discard;

    while (queue->discards && queue->discards->state != DISCARD_READING) {
        discard = take_first(queue);
        if (discard->state == DISCARD_READY) {
            if (is_dead_lettered(queue))
                dead_letter_add(queue, &discard->entry, discard->reason);
            else
                queue_release_entry(queue, &discard->entry);
        }
        free(discard); /* what is unreadable stays in the store, for the next start */
    }
}

/* Without memory the entry stays in the store, for the next start, or is lost with it. */
static void wait_for_turn(struct queue *queue, struct queue_entry *entry,
                          enum dead_letter_reason reason)
{
    struct discard *discard = malloc(sizeof *discard);

    if (!discard) {
        entry->flags &= (uint8_t)~ENTRY_STORED;
        queue_release_entry(queue, entry);
        return;
    }
    *discard = (struct discard){ .entry = *entry, .reason = reason, .state = DISCARD_READY };
    append(queue, discard);
    if (!(entry->flags & ENTRY_RESIDENT)) {
        discard->state = DISCARD_READING;
        if (queue_fetch_for_discard(queue, entry, discard))
            discard->state = DISCARD_UNREADABLE;
    }
    drain(queue);
}

void queue_discard(struct queue *queue, struct queue_entry *entry, enum dead_letter_reason reason)
{
    if (!is_dead_lettered(queue))
        queue_release_entry(queue, entry);
    else if ((entry->flags & ENTRY_RESIDENT) && !queue->discards)
        dead_letter_add(queue, entry, reason);
    else if (!(entry->flags & ENTRY_LOST))
        wait_for_turn(queue, entry, reason);
}

void queue_discard_fetched(struct queue *queue, struct discard *discard, struct message *message)
{
    assert(discard->state == DISCARD_READING);
    discard->entry.flags &= (uint8_t)~ENTRY_FETCHING;
    if (message) {
        discard->entry.message = message;
        discard->entry.flags |= ENTRY_RESIDENT;
    }
    discard->state = message ? DISCARD_READY : DISCARD_UNREADABLE;
    drain(queue);
}

void queue_discards_release(struct queue *queue)
{
    while (queue->discards) {
        struct discard *discard = take_first(queue);

        if (discard->entry.flags & ENTRY_RESIDENT)
            message_unref(discard->entry.message);
        free(discard);
    }
}
