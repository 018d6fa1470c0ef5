/*
 * peer_fixture.h - a broker over the store in memory, and clients that speak methods to it
 *
 * A client is a connection that has been opened already. What it sends while the broker has paused
 * it waits, as it would in a socket, and is received in the turns after the pause.
 */
#ifndef TESTS_UNIT_PEER_FIXTURE_H
#define TESTS_UNIT_PEER_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/frame.h"
#include "amqp/properties.h"
#include "amqp/wire.h"
#include "broker/broker.h"
#include "broker/connection-internal.h"
#include "broker/queue.h"
#include "store/memory.h"

enum { PEER_ANSWERS_MAX = 64, PEER_TURNS_MAX = 1000000 };

struct peer {
    struct connection *real; /* NULL: freed */
    bool paused, closed;
    uint32_t answers[PEER_ANSWERS_MAX]; /* the last methods that came, by id */
    size_t n_answers;                   /* all that came */
    uint32_t message_count;             /* of the last delete-ok, purge-ok, declare-ok */
    uint16_t reply_code;                /* of the last channel.close or connection.close */
    char reply_text[256];
    uint8_t *waiting; /* frames */
    size_t waiting_bytes;
};

/* Nobody logs in with it. */
#define PEER_HASH "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static struct store_disk *peer_disk;
static struct store *peer_store;
static struct broker *broker;
static struct vhost *vhost;
static struct broker_settings peer_settings;
static bool peer_commits_each_turn; /* as if a publisher waited in every turn */

/* --- answers --- */

static void peer_send_octets(void *context, const void *data, size_t size)
{
    (void)context;
    (void)data;
    (void)size;
}

static void peer_note_close(struct peer *peer, uint16_t code, struct amqp_str text)
{
    peer->reply_code = code;
    snprintf(peer->reply_text, sizeof peer->reply_text, "%.*s", AMQP_STR_ARG(text));
}

static void peer_send_method(void *context, uint16_t channel, const void *method)
{
    const union amqp_method *answer = method;
    struct peer *peer = context;

    (void)channel;
    peer->answers[peer->n_answers++ % PEER_ANSWERS_MAX] = *(const uint32_t *)method;
    if (*(const uint32_t *)method == AMQP_ID_queue_delete_ok)
        peer->message_count = answer->queue_delete_ok.message_count;
    if (*(const uint32_t *)method == AMQP_ID_queue_purge_ok)
        peer->message_count = answer->queue_purge_ok.message_count;
    if (*(const uint32_t *)method == AMQP_ID_queue_declare_ok)
        peer->message_count = answer->queue_declare_ok.message_count;
    if (*(const uint32_t *)method == AMQP_ID_channel_close)
        peer_note_close(peer, answer->channel_close.reply_code, answer->channel_close.reply_text);
    if (*(const uint32_t *)method == AMQP_ID_connection_close)
        peer_note_close(peer, answer->connection_close.reply_code,
                        answer->connection_close.reply_text);
}

static void peer_send_content(void *context, uint16_t channel, const void *method,
                              struct message *message)
{
    (void)message;
    peer_send_method(context, channel, method);
}

static void peer_deliver(void *context, uint16_t channel, const struct delivery *delivery)
{
    (void)delivery;
    peer_send_method(context, channel, &(uint32_t){ AMQP_ID_basic_deliver });
}

static size_t peer_unsent_bytes(void *context)
{
    (void)context;
    return 0;
}

static void peer_tuned(void *context, uint32_t frame_max, uint16_t heartbeat_s)
{
    (void)context;
    (void)frame_max;
    (void)heartbeat_s;
}

static void peer_opened(void *context)
{
    (void)context;
}

static void peer_pause(void *context, bool paused)
{
    ((struct peer *)context)->paused = paused;
}

static void peer_close(void *context, enum connection_close_how how)
{
    (void)how;
    ((struct peer *)context)->closed = true;
}

