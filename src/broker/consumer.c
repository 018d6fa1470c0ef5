/*
 * consumer.c - joining a queue, waiting for its turn, leaving
 *
 * Invariant of the ready list: priorities do not grow along it; among equals the one served
 * longest ago comes first. A blocked one is full (its own prefetch limit is reached) or held (its
 * channel has no room). With single active consumer, the ready and blocked lists hold the active
 * one only; the others wait, highest priority first, then by arrival.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/channel_room.h"
#include "broker/connection-internal.h"
#include "broker/consumer_timeout.h"
#include "broker/queue-internal.h"
#include "broker/task.h"
#include "broker/vhost.h"

/* Its own prefetch limit is reached. */
static bool is_full(const struct consumer *consumer)
{
    return consumer->prefetch && !consumer->no_ack && consumer->unacked >= consumer->prefetch;
}

bool consumer_can_take(const struct consumer *consumer)
{
    return channel_has_room(consumer->channel) && !is_full(consumer);
}

/* Behind the last one whose priority is not lower. */
static void insert_by_priority(struct consumer **list, struct consumer *consumer)
{
    struct consumer *after = *list ? (*list)->prev : NULL;

    while (after && after->priority < consumer->priority)
        after = after == *list ? NULL : after->prev;
    if (after)
        DL_APPEND_ELEM(*list, after, consumer);
    else
        DL_PREPEND(*list, consumer);
}

static void make_ready(struct consumer *consumer)
{
    consumer->blocked = consumer->waiting = false;
    insert_by_priority(&consumer->queue->ready_consumers, consumer);
}

void consumer_block(struct consumer *consumer)
{
    DL_DELETE(consumer->queue->ready_consumers, consumer);
    consumer->blocked = true;
    DL_APPEND(consumer->queue->blocked_consumers, consumer);
    if (!is_full(consumer))
        channel_hold(consumer);
}

void consumer_make_ready(struct consumer *consumer)
{
    assert(consumer->blocked);
    assert(!consumer->held);
    DL_DELETE(consumer->queue->blocked_consumers, consumer);
    make_ready(consumer);
}

/* Its own limit allows more. Where others wait for room in the channel, it waits behind them. */
static void unblock(struct consumer *consumer)
{
    struct channel *channel = consumer->channel;

    if (!consumer->blocked || consumer->held || is_full(consumer))
        return;
    if (channel->held || !channel_has_room(channel)) {
        channel_hold(consumer);
        return;
    }
    consumer_make_ready(consumer);
    if (queue_ready_count(consumer->queue))
        queue_wake(consumer->queue);
}

void consumer_rotate(struct consumer *consumer)
{
    struct queue *queue = consumer->queue;

    if (!consumer->next && consumer == queue->ready_consumers)
        return; /* it is alone */
    DL_DELETE(queue->ready_consumers, consumer);
    make_ready(consumer);
}

static void wait_for_activity(struct consumer *consumer)
{
    consumer->waiting = true;
    insert_by_priority(&consumer->queue->rare->waiting_consumers, consumer);
}

static void activate_next(struct queue *queue)
{
    struct queue_rare *rare = queue->rare;
    struct consumer *next = rare->waiting_consumers;

    rare->active = next;
    if (!next)
        return;
    DL_DELETE(rare->waiting_consumers, next);
    make_ready(next);
    queue_wake(queue);
}

static int check_exclusive(const struct queue *queue, bool exclusive, struct amqp_error *err)
{
    if (!queue->exclusive_consumer &&
        !(exclusive && (queue->consumer_count || queue->settings->single_active)))
        return 0;
    return amqp_raise(err, AMQP_ACCESS_REFUSED, "queue '%.*s' in vhost '%s' in exclusive use",
                      AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name);
}

int consumer_new(struct channel *channel, struct queue *queue,
                 const struct consumer_properties *properties, struct amqp_error *err,
                 struct consumer **ret_consumer)
{
    bool exclusive = properties->exclusive && queue->settings->type != QUEUE_TYPE_QUORUM;
    struct consumer *consumer;
    int rc = check_exclusive(queue, exclusive, err);

    if (rc)
        return rc;
    if (queue->settings->single_active && !queue_rare(queue))
        return -ENOMEM;
    consumer = calloc(1, sizeof *consumer + properties->tag.size + 1);
    if (!consumer)
        return -ENOMEM;
    consumer->channel = channel;
    consumer->queue = queue_ref(queue);
    consumer->priority = properties->priority;
    consumer->prefetch = properties->prefetch;
    consumer->timeout_ms = properties->timeout_ms;
    consumer->no_ack = properties->no_ack;
    consumer_timeout_note(channel->connection->broker, properties->timeout_ms);
    consumer->exclusive = exclusive;
    consumer->tag_bytes = (uint8_t)properties->tag.size;
    memcpy(consumer->tag, properties->tag.data, properties->tag.size);
    HASH_ADD_KEYPTR(by_tag, channel->consumers, consumer->tag, consumer->tag_bytes, consumer);
    queue->consumer_count++;
    queue->had_consumer = true;
    queue->exclusive_consumer = exclusive;
    if (queue->settings->single_active && queue->rare->active) {
        wait_for_activity(consumer);
    } else {
        if (queue->settings->single_active)
            queue->rare->active = consumer;
        make_ready(consumer);
    }
    queue_wake(queue);
    *ret_consumer = consumer;
    return 0;
}

static void consumer_free(struct consumer *consumer)
{
    queue_unref(consumer->queue);
    free(consumer);
}

void consumer_cancel(struct consumer *consumer)
{
    struct queue *queue = consumer->queue;

    assert(consumer->channel);
    if (consumer->held)
        channel_let_go(consumer);
    HASH_DELETE(by_tag, consumer->channel->consumers, consumer);
    if (consumer->waiting)
        DL_DELETE(queue->rare->waiting_consumers, consumer);
    else if (consumer->blocked)
        DL_DELETE(queue->blocked_consumers, consumer);
    else
        DL_DELETE(queue->ready_consumers, consumer);
    if (queue->rare && consumer == queue->rare->active)
        activate_next(queue);
    queue->consumer_count--;
    if (consumer->exclusive)
        queue->exclusive_consumer = false;
    if (queue->consumer_count == 0)
        queue_touch(queue);
    consumer->channel = NULL;
    if (consumer->unacked == 0)
        consumer_free(consumer);
}

void consumer_release_delivery(struct consumer *consumer)
{
    assert(consumer->unacked > 0);
    consumer->unacked--;
    if (consumer->channel) {
        unblock(consumer);
    } else if (consumer->unacked == 0) {
        consumer_free(consumer);
    }
}

void queue_after_cancel(struct queue *queue)
{
    if (queue->auto_delete && queue->had_consumer && queue->consumer_count == 0 &&
        !queue->destination.deleted)
        queue_delete(queue);
}

static struct consumer *any_consumer(const struct queue *queue)
{
    if (queue->ready_consumers)
        return queue->ready_consumers;
    if (queue->blocked_consumers)
        return queue->blocked_consumers;
    return queue->rare ? queue->rare->waiting_consumers : NULL;
}

bool queue_cancel_consumers(struct queue *queue)
{
    struct consumer *consumer;

    while ((consumer = any_consumer(queue))) {
        if (!task_pay(queue_vhost(queue)->broker, TASK_COST_CANCEL))
            return false;
        channel_notify_cancel(consumer->channel,
                              (struct amqp_str){ consumer->tag, consumer->tag_bytes });
        consumer_cancel(consumer);
    }
    return true;
}
