/*
 * channel.c - life cycle, content assembly, and which method goes where
 *
 * Frames come in from the connection. A METHOD frame is decoded and looked up in the dispatch
 * table; basic.publish opens a content, whose HEADER and BODY frames fill a message in place, so a
 * body is copied once, from the receive buffer into the message. Errors of handlers come back here:
 * soft ones close this channel, hard ones go up to the connection.
 *
 * While closing (we sent channel.close), contents are still assembled, because their frames must
 * be told from others, but nothing is kept; every method but close and close-ok is dropped.
 */
#include "broker/channel_room.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "amqp/wire.h"
#include "broker/connection-internal.h"
#include "broker/memory.h"

enum {
    BODY_EAGER_BYTES = 1024 * 1024, /* larger bodies grow as they arrive, not as announced */
    HEAD_HELD_BYTES = 512,          /* an unfinished content of less counts as part of its channel */
};

int channel_new(struct connection *connection, uint16_t number, struct channel **ret_channel)
{
    struct channel *channel = calloc(1, sizeof *channel);

    if (!channel)
        return -ENOMEM;
    channel->connection = connection;
    channel->number = number;
    channel->flow_active = true;
    channel->next_delivery_tag = 1;
    unacked_init(&channel->unacked);
    confirm_init(&channel->confirms);
    HASH_ADD(by_number, connection->channels, number, sizeof channel->number, channel);
    connection->channel_count++;
    if (connection->user)
        connection->user->channels++;
    *ret_channel = channel;
    return 0;
}

/* Octets of an unfinished content are kept. */
static void hold(struct channel *channel, size_t bytes)
{
    channel->content.held_bytes += bytes;
    channel->connection->unfinished_bytes += bytes;
}

/* The content is complete, or given up. */
static void hold_no_more(struct channel *channel)
{
    if (LIKELY(channel->content.held_bytes == 0))
        return;
    channel->connection->unfinished_bytes -= channel->content.held_bytes;
    channel->content.held_bytes = 0;
}

void channel_drop_content(struct channel *channel)
{
    hold_no_more(channel);
    message_unref(TAKE(channel->content.message));
    channel->content.drop = true;
}

static void channel_free(struct channel *channel)
{
    struct connection *connection = channel->connection;

    unacked_release(&channel->unacked);
    confirm_release(&channel->confirms);
    free((char *)channel->last_queue.data);
    HASH_DELETE(by_number, connection->channels, channel);
    if (connection->last_channel == channel)
        connection->last_channel = NULL;
    connection->channel_count--;
    if (connection->user)
        connection->user->channels--;
    free(channel);
}

void channel_left(struct channel *channel)
{
    struct connection *connection = channel->connection;

    if (channel->leaves == LEAVE_ERROR)
        return; /* close-ok is due */
    if (channel->leaves == LEAVE_CLOSE && !connection->shut_down)
        connection->ops->send_method(
            connection->peer, channel->number,
            &(struct amqp_channel_close_ok){ .id = AMQP_ID_channel_close_ok });
    channel_free(channel);
    connection_channel_left(connection);
}

void channel_send(struct channel *channel, const void *method)
{
    struct connection *connection = channel->connection;

    if (UNLIKELY(channel->in_confirm_list))
        channel_settle_confirms(channel);
    if (channel->state != CHANNEL_CLOSING && !connection->shut_down)
        connection->ops->send_method(connection->peer, channel->number, method);
}

static const char *method_name(uint32_t method_id)
{
    const struct amqp_method_info *info = amqp_method_find(method_id);

    return info ? info->name : "none";
}

void channel_raise(struct channel *channel, const struct amqp_error *err)
{
    struct connection *connection = channel->connection;

    broker_log(connection->broker, BROKER_LOG_ERROR,
               "channel %u of connection %s: operation %s caused a channel exception: %s",
               channel->number, connection_name(connection), method_name(err->method_id),
               err->text);
    channel_settle_confirms(channel); /* confirms that are ready precede channel.close (5.3) */
    channel_send(channel, &(struct amqp_channel_close){
                              .id = AMQP_ID_channel_close,
                              .reply_code = (uint16_t)err->code,
                              .reply_text = amqp_str_from(err->text),
                              .class_id = (uint16_t)(err->method_id >> 16),
                              .method_id = (uint16_t)err->method_id });
    channel_leave(channel, LEAVE_ERROR);
}

static int handle_channel_open(struct channel *channel, const union amqp_method *method,
                               struct amqp_error *err)
{
    (void)method;
    if (channel->state != CHANNEL_STARTING)
        return amqp_raise(err, AMQP_CHANNEL_ERROR, "second 'channel.open' seen");
    channel->state = CHANNEL_RUNNING;
    channel_send(channel, &(struct amqp_channel_open_ok){ .id = AMQP_ID_channel_open_ok });
    return 0;
}

