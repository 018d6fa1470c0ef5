/*
 * client.c - frames
 */
#include "client.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/wire.h"
#include "world.h"

/* Gives a whole frame to the broker; @frame is freed. */
static void receive(struct sim *sim, struct m_connection *connection, uint8_t *frame, size_t size)
{
    struct amqp_frame found;

    if (amqp_frame_scan((struct amqp_bytes){ frame, size }, 0, &found) != AMQP_SCAN_FRAME)
        history_fail(&sim->history, "the client has made a bad frame");
    connection_receive(connection->real, &found);
    free(frame);
    world_work(sim);
}

static uint8_t *new_octets(size_t size)
{
    uint8_t *octets = malloc(size);

    assert(octets);
    return octets;
}

static void receive_method(struct sim *sim, struct m_connection *connection, uint16_t channel,
                           const void *method)
{
    size_t size = amqp_method_frame_size(method);
    uint8_t *frame = new_octets(size);

    (void)amqp_method_frame_encode(method, channel, frame);
    receive(sim, connection, frame, size);
}

void client_send(struct sim *sim, struct m_connection *connection, uint16_t channel,
                 const void *method)
{
    char text[HISTORY_LINE_BYTES];

    amqp_method_print(method, text, sizeof text);
    history_add(&sim->history, "c%u.%u > %s", connection->number, channel, text);
    model_refresh(sim);
    receive_method(sim, connection, channel, method);
    accept_end(sim);
}

/* --- opening and losing a connection --- */

static void shake(struct sim *sim, struct m_connection *connection, const void *method,
                  uint32_t answer)
{
    connection->handshake = 0;
    if (method)
        receive_method(sim, connection, 0, method);
    if (connection->handshake != answer)
        history_fail(&sim->history, "the handshake goes another way");
}

static void shake_hands(struct sim *sim, struct m_connection *connection)
{
    struct amqp_table_writer properties = { 0 };
    size_t begun = amqp_table_begin_table(&properties, "capabilities");

    amqp_table_put_bool(&properties, "consumer_cancel_notify", connection->knows_cancel);
    amqp_table_put_bool(&properties, "connection.blocked", connection->knows_blocked);
    amqp_table_end(&properties, begun);
    shake(sim, connection,
          &(struct amqp_connection_start_ok){ .id = AMQP_ID_connection_start_ok,
                                              .client_properties = amqp_table_written(&properties),
                                              .mechanism = AMQP_STR("PLAIN"),
                                              .response = { (const uint8_t *)"\0guest\0guest", 12 },
                                              .locale = AMQP_STR("en_US") },
          AMQP_ID_connection_tune);
    amqp_table_writer_release(&properties);
    shake(sim, connection,
          &(struct amqp_connection_tune_ok){ .id = AMQP_ID_connection_tune_ok,
                                             .channel_max = 100,
                                             .frame_max = 131072 },
          0);
    shake(sim, connection,
          &(struct amqp_connection_open){ .id = AMQP_ID_connection_open,
                                          .virtual_host = AMQP_STR("/") },
          AMQP_ID_connection_open_ok);
}

void client_open(struct sim *sim, struct m_connection *connection)
{
    static const uint8_t header[AMQP_PROTOCOL_HEADER_BYTES] = { 'A', 'M', 'Q', 'P', 0, 0, 9, 1 };
    struct connection_origin origin = { .peer_host = "127.0.0.1",
                                        .peer_port = (uint16_t)(1000 + connection->number),
                                        .host = "127.0.0.1",
                                        .port = 5672,
                                        .loopback = true };
    int rc = connection_new(sim->broker, &accept_ops, connection, &origin, &connection->real);

    assert(rc == 0);
    connection->knows_cancel = random_percent(&sim->random, 80);
    connection->knows_blocked = random_percent(&sim->random, 80);
    connection->closed = false;
    connection->state = CONNECTION_IS_NEW;
    history_add(&sim->history, "c%u opens%s%s", connection->number,
                connection->knows_cancel ? "" : ", knows no cancel",
                connection->knows_blocked ? "" : ", knows no blocked");
    connection->handshake = 0;
    connection_receive_header(connection->real, header);
    if (connection->handshake != AMQP_ID_connection_start)
        history_fail(&sim->history, "connection.start has not come");
    shake_hands(sim, connection);
    connection->state = CONNECTION_IS_OPEN;
}

