/*
 * connection.c - frames to channels, and the end of a connection
 *
 * Before the connection is open, anything unexpected ends it without a word, as RabbitMQ does
 * (amqp-0-9-1.md 4.9); the methods of class connection are in connection_methods.c. When it ends,
 * by either side or by a lost socket, connection_shut_down() gives back channels and exclusive
 * queues exactly once, before the answer that tells of it. What is too much for a turn goes on in
 * later ones: the channels one after another (channel_task.c), then the queues as a deletion, and
 * the connection lives on until then, if need be without its owner.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "amqp/wire.h"
#include "broker/channel_room.h"
#include "broker/connection-internal.h"
#include "broker/queue.h"
#include "broker/task.h"
#include "broker/vhost_limits.h"

int connection_new(struct broker *broker, const struct channel_ops *ops, void *peer,
                   const struct connection_origin *origin, struct connection **ret_connection)
{
    struct connection *connection = calloc(1, sizeof *connection);
    char name[256];

    if (!connection)
        return -ENOMEM;
    snprintf(name, sizeof name, "%s:%u -> %s:%u", origin->peer_host, origin->peer_port,
             origin->host, origin->port);
    connection->name = strdup(name);
    if (!connection->name) {
        free(connection);
        return -ENOMEM;
    }
    connection->broker = broker;
    connection->ops = ops;
    connection->peer = peer;
    connection->loopback = origin->loopback;
    connection->state = CONNECTION_EXPECT_HEADER;
    DL_APPEND(broker->connections, connection);
    broker->connection_count++;
    *ret_connection = connection;
    return 0;
}

/* Nobody is there any more: what it has to give back takes longer than its socket. */
static void drop_octets(void *peer, const void *data, size_t size)
{
    (void)peer;
    (void)data;
    (void)size;
}

static void drop_method(void *peer, uint16_t channel, const void *method)
{
    (void)peer;
    (void)channel;
    (void)method;
}

static void drop_content(void *peer, uint16_t channel, const void *method, struct message *message)
{
    (void)peer;
    (void)channel;
    (void)method;
    (void)message;
}

static void drop_delivery(void *peer, uint16_t channel, const struct delivery *delivery)
{
    (void)peer;
    (void)channel;
    (void)delivery;
}

static size_t drop_unsent(void *peer)
{
    (void)peer;
    return 0;
}

static void drop_tuned(void *peer, uint32_t frame_max, uint16_t heartbeat_s)
{
    (void)peer;
    (void)frame_max;
    (void)heartbeat_s;
}

static void drop_opened(void *peer)
{
    (void)peer;
}

static void drop_pause(void *peer, bool paused)
{
    (void)peer;
    (void)paused;
}

static void drop_close(void *peer, enum connection_close_how how)
{
    (void)peer;
    (void)how;
}

static const struct channel_ops nobody = {
    .send_octets = drop_octets,
    .send_method = drop_method,
    .send_content = drop_content,
    .deliver = drop_delivery,
    .unsent_bytes = drop_unsent,
    .tuned = drop_tuned,
    .opened = drop_opened,
    .pause = drop_pause,
    .close = drop_close,
};

static void destroy(struct connection *connection)
{
    free(connection->user_name);
    free(connection->client_properties);
    free(connection->name);
    free(connection);
}

static void answer_close(struct connection *connection)
{
    connection->close_ok_due = false;
    connection->ops->send_method(
        connection->peer, 0,
        &(struct amqp_connection_close_ok){ .id = AMQP_ID_connection_close_ok });
    connection_resume(connection, CONNECTION_PAUSE_TASK);
    connection_close(connection, CONNECTION_CLOSE_FLUSH);
}

/* All that it had is gone. */
static void end_shut_down(struct connection *connection)
{
    connection->gone = true;
    if (connection->orphan)
        destroy(connection);
    else if (connection->close_ok_due && connection->state == CONNECTION_CLOSING)
        answer_close(connection);
}

/* What ends with the queues is in front of it in the list by then, so it is advanced once more. */
static bool advance_deletion(struct deletion *deletion)
{
    struct connection *connection = CONTAINER_OF(deletion, struct connection, deletion);
    struct broker *broker = connection->broker;

    if (connection->emptied) {
        broker->orphaning_count--;
        end_shut_down(connection);
        return true;
    }
    while (connection->exclusive_queues) {
        if (!task_pay(broker, TASK_COST_DELETE))
            return false;
        queue_delete(connection->exclusive_queues->queue);
    }
    connection->emptied = true;
    return false;
}

