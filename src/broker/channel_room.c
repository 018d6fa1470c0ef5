/*
 * channel_room.c - see channel_room.h
 */
#include "broker/channel_room.h"

#include <assert.h>
#include <utlist.h>

#include "broker/connection-internal.h"
#include "broker/queue-internal.h"

void channel_hold(struct consumer *consumer)
{
    assert(consumer->blocked);
    assert(!consumer->held);
    consumer->held = true;
    DL_APPEND2(consumer->channel->held, consumer, held_prev, held_next);
}

static void withdraw_offer(struct channel *channel)
{
    if (!channel->has_offer)
        return;
    channel->has_offer = false;
    DL_DELETE2(channel->connection->broker->offer_first, channel, offer_prev, offer_next);
}

void channel_let_go(struct consumer *consumer)
{
    struct channel *channel = consumer->channel;

    assert(consumer->held);
    consumer->held = false;
    DL_DELETE2(channel->held, consumer, held_prev, held_next);
    if (!channel->held)
        withdraw_offer(channel);
}

/* Without a shared limit they need not wait for one another: queues are dispatched as always. */
static void let_all_go(struct channel *channel)
{
    while (channel->held) {
        struct consumer *consumer = channel->held;

        channel_let_go(consumer);
        consumer_make_ready(consumer);
        queue_wake(consumer->queue);
    }
}

void channel_offer_room(struct channel *channel)
{
    struct broker *broker = channel->connection->broker;

    if (!channel_has_room(channel))
        return;
    if (!channel->prefetch_global) {
        let_all_go(channel);
        return;
    }
    if (channel->has_offer)
        return;
    channel->has_offer = true;
    DL_APPEND2(broker->offer_first, channel, offer_prev, offer_next);
}

/* The one that has been held longest, or a consumer of its queue with a higher priority, if one is
 * among the next few: they are looked through, so there is a bound. */
static struct consumer *next_held(const struct channel *channel)
{
    struct consumer *best = channel->held, *consumer = best->held_next;

    for (unsigned i = 0; consumer && i < BOUND_HELD_LOOK; i++, consumer = consumer->held_next) {
        if (UNLIKELY(consumer->queue == best->queue && consumer->priority > best->priority))
            best = consumer;
    }
    return best;
}

static void offer_room(struct channel *channel)
{
    while (channel->held && channel_has_room(channel)) {
        struct consumer *consumer = next_held(channel);

        if (!channel->connection->broker->hand_outs_left) {
            channel_offer_room(channel); /* the rest in the next turn */
            return;
        }
        channel_let_go(consumer);
        consumer_make_ready(consumer);
        queue_hand_out(consumer->queue);
        if (consumer->held && channel_has_room(channel))
            return; /* a delivery could not be remembered: it is tried at the next settlement */
    }
}

void broker_offer_rooms(struct broker *broker)
{
    while (UNLIKELY(broker->offer_first != NULL) && broker->hand_outs_left) {
        struct channel *channel = broker->offer_first;

        withdraw_offer(channel);
        offer_room(channel);
    }
}
