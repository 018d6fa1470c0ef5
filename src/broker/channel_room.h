/*
 * channel_room.h - which of a channel's consumers is next when the channel has room again
 *
 * A channel may be unable to take deliveries for all of its consumers: the limit that basic.qos sets
 * with `global` is reached, channel.flow has stopped it, its socket is full. A consumer that has a
 * message and cannot take it for such a reason is *held*: it stands in the channel's list, behind
 * those that have been held for longer. When there is room again under a shared limit, held consumers
 * are let go one at a time, and their queue hands out to each before the next is let go, until the room or the list is
 * used up. One that could have had more is then held again, last in the list. So the consumers of a
 * channel take turns, whatever queues they are on, and a delivery costs the same however many there
 * are. This happens when queues are dispatched, before those that were woken, whose consumers would
 * take the room.
 *
 * Invariants: a held consumer is blocked. A channel with an offer has held consumers.
 */
#ifndef BROKER_CHANNEL_ROOM_H
#define BROKER_CHANNEL_ROOM_H

#include "broker/channel.h"

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

/** channel_offer_room() - let held consumers go: at once without a shared limit, else in turn */
void channel_offer_room(struct channel *channel);

/** channel_room_came() - there may be room: held consumers get a turn when queues are dispatched */
static inline void channel_room_came(struct channel *channel)
{
    if (UNLIKELY(channel->held != NULL))
        channel_offer_room(channel);
}

/** broker_offer_rooms() - let go of held consumers while there is room, in turn, and hand out */
void broker_offer_rooms(struct broker *broker);

#endif