static int handle_channel_flow(struct channel *channel, const union amqp_method *method,
                               struct amqp_error *err)
{
    (void)err;
    channel->flow_active = method->channel_flow.active;
    channel_send(channel, &(struct amqp_channel_flow_ok){ .id = AMQP_ID_channel_flow_ok,
                                                          .active = channel->flow_active });
    channel_room_came(channel);
    return 0;
}

static int handle_access_request(struct channel *channel, const union amqp_method *method,
                                 struct amqp_error *err)
{
    (void)method;
    (void)err;
    channel_send(channel, &(struct amqp_access_request_ok){ .id = AMQP_ID_access_request_ok,
                                                            .reserved_1 = 1 });
    return 0;
}

/* Answers that clients send although nobody asked: taken silently (2.2). */
static int handle_nothing(struct channel *channel, const union amqp_method *method,
                          struct amqp_error *err)
{
    (void)channel;
    (void)method;
    (void)err;
    return 0;
}

static int handle_basic_publish(struct channel *channel, const union amqp_method *method,
                                struct amqp_error *err)
{
    const struct amqp_basic_publish *publish = &method->basic_publish;
    struct content *content = &channel->content;

    (void)err;
    content->state = CONTENT_HEADER;
    content->mandatory = publish->mandatory;
    content->immediate = publish->immediate;
    content->drop = channel->state == CHANNEL_CLOSING;
    content->exchange_bytes = (uint8_t)publish->exchange.size;
    content->routing_key_bytes = (uint8_t)publish->routing_key.size;
    memcpy(content->names, publish->exchange.data, publish->exchange.size);
    memcpy(content->names + publish->exchange.size, publish->routing_key.data,
           publish->routing_key.size);
    return 0;
}

static channel_handler *find_handler(uint32_t method_id)
{
    switch (method_id) {
#define HANDLER(name)     \
    case AMQP_ID_##name:  \
        return handle_##name;
        HANDLER(basic_publish)
        HANDLER(basic_ack)
        HANDLER(basic_nack)
        HANDLER(basic_reject)
        HANDLER(basic_get)
        HANDLER(basic_qos)
        HANDLER(basic_consume)
        HANDLER(basic_cancel)
        HANDLER(basic_recover)
        HANDLER(basic_recover_async)
        HANDLER(channel_open)
        HANDLER(channel_flow)
        HANDLER(access_request)
        HANDLER(exchange_declare)
        HANDLER(exchange_delete)
        HANDLER(exchange_bind)
        HANDLER(exchange_unbind)
        HANDLER(queue_declare)
        HANDLER(queue_bind)
        HANDLER(queue_unbind)
        HANDLER(queue_purge)
        HANDLER(queue_delete)
        HANDLER(confirm_select)
        HANDLER(tx_select)
        HANDLER(tx_commit)
        HANDLER(tx_rollback)
#undef HANDLER
    case AMQP_ID_channel_flow_ok:
    case AMQP_ID_basic_cancel_ok:
        return handle_nothing;
    default:
        return NULL;
    }
}

/* channel.close and close-ok, in whatever state the channel is. */
static int receive_close(struct channel *channel, uint32_t method_id, struct amqp_error *err,
                         bool *ret_gone)
{
    struct connection *connection = channel->connection;

    if (method_id == AMQP_ID_channel_close_ok) {
        if (channel->state != CHANNEL_CLOSING)
            return amqp_raise(err, AMQP_COMMAND_INVALID, "unimplemented method");
        *ret_gone = true;
        return 0;
    }
    if (channel->state == CHANNEL_RUNNING) {
        broker_dispatch(connection->broker); /* what is owed by now goes out before close-ok */
        channel_settle_confirms(channel);
        channel_leave(channel, LEAVE_CLOSE);
        return 0;
    }
    connection->ops->send_method(connection->peer, channel->number,
                                 &(struct amqp_channel_close_ok){ .id = AMQP_ID_channel_close_ok });
    return 0;
}

/* True between tx.commit and its commit-ok, which waits for the disk. */
static bool is_committing(struct channel *channel)
{
    if (LIKELY(channel->mode != CHANNEL_TX || confirm_is_empty(&channel->confirms)))
        return false;
    channel_settle_confirms(channel); /* a commit that waits for nothing is answered by now */
    return !confirm_is_empty(&channel->confirms);
}

static int raise_committing(struct amqp_error *err)
{
    return amqp_raise(err, AMQP_CHANNEL_ERROR, "unexpected command while processing 'tx.commit'");
}