static void release_deletion(struct deletion *deletion)
{
    struct connection *connection = CONTAINER_OF(deletion, struct connection, deletion);

    while (connection->exclusive_queues)
        queue_destroy(connection->exclusive_queues->queue);
    if (connection->orphan)
        destroy(connection);
}

/* The last channel has given back what it had. */
static void finish_shut_down(struct connection *connection)
{
    struct broker *broker = connection->broker;
    uint64_t since = broker->deletions.begun;

    connection->channels_left = true;
    if (connection->counted) {
        connection->vhost->connection_count--;
        connection->user->connections--;
        connection->counted = false;
    }
    if (!connection->exclusive_queues) {
        end_shut_down(connection);
        return;
    }
    broker->orphaning_count++;
    connection->deletion.advance = advance_deletion;
    connection->deletion.release = release_deletion;
    deletion_begin(broker, &connection->deletion);
    deletion_run_begun(broker, since);
}

/* One after another, for as long as each is done at once. */
static void leave_channels(struct connection *connection)
{
    connection->leaving = true;
    while (connection->channels) {
        const struct channel *first = connection->channels;

        channel_leave(connection->channels, LEAVE_FREE);
        if (connection->channels == first)
            break; /* its end calls connection_channel_left() */
    }
    connection->leaving = false;
}

void connection_channel_left(struct connection *connection)
{
    if (!connection->shut_down || connection->leaving)
        return;
    leave_channels(connection);
    if (!connection->channels)
        finish_shut_down(connection);
}

static void begin_shut_down(struct connection *connection)
{
    struct broker *broker = connection->broker;

    connection->shut_down = true;
    broker->connection_count--;
    connection_resume(connection, CONNECTION_PAUSE_TASK);
}

void connection_shut_down(struct connection *connection)
{
    if (connection->leaving || connection->channels_left)
        return;
    if (!connection->shut_down)
        begin_shut_down(connection);
    leave_channels(connection);
    if (!connection->channels)
        finish_shut_down(connection);
}

void connection_handle_close(struct connection *connection)
{
    connection_shut_down(connection);
    if (connection->gone) {
        answer_close(connection);
        return;
    }
    connection->close_ok_due = true;
    connection->state = CONNECTION_CLOSING; /* nothing else counts any more */
    connection_pause(connection, CONNECTION_PAUSE_TASK);
}

void connection_free(struct connection *connection)
{
    connection->state = CONNECTION_CLOSED;
    connection->ops = &nobody;
    connection->close_ok_due = false;
    connection_drop_waiting(connection);
    connection_shut_down(connection);
    DL_DELETE(connection->broker->connections, connection);
    if (connection->gone)
        destroy(connection);
    else
        connection->orphan = true;
}

void connection_close(struct connection *connection, enum connection_close_how how)
{
    if (how != CONNECTION_CLOSE_LINGER)
        connection->state = CONNECTION_CLOSED;
    else
        connection->state = CONNECTION_CLOSING;
    connection_shut_down(connection);
    connection_resume(connection, connection->paused); /* or its close-ok would not be read */
    connection->ops->close(connection->peer, how);
}

void connection_refuse(struct connection *connection, const char *reason)
{
    broker_log(connection->broker, BROKER_LOG_ERROR, "closing AMQP connection %s: %s",
               connection->name, reason);
    connection_close(connection, CONNECTION_CLOSE_SILENT);
}

static void send_close(struct connection *connection, const struct amqp_error *err,
                       enum connection_close_how how)
{
    uint32_t method_id = err->method_id == AMQP_ERROR_METHOD_UNSET ? 0 : err->method_id;

    connection_shut_down(connection);
    connection->ops->send_method(connection->peer, 0,
                                 &(struct amqp_connection_close){
                                     .id = AMQP_ID_connection_close,
                                     .reply_code = (uint16_t)err->code,
                                     .reply_text = amqp_str_from(err->text),
                                     .class_id = (uint16_t)(method_id >> 16),
                                     .method_id = (uint16_t)method_id });
    connection_close(connection, how);
}

