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
    const struct queue_rare *rare = queue->rare;

    return rare && (rare->discard_count >= queue_vhost(queue)->broker->settings.discards_max ||
                    rare->discard_bytes >= BOUND_DISCARD_BYTES);
}

static void append(struct queue_rare *rare, struct discard *discard)
{
    if (rare->discards)
        rare->discards_last->next = discard;
    else
        rare->discards = discard;
    rare->discards_last = discard;
    rare->discard_count++;
    rare->discard_bytes += discard->entry.body_bytes;
}

static struct discard *take_first(struct queue_rare *rare)
{
    struct discard *discard = rare->discards;

    rare->discards = discard->next;
    rare->discard_count--;
    rare->discard_bytes -= discard->entry.body_bytes;
    return discard;
}

static bool is_dead_lettered(struct queue *queue)
{
    return !queue->destination.deleted && dead_letter_exchange(queue);
}

/* Lets go of those at the front that need not wait any longer. */
static void drain(struct queue *queue)
{
    struct discard *discard;

    while ((discard = queue_discards(queue)) && discard->state != DISCARD_READING) {
        (void)take_first(queue->rare); /* this one */
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
    struct queue_rare *rare = queue_rare(queue);
    struct discard *discard = rare ? malloc(sizeof *discard) : NULL;

    if (!discard) {
        entry->flags &= (uint8_t)~ENTRY_STORED;
        queue_release_entry(queue, entry);
        return;
    }
    *discard = (struct discard){ .entry = *entry, .reason = reason, .state = DISCARD_READY };
    append(rare, discard);
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
    else if ((entry->flags & ENTRY_RESIDENT) && !queue_discards(queue))
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
    while (queue_discards(queue)) {
        struct discard *discard = take_first(queue->rare);

        if (discard->entry.flags & ENTRY_RESIDENT)
            message_unref(discard->entry.message);
        free(discard);
    }
}