static int receive_method(struct channel *channel, const struct amqp_frame *frame,
                          struct amqp_error *err, bool *ret_gone)
{
    union amqp_method method;
    channel_handler *handle;
    int rc;

    rc = amqp_method_decode(frame->payload, &method, err);
    if (rc)
        return rc;
    err->method_id = AMQP_ERROR_METHOD_UNSET;
    if (UNLIKELY(channel->state == CHANNEL_STARTING && method.id != AMQP_ID_channel_open &&
                 method.id != AMQP_ID_basic_publish)) {
        rc = amqp_raise(err, AMQP_CHANNEL_ERROR, "expected 'channel.open'");
    } else if (method.id == AMQP_ID_channel_close || method.id == AMQP_ID_channel_close_ok) {
        rc = receive_close(channel, method.id, err, ret_gone);
    } else if (channel->state == CHANNEL_CLOSING && method.id != AMQP_ID_basic_publish &&
               method.id != AMQP_ID_channel_open) {
        return 0;
    } else if (method.id != AMQP_ID_basic_publish && is_committing(channel)) {
        rc = raise_committing(err);
    } else {
        handle = find_handler(method.id);
        rc = handle ? handle(channel, &method, err)
                    : amqp_raise(err, AMQP_COMMAND_INVALID, "unimplemented method");
    }
    if (rc > 0 && err->method_id == AMQP_ERROR_METHOD_UNSET)
        err->method_id = method.id;
    return rc;
}

static int raise_unexpected(struct amqp_error *err, uint32_t method_id, const char *text)
{
    amqp_raise(err, AMQP_UNEXPECTED_FRAME, "%s", text);
    err->method_id = method_id;
    return AMQP_UNEXPECTED_FRAME;
}

static int start_message(struct channel *channel, const struct amqp_frame *frame)
{
    struct content *content = &channel->content;
    struct amqp_bytes raw = { frame->payload.data + AMQP_CONTENT_HEAD_BYTES,
                              frame->payload.size - AMQP_CONTENT_HEAD_BYTES };
    struct amqp_properties properties;
    uint32_t eager;
    int rc;

    rc = amqp_properties_decode(raw, &properties);
    if (rc)
        return rc;
    content->property_flags = properties.flags;
    if (content->body_bytes > channel->connection->broker->settings.message_bytes_max)
        content->drop = true;
    if (content->drop)
        return 0;
    eager = content->body_bytes < BODY_EAGER_BYTES ? (uint32_t)content->body_bytes
                                                   : BODY_EAGER_BYTES;
    content->message = message_new(
        (struct amqp_str){ content->names, content->exchange_bytes },
        (struct amqp_str){ content->names + content->exchange_bytes, content->routing_key_bytes },
        raw, eager);
    if (!content->message)
        return -ENOMEM;
    if (UNLIKELY(raw.size > HEAD_HELD_BYTES))
        hold(channel, raw.size);
    broker_note_memory(channel->connection->broker, sizeof *content->message + raw.size);
    content->message->priority = properties.priority;
    content->message->persistent = properties.delivery_mode == 2;
    return 0;
}

/* The content is complete: publish it, unless there is nobody to publish for. */
static int finish_content(struct channel *channel, struct amqp_error *err)
{
    struct content *content = &channel->content;
    int rc;

    content->state = CONTENT_IDLE;
    hold_no_more(channel);
    err->method_id = AMQP_ID_basic_publish;
    if (UNLIKELY(channel->state == CHANNEL_STARTING))
        rc = amqp_raise(err, AMQP_CHANNEL_ERROR, "expected 'channel.open'");
    else if (UNLIKELY(channel->state == CHANNEL_CLOSING))
        rc = 0;
    else if (is_committing(channel))
        rc = raise_committing(err);
    else
        rc = channel_publish(channel, err);
    if (rc > 0)
        err->method_id = AMQP_ID_basic_publish;
    message_unref(TAKE(content->message));
    return rc;
}

static int receive_header(struct channel *channel, const struct amqp_frame *frame,
                          struct amqp_error *err)
{
    struct content *content = &channel->content;
    uint16_t class_id = wire_load16(frame->payload.data);
    int rc;

