/*
 * channel_room.c - see channel_room.h
 *
 * A channel is in its connection's list of those with held consumers exactly when it has some. That
 * list is a round robin too: a channel that has been offered room goes behind the others, because
 * when a socket has drained, the first of them may well fill it again.
 */
#include "broker/channel_room.h"

#include <assert.h>
#include <utlist.h>

#include "broker/connection-internal.h"
#include "broker/queue-internal.h"

void channel_hold(struct consumer *consumer)
{
    struct channel *channel = consumer->channel;

    assert(consumer->blocked);
    assert(!consumer->held);
    if (!channel->held)
        DL_APPEND2(channel->connection->holding_channels, channel, holding_prev, holding_next);
    consumer->held = true;
    DL_APPEND2(channel->held, consumer, held_prev, held_next);
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
    if (channel->held)
        return;
    DL_DELETE2(channel->connection->holding_channels, channel, holding_prev, holding_next);
    withdraw_offer(channel);
}

void channel_offer_room(struct channel *channel)
{
    struct broker *broker = channel->connection->broker;

    if (channel->has_offer || !channel_has_room(channel))
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

/* One consumer gets a turn. If it takes a message while others wait, it is held again, and there is
 * another offer (queue_hand_out()). */
static void offer_room(struct channel *channel)
{
    struct connection *connection = channel->connection;
    struct consumer *consumer;

    if (!channel->held || !channel_has_room(channel))
        return;
    DL_DELETE2(connection->holding_channels, channel, holding_prev, holding_next);
    DL_APPEND2(connection->holding_channels, channel, holding_prev, holding_next);
    consumer = next_held(channel);
    channel_let_go(consumer);
    consumer_make_ready(consumer);
    channel->offered = consumer;
    queue_hand_out(consumer->queue);
    channel->offered = NULL;
    if (!consumer->held) /* else it has an offer, or a delivery could not be remembered: */
        channel_room_came(channel); /* that is tried at the next settlement */
}

void broker_offer_rooms(struct broker *broker)
{
    while (UNLIKELY(broker->offer_first != NULL) && broker->hand_outs_left) {
        struct channel *channel = broker->offer_first;

        withdraw_offer(channel);
        offer_room(channel);
    }
}
