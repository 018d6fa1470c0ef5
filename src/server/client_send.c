/*
 * client_send.c - from the broker's answers to octets
 *
 * basic.deliver is most of what a broker sends, so its frames are written by hand: one reservation
 * in the output for method, content header and a small body together. Every other method goes
 * through the encoder of amqp/method.h, straight into the output.
 *
 * Method and header frames are never split; bodies are split at frame_max (1.4). The frames of one
 * content are appended in one go, so nothing can come between them.
 */
#include <assert.h>
#include <stdlib.h>

#include "amqp/wire.h"
#include "server/client-internal.h"

enum {
    DELIVER_FIXED_BYTES = 4 + 1 + 8 + 1 + 1 + 1, /* ids, tag, redelivered, three length octets */
    CONTENT_HEAD_FRAME_BYTES = AMQP_FRAME_OVERHEAD_BYTES + AMQP_CONTENT_HEAD_BYTES,
    DELIVER_FRAME_MAX_BYTES =
        AMQP_FRAME_OVERHEAD_BYTES + DELIVER_FIXED_BYTES + 3 * BOUND_SHORTSTR_BYTES,
};

static_assert(DELIVER_FRAME_MAX_BYTES + CONTENT_HEAD_FRAME_BYTES + AMQP_FRAME_OVERHEAD_BYTES +
                      2 * (int)OUTPUT_COPY_BYTES <
                  (int)OUTPUT_RESERVE_BYTES,
              "a small delivery fits into one reservation");

static void send_octets(void *peer, const void *data, size_t size)
{
    struct client *client = peer;

    output_put(&client->output, data, size);
    client_touch(client);
}

void client_send_heartbeat(struct client *client)
{
    uint8_t frame[AMQP_FRAME_OVERHEAD_BYTES];

    *amqp_frame_begin(frame, AMQP_FRAME_HEARTBEAT, 0, 0) = AMQP_FRAME_END;
    send_octets(client, frame, sizeof frame);
}

/* A method larger than a chunk: connection.start or a cancel cannot be, but a long text may. */
static void put_large_method(struct output *output, uint16_t channel, const void *method,
                             size_t size)
{
    uint8_t *frame = malloc(size);

    if (!frame) {
        output->failed = true;
        return;
    }
    amqp_method_frame_encode(method, channel, frame);
    output_put(output, frame, size);
    free(frame);
}

static void put_method(struct output *output, uint16_t channel, const void *method)
{
    size_t size = amqp_method_frame_size(method);
    uint8_t *at;

    if (size > OUTPUT_RESERVE_BYTES) {
        put_large_method(output, channel, method, size);
        return;
    }
    at = output_reserve(output, size);
    if (at)
        output_commit(output, amqp_method_frame_encode(method, channel, at));
}

static void send_method(void *peer, uint16_t channel, const void *method)
{
    struct client *client = peer;

    put_method(&client->output, channel, method);
    client_touch(client);
}

/* The head of a HEADER frame up to the properties. */
static uint8_t *encode_content_head(uint8_t *at, uint16_t channel, const struct message *message)
{
    at = amqp_frame_begin(at, AMQP_FRAME_HEADER, channel,
                          AMQP_CONTENT_HEAD_BYTES + message->properties_bytes);
    at = wire_store16(at, AMQP_CLASS_BASIC);
    at = wire_store16(at, 0); /* weight */
    return wire_store64(at, message->body_bytes);
}

static void put_octet(struct output *output, uint8_t octet)
{
    output_put(output, &octet, 1);
}

static void put_body(struct output *output, uint16_t channel, struct message *message,
                     uint32_t part_max)
{
    const uint8_t *body = message_body(message);
    uint32_t left = message->body_bytes;

    while (left) {
        uint32_t part = left < part_max ? left : part_max;
        uint8_t *at = output_reserve(output, AMQP_FRAME_HEAD_BYTES);

        if (!at)
            return;
        output_commit(output, amqp_frame_begin(at, AMQP_FRAME_BODY, channel, part));
        output_put_message(output, message, body, part);
        put_octet(output, AMQP_FRAME_END);
        body += part;
        left -= part;
    }
}

