/*
 * channel_room.h - which of a channel's consumers is next when the channel has room again
 *
 * A channel may be unable to take deliveries for all of its consumers: the limit that basic.qos
 * sets with `global` is reached, channel.flow has stopped it, its socket is full. A consumer that
 * has a message and cannot take it for such a reason is *held*: it stands in the channel's list,
 * behind those that have been held for longer. When there is room again, held consumers are let go
 * one at a time, and each takes one message before the next is let go, until the room or the list
 * is used up. One that could have had more is then held again, last in the list. So a channel's
 * consumers take turns, whatever queues they are on, whether what they get uses the room up or not,
 * and a delivery costs the same however many there are. Channels that have room at the same time
 * take turns in the same way. All this happens before queues that were woken are dispatched, whose
 * consumers would take the room.
 *
 * Invariants: a held consumer is blocked. A channel with an offer has held consumers.
 */
#ifndef BROKER_CHANNEL_ROOM_H
#define BROKER_CHANNEL_ROOM_H

#include "broker/channel.h"
#include "broker/connection-internal.h"

/**
 * channel_has_room() - it takes one more delivery, as far as all of its consumers are concerned
 *
 * A channel whose limit is used up holds back its no-ack consumers too, which do not count.
 */
static inline bool channel_has_room(const struct channel *channel)
{
    return channel_can_deliver(channel) &&
           (!channel->prefetch_global || channel->global_unacked < channel->prefetch_global);
}

/** channel_hold() - @consumer, which is blocked, waits for room in its channel */
void channel_hold(struct consumer *consumer);
/** channel_let_go() - @consumer is held and no longer waits */
void channel_let_go(struct consumer *consumer);

/** channel_offer_room() - if it has room, a held consumer gets a turn (broker_offer_rooms()) */
void channel_offer_room(struct channel *channel);

/** channel_room_came() - there may be room: held consumers get a turn when queues are dispatched */
static inline void channel_room_came(struct channel *channel)
{
    if (UNLIKELY(channel->held != NULL))
        channel_offer_room(channel);
}

/** consumer_must_wait() - others wait for room in its channel, and it is not its queue's turn */
static inline bool consumer_must_wait(const struct consumer *consumer)
{
    const struct consumer *offered = consumer->channel->offered;

    if (LIKELY(!consumer->channel->held))
        return false;
    return !offered || offered->queue != consumer->queue || consumer->priority < offered->priority;
}

/** channel_others_wait() - for its room, or for that of other channels: one message each, then */
static inline bool channel_others_wait(const struct channel *channel)
{
    return channel->held || (channel->offered && channel->connection->broker->offer_first);
}

/** broker_offer_rooms() - let go of held consumers while there is room, in turn, and hand out */
void broker_offer_rooms(struct broker *broker);

#endif