void client_forget(struct m_connection *connection)
{
    connection->state = CONNECTION_IS_GONE;
    connection->real = NULL;
    connection->congested = connection->paused = false;
    connection->published = connection->told_blocked = false;
}

void client_drop(struct sim *sim, struct m_connection *connection)
{
    struct connection *real = connection->real;

    history_add(&sim->history, "c%u is gone", connection->number);
    model_close_connection(sim, connection);
    model_refresh(sim);
    client_forget(connection);
    connection_free(real);
    world_work(sim);
    connection->paused = false;
    accept_end(sim);
}

/* --- contents --- */

static uint8_t body_octet(const struct m_message *message, size_t at)
{
    return (uint8_t)(message->id * 31 + at);
}

static void body_head(const struct m_message *message, char head[CLIENT_BODY_HEAD_BYTES + 1])
{
    snprintf(head, CLIENT_BODY_HEAD_BYTES + 1, "m%07u", message->id % 10000000);
}

static void write_body(const struct m_message *message, size_t from, size_t size, uint8_t *out)
{
    char head[CLIENT_BODY_HEAD_BYTES + 1];

    body_head(message, head);
    for (size_t i = from; i < from + size; i++)
        *out++ = i < CLIENT_BODY_HEAD_BYTES ? (uint8_t)head[i] : body_octet(message, i);
}

bool client_check_body(const struct m_message *message, const uint8_t *body)
{
    for (size_t i = CLIENT_BODY_HEAD_BYTES; i < message->body_bytes; i++)
        if (body[i] != body_octet(message, i))
            return false;
    return true;
}

uint32_t client_body_id(const uint8_t *body, size_t size)
{
    uint32_t id = 0;

    if (size < CLIENT_BODY_HEAD_BYTES || body[0] != 'm')
        return 0;
    for (size_t i = 1; i < CLIENT_BODY_HEAD_BYTES; i++) {
        if (body[i] < '0' || body[i] > '9')
            return 0;
        id = id * 10 + body[i] - '0';
    }
    return id;
}

static size_t random_body_bytes(struct random *random)
{
    switch (random_below(random, 100)) {
    case 0:
        return 66000 + random_below(random, 3000); /* a record of its own in the store */
    case 1:
    case 2:
        return CLIENT_BODY_HEAD_BYTES + random_below(random, 3000);
    default:
        return CLIENT_BODY_HEAD_BYTES + random_below(random, 30);
    }
}

/* Mostly short: the end is to come within the history. */
static int64_t random_expiration_ms(struct random *random)
{
    static const int64_t times[] = { 0, 1, 5, 20, 20, 60, 200, 2000 };

    return times[random_below(random, N_ELEMENTS(times))];
}

struct m_message *client_new_message(struct sim *sim, const char *exchange,
                                     const char *routing_key)
{
    struct m_message *message = calloc(1, sizeof *message);
    struct amqp_properties properties = { .delivery_mode = 1 };
    char expiration[24];

    assert(message);
    sim->messages = sim_grow(sim->messages, sim->n_messages, &sim->messages_capacity,
                             sizeof(struct m_message *));
    sim->messages[sim->n_messages++] = message;
    message->id = (uint32_t)sim->n_messages;
    sim_copy(sim, message->exchange, amqp_str_from(exchange));
    sim_copy(sim, message->routing_key, amqp_str_from(routing_key));
    message->persistent = random_percent(&sim->random, 65);
    message->body_bytes = random_body_bytes(&sim->random);
    if (message->persistent || random_percent(&sim->random, 30))
        properties.flags |= AMQP_PROPERTY_DELIVERY_MODE;
    if (message->persistent)
        properties.delivery_mode = 2;
    if (random_percent(&sim->random, 20)) {
        properties.flags |= AMQP_PROPERTY_CORRELATION_ID;
        properties.correlation_id = AMQP_STR("correlation");
    }
    if ((sim->features & FEATURE_PRIORITY) && random_percent(&sim->random, 60)) {
        message->priority = (uint8_t)random_below(&sim->random,
                                                  random_percent(&sim->random, 90) ? 6 : 256);
        properties.flags |= AMQP_PROPERTY_PRIORITY;
        properties.priority = message->priority;
    }
    message->expiration_ms = -1;
    if ((sim->features & FEATURE_TTL) && random_percent(&sim->random, 25)) {
        message->expiration_ms = random_expiration_ms(&sim->random);
        snprintf(expiration, sizeof expiration, "%" PRId64, message->expiration_ms);
        properties.flags |= AMQP_PROPERTY_EXPIRATION;
        properties.expiration = amqp_str_from(expiration);
    }
    message->properties_bytes = amqp_properties_size(&properties);
    assert(message->properties_bytes <= sizeof message->properties);
    (void)amqp_properties_encode(&properties, message->properties);
    return message;
}