    if (content->state == CONTENT_IDLE)
        return raise_unexpected(err, 0, "expected method frame, got non method frame instead");
    if (content->state == CONTENT_BODY)
        return raise_unexpected(err, AMQP_ID_basic_publish,
                                "expected content body, got non content body frame instead");
    if (wire_load16(frame->payload.data + 2) != 0)
        return raise_unexpected(err, AMQP_ID_basic_publish,
                                "expected content header for class 60, got non content header "
                                "frame instead");
    if (class_id != AMQP_CLASS_BASIC) {
        amqp_raise(err, AMQP_UNEXPECTED_FRAME,
                   "expected content header for class 60, got one for class %u instead", class_id);
        err->method_id = AMQP_ID_basic_publish;
        return AMQP_UNEXPECTED_FRAME;
    }
    content->body_bytes = wire_load64(frame->payload.data + 4);
    content->received_bytes = 0;
    if (content->body_bytes > BOUND_MESSAGE_HARD_BYTES) {
        amqp_raise(err, AMQP_FRAME_ERROR,
                   "content body size %llu exceeds maximum allowed size %d",
                   (unsigned long long)content->body_bytes, BOUND_MESSAGE_HARD_BYTES);
        err->method_id = AMQP_ID_basic_publish;
        return AMQP_FRAME_ERROR;
    }
    rc = start_message(channel, frame);
    if (rc > 0) {
        amqp_raise(err, rc, "cannot decode the properties of a content header");
        err->method_id = AMQP_ID_basic_publish;
    }
    if (rc)
        return rc;
    content->state = CONTENT_BODY;
    return content->body_bytes ? 0 : finish_content(channel, err);
}

/* Makes the message of a large body hold @needed octets of it. */
static int grow_body(struct content *content, uint64_t needed)
{
    struct message *message = content->message;
    uint64_t capacity = message->body_bytes;

    if (LIKELY(needed <= capacity))
        return 0;
    while (capacity < needed)
        capacity *= 2;
    if (capacity > content->body_bytes)
        capacity = content->body_bytes;
    message = message_grow(message, (uint32_t)capacity);
    if (!message)
        return -ENOMEM;
    content->message = message;
    return 0;
}

static int receive_body(struct channel *channel, const struct amqp_frame *frame,
                        struct amqp_error *err)
{
    struct content *content = &channel->content;
    size_t size = frame->payload.size;
    int rc;

    if (content->state == CONTENT_IDLE)
        return raise_unexpected(err, 0, "expected method frame, got non method frame instead");
    if (content->state == CONTENT_HEADER)
        return raise_unexpected(err, AMQP_ID_basic_publish,
                                "expected content header for class 60, got non content header "
                                "frame instead");
    if (size > content->body_bytes - content->received_bytes) {
        amqp_raise(err, AMQP_FRAME_ERROR, "content body frame exceeds remaining content size");
        err->method_id = AMQP_ID_basic_publish;
        return AMQP_FRAME_ERROR;
    }
    if (!content->drop) {
        rc = grow_body(content, content->received_bytes + size);
        if (rc)
            return rc;
        if (size)
            memcpy(message_body_writable(content->message) + content->received_bytes,
                   frame->payload.data, size);
        broker_note_memory(channel->connection->broker, size);
    }
    content->received_bytes += size;
    if (LIKELY(content->received_bytes == content->body_bytes))
        return finish_content(channel, err);
    if (!content->drop)
        hold(channel, size);
    return 0;
}

static int receive_any(struct channel *channel, const struct amqp_frame *frame,
                       struct amqp_error *err, bool *ret_gone)
{
    switch (frame->type) {
    case AMQP_FRAME_METHOD:
        if (UNLIKELY(channel->content.state == CONTENT_HEADER))
            return raise_unexpected(err, AMQP_ID_basic_publish,
                                    "expected content header for class 60, got non content "
                                    "header frame instead");
        if (UNLIKELY(channel->content.state == CONTENT_BODY))
            return raise_unexpected(err, AMQP_ID_basic_publish,
                                    "expected content body, got non content body frame instead");
        return receive_method(channel, frame, err, ret_gone);
    case AMQP_FRAME_HEADER:
        return receive_header(channel, frame, err);
    default:
        assert(frame->type == AMQP_FRAME_BODY);
        return receive_body(channel, frame, err);
    }
}

int channel_receive(struct channel *channel, const struct amqp_frame *frame,
                    struct amqp_error *err, bool *ret_gone)
{
    int rc;

    *ret_gone = false;
    err->hard = false;
    rc = receive_any(channel, frame, err, ret_gone);
    if (rc > 0 && !err->hard && !amqp_reply_is_hard(rc)) {
        channel_raise(channel, err);
        return 0;
    }
    return rc;
}

void channel_notify_cancel(struct channel *channel, struct amqp_str consumer_tag)
{
    if (channel->connection->knows_cancel_notify)
        channel_send(channel, &(struct amqp_basic_cancel){ .id = AMQP_ID_basic_cancel,
                                                           .consumer_tag = consumer_tag,
                                                           .no_wait = true });
}