/* Largest payload of a body frame for this client. */
static uint32_t body_part_max(const struct client *client)
{
    return client->frame_max ? client->frame_max - AMQP_FRAME_OVERHEAD_BYTES : UINT32_MAX;
}

/* HEADER and BODY frames of any size. */
static void put_content(struct client *client, uint16_t channel, struct message *message)
{
    struct output *output = &client->output;
    struct amqp_bytes properties = message_properties(message);
    uint8_t *at = output_reserve(output, CONTENT_HEAD_FRAME_BYTES);

    if (!at)
        return;
    output_commit(output, encode_content_head(at, channel, message));
    output_put_message(output, message, properties.data, properties.size);
    put_octet(output, AMQP_FRAME_END);
    put_body(output, channel, message, body_part_max(client));
}

static void send_content(void *peer, uint16_t channel, const void *method,
                         struct message *message)
{
    struct client *client = peer;

    put_method(&client->output, channel, method);
    put_content(client, channel, message);
    client_touch(client);
}

static uint8_t *encode_deliver(uint8_t *at, uint16_t channel, const struct delivery *delivery)
{
    const struct message *message = delivery->message;
    size_t payload_bytes = DELIVER_FIXED_BYTES + delivery->consumer_tag.size +
                           message->exchange_bytes + message->routing_key_bytes;

    at = amqp_frame_begin(at, AMQP_FRAME_METHOD, channel, (uint32_t)payload_bytes);
    at = wire_store32(at, AMQP_ID_basic_deliver);
    at = wire_store_shortstr(at, delivery->consumer_tag);
    at = wire_store64(at, delivery->delivery_tag);
    at = wire_store8(at, delivery->redelivered);
    at = wire_store_shortstr(at, message_exchange(message));
    at = wire_store_shortstr(at, message_routing_key(message));
    return wire_store8(at, AMQP_FRAME_END);
}

/* HEADER and BODY frames of a message whose parts are small enough to be copied. */
static uint8_t *encode_small_content(uint8_t *at, uint16_t channel, const struct message *message)
{
    struct amqp_bytes properties = message_properties(message);

    at = encode_content_head(at, channel, message);
    at = wire_store(at, properties.data, properties.size);
    at = wire_store8(at, AMQP_FRAME_END);
    if (message->body_bytes == 0)
        return at;
    at = amqp_frame_begin(at, AMQP_FRAME_BODY, channel, message->body_bytes);
    at = wire_store(at, message_body(message), message->body_bytes);
    return wire_store8(at, AMQP_FRAME_END);
}

static void deliver(void *peer, uint16_t channel, const struct delivery *delivery)
{
    struct client *client = peer;
    struct output *output = &client->output;
    struct message *message = delivery->message;
    bool small = message->body_bytes <= OUTPUT_COPY_BYTES &&
                 message->properties_bytes <= OUTPUT_COPY_BYTES &&
                 message->body_bytes <= body_part_max(client);
    size_t most_bytes = DELIVER_FRAME_MAX_BYTES;
    uint8_t *at;

    if (small)
        most_bytes += CONTENT_HEAD_FRAME_BYTES + message->properties_bytes +
                      AMQP_FRAME_OVERHEAD_BYTES + message->body_bytes;
    at = output_reserve(output, most_bytes);
    if (at) {
        at = encode_deliver(at, channel, delivery);
        if (small)
            at = encode_small_content(at, channel, message);
        output_commit(output, at);
        if (!small)
            put_content(client, channel, message);
    }
    client_touch(client);
}

static size_t unsent_bytes(void *peer)
{
    const struct client *client = peer;

    return client->output.bytes;
}

const struct channel_ops client_ops = {
    .send_octets = send_octets,
    .send_method = send_method,
    .send_content = send_content,
    .deliver = deliver,
    .unsent_bytes = unsent_bytes,
    .tuned = client_tuned,
    .opened = client_opened,
    .pause = client_pause,
    .close = client_leave,
};