void connection_raise(struct connection *connection, const struct amqp_error *err)
{
    broker_log(connection->broker, BROKER_LOG_ERROR,
               "closing AMQP connection %s (user '%s', vhost '%s'): %s", connection->name,
               connection->user_name ? connection->user_name : "none",
               connection->vhost ? connection->vhost->name : "none", err->text);
    send_close(connection, err, CONNECTION_CLOSE_LINGER);
}

void connection_fail(struct connection *connection, int error)
{
    struct amqp_error err;

    broker_log(connection->broker, BROKER_LOG_ERROR, "connection %s: %s", connection->name,
               strerror(-error));
    amqp_raise(&err, AMQP_INTERNAL_ERROR, NULL);
    err.method_id = 0;
    connection_raise(connection, &err);
}

void connection_force_close(struct connection *connection, int code, const char *text)
{
    struct amqp_error err;

    if (connection->state >= CONNECTION_CLOSING)
        return;
    if (connection->state < CONNECTION_OPENING) {
        connection_close(connection, CONNECTION_CLOSE_FLUSH);
        return;
    }
    amqp_raise(&err, code, "%s", text);
    err.method_id = 0;
    send_close(connection, &err, CONNECTION_CLOSE_LINGER);
}

bool connection_receive_header(struct connection *connection,
                               const uint8_t header[AMQP_PROTOCOL_HEADER_BYTES])
{
    static const uint8_t amqp_0_9_1[] = { 'A', 'M', 'Q', 'P', 0, 0, 9, 1 };
    static const uint8_t amqp_0_9[] = { 'A', 'M', 'Q', 'P', 1, 1, 0, 9 };

    assert(connection->state == CONNECTION_EXPECT_HEADER);
    if (memcmp(header, amqp_0_9_1, sizeof amqp_0_9_1) != 0 &&
        memcmp(header, amqp_0_9, sizeof amqp_0_9) != 0) {
        connection->ops->send_octets(connection->peer, amqp_0_9_1, sizeof amqp_0_9_1);
        connection_close(connection, CONNECTION_CLOSE_FLUSH);
        return false;
    }
    connection->state = CONNECTION_STARTING;
    connection_send_start(connection);
    return true;
}

uint32_t connection_payload_max(const struct connection *connection)
{
    if (connection->state < CONNECTION_OPENING)
        return connection->broker->settings.handshake_frame_bytes;
    if (connection->frame_max == 0)
        return 0;
    return connection->frame_max - AMQP_FRAME_OVERHEAD_BYTES + BOUND_FRAME_TOLERANCE_BYTES;
}

void connection_receive_bad(struct connection *connection, enum amqp_scan scan,
                            const struct amqp_frame *frame, uint8_t end_octet)
{
    struct amqp_error err = { .method_id = 0 };
    char reason[96];

    if (connection->state >= CONNECTION_CLOSING) {
        /* connection.close is out already, and close-ok can no longer be told from the rest. */
        if (connection->state == CONNECTION_CLOSING)
            connection_close(connection, CONNECTION_CLOSE_LOST_SYNC);
        return;
    }
    if (connection->state < CONNECTION_OPENING) {
        snprintf(reason, sizeof reason,
                 scan == AMQP_SCAN_OVERSIZED
                     ? "a frame of the handshake has more than initial_frame_max = %u octets"
                     : "a frame of the handshake does not end with 0xce",
                 connection->broker->settings.handshake_frame_bytes);
        connection_refuse(connection, reason);
        return;
    }
    if (scan == AMQP_SCAN_OVERSIZED)
        snprintf(reason, sizeof reason, "{frame_too_large,%zu,%u}",
                 frame->frame_bytes - AMQP_FRAME_OVERHEAD_BYTES,
                 connection->frame_max - AMQP_FRAME_OVERHEAD_BYTES);
    else
        snprintf(reason, sizeof reason, "{invalid_frame_end_marker,%u}", end_octet);
    amqp_frame_raise(&err, AMQP_FRAME_ERROR, frame, reason);
    broker_log(connection->broker, BROKER_LOG_ERROR, "closing AMQP connection %s: %s",
               connection->name, err.text);
    send_close(connection, &err, CONNECTION_CLOSE_LOST_SYNC);
}