static const struct channel_ops peer_ops = {
    .send_octets = peer_send_octets,
    .send_method = peer_send_method,
    .send_content = peer_send_content,
    .deliver = peer_deliver,
    .unsent_bytes = peer_unsent_bytes,
    .tuned = peer_tuned,
    .opened = peer_opened,
    .pause = peer_pause,
    .close = peer_close,
};

/* The method that came last; 0: none. */
static inline uint32_t peer_answer(const struct peer *peer)
{
    return peer->n_answers ? peer->answers[(peer->n_answers - 1) % PEER_ANSWERS_MAX] : 0;
}

/* --- the broker --- */

static inline void peer_broker_start(void)
{
    char text[256];

    ck_assert_int_eq(broker_new(&peer_settings, &broker), 0);
    ck_assert_int_eq(store_open_memory(peer_disk, &(struct store_options){ .record_bytes = 65536 },
                                       &broker_store_events, broker, &peer_store),
                     0);
    ck_assert_msg(broker_attach_store(broker, peer_store, text, sizeof text) == 0, "%s", text);
    broker_begin(broker, 1000, 1000);
    vhost = broker_find_vhost(broker, AMQP_STR("v"));
}

static inline void peer_setup(void)
{
    char text[256];

    peer_settings = (struct broker_settings){ .product = "test",
                                               .cluster_name = "test",
                                               .message_bytes_max = 1024 };
    peer_disk = store_disk_new();
    ck_assert_ptr_nonnull(peer_disk);
    peer_broker_start();
    ck_assert_int_eq(
        broker_put_vhost(broker, AMQP_STR("v"), (struct amqp_table){ NULL, 0 }, &vhost), 0);
    ck_assert_int_eq(
        broker_put_user(broker, "guest", AUTH_HASHING_SHA256, PEER_HASH, "", -1, -1), 0);
    ck_assert_int_eq(
        broker_put_permissions(broker, "guest", "v", ".*", ".*", ".*", text, sizeof text), 0);
}

static inline void peer_teardown(void)
{
    ck_assert_int_eq(store_close(peer_store), 0);
    broker->store = NULL;
    broker_free(broker);
    store_disk_free(peer_disk);
}

/* Power fails: what no sync had reached is lost. Clients must have been forgotten. */
static inline void peer_crash(void)
{
    while (broker->connections) {
        struct peer *peer = broker->connections->peer;

        connection_free(TAKE(peer->real));
    }
    store_crash(peer_store, 0);
    broker->store = NULL;
    broker_free(broker);
    peer_broker_start();
}

/* Returns what broker_end() says: 0 when it has more to do at once. */
static inline int peer_turn(void)
{
    int wait_ms;

    broker->commit_wanted = broker->commit_wanted || peer_commits_each_turn;
    wait_ms = broker_end(broker);
    broker_begin(broker, broker->now_ms + 1, broker->wall_ms + 1);
    store_poll(peer_store);
    return wait_ms;
}

/* Turns until the broker has nothing left to do at once; returns how many. */
static inline unsigned peer_settle(void)
{
    unsigned n = 1;

    while (peer_turn() == 0)
        ck_assert_uint_lt(++n, PEER_TURNS_MAX);
    return n;
}

/* --- clients --- */

static inline void peer_open(struct peer *peer)
{
    struct connection_origin origin = { .peer_host = "h", .host = "h", .loopback = true };
    struct connection *real;

    *peer = (struct peer){ 0 };
    ck_assert_int_eq(connection_new(broker, &peer_ops, peer, &origin, &real), 0);
    real->state = CONNECTION_RUNNING;
    real->vhost = vhost;
    real->user = auth_find_user(broker->auth, "guest");
    real->user_name = strdup("guest");
    real->knows_cancel_notify = true;
    real->frame_max = 131072;
    real->permissions_generation = UINT64_MAX;
    real->counted = true;
    vhost->connection_count++;
    real->user->connections++;
    peer->real = real;
}

/* The socket is gone. */
static inline void peer_drop(struct peer *peer)
{
    free(TAKE(peer->waiting));
    connection_free(TAKE(peer->real));
}

