/*
 * queue_dispatch.c - from a queue to its consumers
 *
 * A woken queue is in the broker's list (with a reference) until queue_dispatch() has run. One run
 * hands out messages, one at a time in turn, until the queue or its ready consumers are used up; a
 * head that is only in the store stops it until it has been read (queue_fetch.c). Then limits and
 * times are looked after (queue_upkeep.c), and what that gives up is dead-lettered by the broker
 * when all queues have had their turn.
 *
 * A turn has only so many steps of this (broker->hand_outs_left): a backlog may meet a thousand
 * consumers, or a time to live may end for a million messages at once. A queue that has not got
 * through is woken again, for the next turn. One to which many messages are on their way back
 * (channel_task.c) hands out nothing until they are there.
 */
#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/broker.h"
#include "broker/channel_room.h"
#include "broker/queue-internal.h"
#include "broker/vhost.h"

void queue_wake(struct queue *queue)
{
    struct broker *broker = queue_vhost(queue)->broker;

    if (queue->dispatching || queue->destination.deleted)
        return;
    if (!queue->ready_consumers && !queue_gets(queue) && !queue_upkeep_needed(queue))
        return;
    queue->dispatching = true;
    queue->dispatch_next = NULL;
    if (broker->dispatch_last)
        broker->dispatch_last->dispatch_next = queue;
    else
        broker->dispatch_first = queue;
    broker->dispatch_last = queue;
    queue_ref(queue);
}

/* The head goes out: no longer ready, and known as delivered after a restart. */
static void take_head(struct queue *queue, struct queue_entry *ret_entry)
{
    bool popped = queue_pop(queue, ret_entry);

    assert(popped);
    if ((ret_entry->flags & ENTRY_STORED) && ret_entry->sequence > queue->delivered_mark) {
        queue->delivered_mark = ret_entry->sequence;
        store_mark_delivered(queue_vhost(queue)->broker->store, queue->id, queue->delivered_mark);
    }
}

/* Expired, but not yet taken out: its time has passed since the last look. */
static bool is_expired(const struct queue *queue, const struct queue_entry *entry)
{
    return entry->expires_ms && entry->expires_ms < queue_vhost(queue)->broker->wall_ms;
}

/*
 * The first ready entry, if it is in memory and the queue is not held; those that have expired are
 * given up on the way, which wakes the queue again when it is too much for the turn.
 */
static struct queue_entry *living_head(struct queue *queue)
{
    struct queue_entry *head;
    struct queue_entry entry;

    if (UNLIKELY(queue->held))
        return NULL;
    while ((head = queue_head(queue)) && UNLIKELY(is_expired(queue, head))) {
        if (!queue_may_step(queue))
            return NULL;
        queue_pop(queue, &entry);
        queue_discard(queue, &entry, DEAD_LETTER_EXPIRED);
    }
    return head;
}

bool queue_may_step(struct queue *queue)
{
    struct broker *broker = queue_vhost(queue)->broker;

    if (UNLIKELY(broker->hand_outs_left == 0)) {
        queue_wake(queue);
        return false;
    }
    broker->hand_outs_left--;
    return true;
}

enum queue_take queue_take(struct queue *queue, struct queue_entry *ret_entry)
{
    queue_dispatch(queue);
    if (!living_head(queue))
        return queue_ready_count(queue) || queue->held ? QUEUE_TAKE_WAIT : QUEUE_TAKE_EMPTY;
    take_head(queue, ret_entry);
    queue->unacked_count++;
    return QUEUE_TAKE_ENTRY;
}

void queue_answer_gets(struct queue *queue)
{
    struct queue_entry entry;

    while (queue_gets(queue) &&
           (living_head(queue) || (queue_ready_count(queue) == 0 && !queue->held))) {
        struct pending_get *get = queue_gets(queue);

        LL_DELETE(queue->rare->gets, get);
        if (queue_ready_count(queue)) {
            take_head(queue, &entry);
            queue->unacked_count++;
            channel_finish_get(get->channel, queue, &entry, get->no_ack);
        } else {
            channel_finish_get(get->channel, queue, NULL, get->no_ack);
        }
        free(get);
    }
}

void queue_hand_out(struct queue *queue)
{
    struct consumer *consumer;
    struct queue_entry entry;

    if (queue_gets(queue))
        queue_answer_gets(queue);
    while ((consumer = queue->ready_consumers) && queue_ready_count(queue)) {
        if (!consumer_can_take(consumer)) {
            consumer_block(consumer);
            continue;
        }
        if (!living_head(queue))
            return;
        if (consumer_must_wait(consumer)) {
            consumer_block(consumer);
            channel_room_came(consumer->channel);
            continue;
        }
        if (!queue_may_step(queue))
            return;
        take_head(queue, &entry);
        if (channel_deliver(consumer, &entry)) {
            /* No memory to remember the delivery: the message stays, the consumer rests. */
            if (queue_put_back(queue, &entry))
                queue_release_entry(queue, &entry);
            consumer_block(consumer);
            continue;
        }
        if (UNLIKELY(channel_others_wait(consumer->channel)) && queue_ready_count(queue)) {
            consumer_block(consumer);
            channel_room_came(consumer->channel);
            queue_wake(queue); /* lower priorities wait until it has had its next turn */
            return;
        }
        consumer_rotate(consumer);
    }
}

void queue_dispatch(struct queue *queue)
{
    broker_offer_rooms(queue_vhost(queue)->broker); /* what they take is not there any more */
    queue_hand_out(queue);
    queue_keep_limits(queue);
}