static int new_channel(struct connection *connection, uint16_t number, struct amqp_error *err,
                       struct channel **ret_channel)
{
    struct user *user = connection->user;

    err->method_id = 0;
    if (connection->channel_max && connection->channel_count >= connection->channel_max) {
        amqp_raise(err, AMQP_NOT_ALLOWED,
                   "number of channels opened (%u) has reached the negotiated channel_max (%u)",
                   connection->channel_count, connection->channel_max);
        err->method_id = 0;
        return AMQP_NOT_ALLOWED;
    }
    if (user->max_channels >= 0 && user->channels >= user->max_channels) {
        amqp_raise(err, AMQP_NOT_ALLOWED,
                   "number of channels opened for user '%s' has reached the maximum allowed user "
                   "limit of (%lld)",
                   user->name, (long long)user->max_channels);
        err->method_id = 0;
        return AMQP_NOT_ALLOWED;
    }
    if (broker_check_channel_limit(connection->broker, err)) {
        err->method_id = 0;
        return AMQP_NOT_ALLOWED;
    }
    return channel_new(connection, number, ret_channel);
}

static int find_channel(struct connection *connection, uint16_t number, struct amqp_error *err,
                        struct channel **ret_channel)
{
    struct channel *channel = connection->last_channel;

    if (UNLIKELY(!channel || channel->number != number)) {
        HASH_FIND(by_number, connection->channels, &number, sizeof number, channel);
        if (!channel) {
            int rc = new_channel(connection, number, err, &channel);

            if (rc)
                return rc;
        }
        connection->last_channel = channel;
    }
    *ret_channel = channel;
    return 0;
}

static int receive_on_channel(struct connection *connection, const struct amqp_frame *frame,
                              struct amqp_error *err)
{
    struct channel *channel;
    bool gone;
    int rc;

    rc = find_channel(connection, frame->channel, err, &channel);
    if (rc)
        return rc;
    if (frame->type == AMQP_FRAME_METHOD && wire_load16(frame->payload.data) == 10) {
        amqp_raise(err, AMQP_COMMAND_INVALID, "unimplemented method");
        err->method_id = wire_load32(frame->payload.data);
        return AMQP_COMMAND_INVALID;
    }
    rc = channel_receive(channel, frame, err, &gone);
    if (rc)
        return rc;
    if (gone)
        channel_leave(channel, LEAVE_FREE);
    else if (UNLIKELY(connection->broker->alarms && frame->type != AMQP_FRAME_METHOD))
        connection_block(connection);
    return 0;
}

static int raise_frame(struct amqp_error *err, int code, const struct amqp_frame *frame,
                       const char *reason)
{
    amqp_frame_raise(err, code, frame, reason);
    err->method_id = 0;
    return code;
}

/* Frames that are wrong whatever the state: unknown types, lengths below the fixed part. */
static int check_frame(const struct amqp_frame *frame, struct amqp_error *err)
{
    switch (frame->type) {
    case AMQP_FRAME_METHOD:
        if (frame->payload.size < 4)
            return raise_frame(err, AMQP_FRAME_ERROR, frame, "unknown_frame");
        return 0;
    case AMQP_FRAME_HEADER:
        if (frame->payload.size < AMQP_CONTENT_HEAD_BYTES)
            return raise_frame(err, AMQP_FRAME_ERROR, frame, "unknown_frame");
        return 0;
    case AMQP_FRAME_BODY:
        return 0;
    case AMQP_FRAME_HEARTBEAT:
        if (frame->channel != 0)
            return raise_frame(err, AMQP_UNEXPECTED_FRAME, frame, NULL);
        if (frame->payload.size)
            return raise_frame(err, AMQP_FRAME_ERROR, frame, "unknown_frame");
        return 0;
    default:
        return raise_frame(err, AMQP_FRAME_ERROR, frame, "unknown_frame");
    }
}

static int receive_on_zero(struct connection *connection, const struct amqp_frame *frame,
                           struct amqp_error *err)
{
    union amqp_method method;
    int rc;