static inline void peer_receive(struct peer *peer, const uint8_t *octets, size_t size)
{
    struct amqp_frame frame;

    ck_assert_int_eq(amqp_frame_scan((struct amqp_bytes){ octets, size }, UINT32_MAX, &frame),
                     AMQP_SCAN_FRAME);
    connection_receive(peer->real, &frame);
}

/* Frames that waited for the end of a pause. */
static inline void peer_go_on(struct peer *peer)
{
    uint8_t *octets = TAKE(peer->waiting);
    size_t size = peer->waiting_bytes, at = 0;

    peer->waiting_bytes = 0;
    while (at < size && !peer->paused && !peer->closed) {
        struct amqp_frame frame;

        ck_assert_int_eq(amqp_frame_scan((struct amqp_bytes){ octets + at, size - at }, UINT32_MAX,
                                         &frame),
                         AMQP_SCAN_FRAME);
        at += frame.frame_bytes;
        connection_receive(peer->real, &frame);
    }
    if (at < size && !peer->closed) {
        peer->waiting = malloc(size - at);
        ck_assert_ptr_nonnull(peer->waiting);
        memcpy(peer->waiting, octets + at, size - at);
        peer->waiting_bytes = size - at;
    }
    free(octets);
}

static inline void peer_frame(struct peer *peer, const uint8_t *octets, size_t size)
{
    if (!peer->paused && !peer->waiting_bytes) {
        peer_receive(peer, octets, size);
        return;
    }
    peer->waiting = realloc(peer->waiting, peer->waiting_bytes + size);
    ck_assert_ptr_nonnull(peer->waiting);
    memcpy(peer->waiting + peer->waiting_bytes, octets, size);
    peer->waiting_bytes += size;
}

static inline void peer_say(struct peer *peer, uint16_t channel, const void *method)
{
    size_t size = amqp_method_frame_size(method);
    uint8_t *octets = malloc(size);

    ck_assert_ptr_nonnull(octets);
    (void)amqp_method_frame_encode(method, channel, octets);
    peer_frame(peer, octets, size);
    free(octets);
}

static inline void peer_open_channel(struct peer *peer, uint16_t channel)
{
    peer_say(peer, channel, &(struct amqp_channel_open){ .id = AMQP_ID_channel_open });
}

/* One message with @headers, which may be empty, and a body of one octet. */
static inline void peer_publish(struct peer *peer, uint16_t channel, const char *exchange,
                                const char *key, struct amqp_table headers)
{
    struct amqp_properties properties = { .headers = headers };
    uint8_t *octets, *at, body[16];
    size_t size;

    properties.flags = headers.size ? AMQP_PROPERTY_HEADERS : 0;
    size = AMQP_CONTENT_HEAD_BYTES + amqp_properties_size(&properties);
    peer_say(peer, channel, &(struct amqp_basic_publish){ .id = AMQP_ID_basic_publish,
                                                          .exchange = amqp_str_from(exchange),
                                                          .routing_key = amqp_str_from(key),
                                                          .mandatory = true });
    octets = malloc(size + AMQP_FRAME_OVERHEAD_BYTES);
    ck_assert_ptr_nonnull(octets);
    at = amqp_frame_begin(octets, AMQP_FRAME_HEADER, channel, (uint32_t)size);
    at = wire_store64(wire_store16(wire_store16(at, AMQP_CLASS_BASIC), 0), 1);
    at = amqp_properties_encode(&properties, at);
    *at = AMQP_FRAME_END;
    peer_frame(peer, octets, size + AMQP_FRAME_OVERHEAD_BYTES);
    free(octets);
    at = amqp_frame_begin(body, AMQP_FRAME_BODY, channel, 1);
    (void)wire_store8(wire_store8(at, 'b'), AMQP_FRAME_END);
    peer_frame(peer, body, 1 + AMQP_FRAME_OVERHEAD_BYTES);
}

#endif