static void send_publish(struct sim *sim, struct m_channel *channel)
{
    const struct m_message *message = channel->content.message;
    struct amqp_basic_publish publish = { .id = AMQP_ID_basic_publish,
                                          .exchange = amqp_str_from(message->exchange),
                                          .routing_key = amqp_str_from(message->routing_key),
                                          .mandatory = channel->content.mandatory,
                                          .immediate = channel->content.immediate };
    char text[HISTORY_LINE_BYTES];

    amqp_method_print(&publish, text, sizeof text);
    history_add(&sim->history, "c%u.%u > %s m%07u, %zu octets%s", channel->connection->number,
                channel->number, text, message->id, message->body_bytes,
                message->persistent ? ", persistent" : "");
    receive_method(sim, channel->connection, channel->number, &publish);
}

static void send_header(struct sim *sim, struct m_channel *channel)
{
    const struct m_message *message = channel->content.message;
    uint32_t payload_bytes = (uint32_t)(AMQP_CONTENT_HEAD_BYTES + message->properties_bytes);
    uint8_t *frame = new_octets(payload_bytes + AMQP_FRAME_OVERHEAD_BYTES);
    uint8_t *at = amqp_frame_begin(frame, AMQP_FRAME_HEADER, channel->number, payload_bytes);

    at = wire_store16(at, AMQP_CLASS_BASIC);
    at = wire_store16(at, 0);
    at = wire_store64(at, message->body_bytes);
    at = wire_store(at, message->properties, message->properties_bytes);
    *at = AMQP_FRAME_END;
    receive(sim, channel->connection, frame, payload_bytes + AMQP_FRAME_OVERHEAD_BYTES);
}

static void send_body(struct sim *sim, struct m_channel *channel, size_t size)
{
    struct m_publish *content = &channel->content;
    uint8_t *frame = new_octets(size + AMQP_FRAME_OVERHEAD_BYTES);
    uint8_t *at = amqp_frame_begin(frame, AMQP_FRAME_BODY, channel->number, (uint32_t)size);
    struct m_publish whole = *content;

    write_body(content->message, content->sent_bytes, size, at);
    at[size] = AMQP_FRAME_END;
    content->sent_bytes += size;
    if (content->sent_bytes == content->message->body_bytes) {
        content->message = NULL;
        if (channel->state == CHANNEL_IS_OPEN)
            model_publish(sim, channel, &whole);
        model_refresh(sim);
    }
    receive(sim, channel->connection, frame, size + AMQP_FRAME_OVERHEAD_BYTES);
    accept_end(sim);
}

void client_send_content(struct sim *sim, struct m_channel *channel, bool all)
{
    struct m_connection *connection = channel->connection;
    struct m_publish *content = &channel->content;
    size_t left;

    connection->published |= sim->stalled;
    if (content->started) {
        history_add(&sim->history, "c%u.%u > more of m%07u", connection->number, channel->number,
                    content->message->id);
    } else {
        content->started = true;
        send_publish(sim, channel);
        send_header(sim, channel);
        accept_end(sim);
        if (!all)
            return;
    }
    while (content->message && !connection->paused) {
        left = content->message->body_bytes - content->sent_bytes;
        if (left > 100000 || (left > 1 && random_percent(&sim->random, 10)))
            left = 1 + random_below(&sim->random, (unsigned)left);
        send_body(sim, channel, left > 130000 ? 130000 : left);
        if (!all)
            return;
    }
}