    if (frame->type != AMQP_FRAME_METHOD)
        return raise_frame(err, AMQP_UNEXPECTED_FRAME, frame, NULL);
    rc = amqp_method_decode(frame->payload, &method, err);
    if (rc)
        return rc;
    err->method_id = AMQP_ERROR_METHOD_UNSET;
    rc = connection_receive_method(connection, &method, err);
    if (rc > 0 && err->method_id == AMQP_ERROR_METHOD_UNSET)
        err->method_id = method.id;
    return rc;
}

static int receive_running(struct connection *connection, const struct amqp_frame *frame,
                           struct amqp_error *err)
{
    int rc = check_frame(frame, err);

    if (rc || frame->type == AMQP_FRAME_HEARTBEAT)
        return rc;
    if (frame->channel == 0)
        return receive_on_zero(connection, frame, err);
    if (UNLIKELY(connection->state == CONNECTION_OPENING))
        return raise_frame(err, AMQP_UNEXPECTED_FRAME, frame, NULL);
    return receive_on_channel(connection, frame, err);
}

/* Before tune-ok nothing is answered but the handshake itself. */
static int receive_handshake(struct connection *connection, const struct amqp_frame *frame,
                             struct amqp_error *err)
{
    union amqp_method method;

    if (frame->type == AMQP_FRAME_HEARTBEAT && frame->channel == 0 && frame->payload.size == 0)
        return 0;
    if (frame->type != AMQP_FRAME_METHOD || frame->channel != 0 || frame->payload.size < 4 ||
        amqp_method_decode(frame->payload, &method, err)) {
        connection_refuse(connection, "unexpected frame in the handshake");
        return 0;
    }
    err->method_id = AMQP_ERROR_METHOD_UNSET;
    return connection_receive_method(connection, &method, err);
}

/* We have sent close: only close and close-ok count. */
static void receive_closing(struct connection *connection, const struct amqp_frame *frame)
{
    uint32_t id;

    if (frame->type != AMQP_FRAME_METHOD || frame->channel != 0 || frame->payload.size < 4)
        return;
    id = wire_load32(frame->payload.data);
    if (id == AMQP_ID_connection_close)
        connection->ops->send_method(
            connection->peer, 0,
            &(struct amqp_connection_close_ok){ .id = AMQP_ID_connection_close_ok });
    else if (id == AMQP_ID_connection_close_ok)
        connection_close(connection, CONNECTION_CLOSE_FLUSH);
}

void connection_receive(struct connection *connection, const struct amqp_frame *frame)
{
    struct amqp_error err;
    int rc = 0;

    if (LIKELY(connection->state == CONNECTION_RUNNING || connection->state == CONNECTION_OPENING))
        rc = receive_running(connection, frame, &err);
    else if (connection->state < CONNECTION_OPENING)
        rc = receive_handshake(connection, frame, &err);
    else if (connection->state == CONNECTION_CLOSING)
        receive_closing(connection, frame);
    if (UNLIKELY(rc == CONNECTION_WAITS))
        rc = connection_keep_frame(connection, frame);
    if (LIKELY(rc == 0))
        return;
    if (rc < 0)
        connection_fail(connection, rc);
    else
        connection_raise(connection, &err);
}

bool connection_is_closed(const struct connection *connection)
{
    return connection->state == CONNECTION_CLOSED;
}

bool connection_wants_input(const struct connection *connection)
{
    return connection->state != CONNECTION_CLOSED && !connection->paused;
}

void connection_set_congested(struct connection *connection, bool congested)
{
    struct channel *channel;

    connection->congested = congested;
    if (congested)
        return;
    DL_FOREACH2(connection->holding_channels, channel, holding_next)
        channel_offer_room(channel);
}

void connection_pause(struct connection *connection, enum connection_pause why)
{
    bool was = connection->paused != 0;

    connection->paused |= why;
    if (!was)
        connection->ops->pause(connection->peer, true);
}

void connection_hold_back(struct connection *connection)
{
    connection->broker->store_held_back = true;
    connection_pause(connection, CONNECTION_PAUSE_STORE);
}

void connection_resume(struct connection *connection, enum connection_pause why)
{
    if (!(connection->paused & why))
        return;
    connection->paused &= ~(unsigned)why;
    if (!connection->paused)
        connection->ops->pause(connection->peer, false);
}

const char *connection_name(const struct connection *connection)
{
    return connection->name;
}

struct connection *connection_next(const struct connection *connection)
{
    return connection->next;
}
