/*
 * look_ahead.c - what publishes that have been received will need is fetched before their turn
 *
 * An exchange with very many bindings is larger than the processor's caches, and finding one
 * binding waits for memory two or three times, longer than all else that a message costs. Such
 * waits can pass together: the routing keys of the next messages stand in what has been received,
 * and the exchange is told of them (exchange_type.fetch). Nothing is decided here and nothing
 * remembered, so it makes no difference whether those frames are right, or ever handled; whoever is
 * looked over, because another channel or exchange is in front, only waits.
 */
#include "broker/connection-internal.h"
#include "broker/route.h"

#include "amqp/method.h"
#include "amqp/wire.h"

enum { FRAMES_MAX = 4 * FETCH_KEYS_MAX }; /* looked at in one go, whatever they are */

/* Whether a frame is a basic.publish to @exchange; then its routing key. */
static bool publish_key(const struct amqp_frame *frame, const struct exchange *exchange,
                        struct amqp_str *ret_key)
{
    struct wire_reader reader = wire_reader_over(frame->payload.data, frame->payload.size);
    struct amqp_str name;
    uint16_t reserved;
    uint32_t id;

    return frame->type == AMQP_FRAME_METHOD && wire_get32(&reader, &id) &&
           id == AMQP_ID_basic_publish && wire_get16(&reader, &reserved) &&
           wire_get_shortstr(&reader, &name) && wire_get_shortstr(&reader, ret_key) &&
           amqp_str_equal(name, exchange->destination.name);
}

size_t connection_look_ahead(struct connection *connection, struct amqp_bytes received)
{
    struct channel *channel = connection->last_channel;
    struct exchange *exchange = channel ? channel_last_exchange(channel) : NULL;
    struct amqp_str keys[FETCH_KEYS_MAX];
    struct amqp_frame frame;
    size_t at = 0, n_keys = 0;

    if (LIKELY(!exchange || !exchange->fetch_ahead))
        return received.size;
    for (int n = 0; n < FRAMES_MAX && n_keys < FETCH_KEYS_MAX; n++) {
        struct amqp_bytes rest = { received.data + at, received.size - at };

        if (amqp_frame_scan(rest, 0, &frame) != AMQP_SCAN_FRAME)
            break;
        at += frame.frame_bytes;
        if (frame.channel == channel->number && publish_key(&frame, exchange, &keys[n_keys]))
            n_keys++;
    }
    route_fetch(exchange, keys, n_keys);
    return at;
}
