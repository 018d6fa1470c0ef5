/*
 * direct_reply.c - reply names, and handing replies over
 *
 * The token in a name has the shape of RabbitMQ's, where the first part of base64 says which channel
 * it is and the second is a secret; some clients take it apart. Here both are 16 random octets: a
 * client that has the name may answer, and no client can guess it. It is good as long as the
 * consumer: a new consumer on the channel has another name.
 *
 * Replies are not held back by prefetch or channel.flow, and no queue takes them up: one that comes
 * while the channel closes is dropped. So is one for a requester that does not read, once
 * BOUND_DIRECT_REPLY_BYTES wait for its connection: to stop the replier instead would let one
 * requester hold up all others that it serves. The bound lies far above what consumers may have
 * unsent, so that a requester that reads late, with many requests under way, loses nothing.
 */
#include "broker/direct_reply.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "amqp/bounds.h"
#include "broker/connection-internal.h"
#include "broker/generated_name.h"
#include "broker/message_headers.h"

#define PREFIX DIRECT_REPLY_NAME "."

enum { NAME_BYTES = sizeof PREFIX - 1 + GENERATED_TOKEN_BYTES + 1 + GENERATED_TOKEN_BYTES };

struct direct_reply {
    struct channel *channel;
    UT_hash_handle by_token; /* of broker->direct_replies */
    char name[NAME_BYTES + 1]; /* the full one */
    uint8_t tag_bytes;
    char tag[]; /* of the consumer */
};

static struct amqp_str token_of(struct amqp_str name)
{
    size_t prefix_bytes = sizeof PREFIX - 1;

    return (struct amqp_str){ name.data + prefix_bytes, name.size - prefix_bytes };
}

static int check_consume(struct channel *channel, const struct amqp_basic_consume *consume,
                         struct amqp_error *err)
{
    struct amqp_str tag = consume->consumer_tag;
    struct consumer *existing;

    HASH_FIND(by_tag, channel->consumers, tag.data, tag.size, existing);
    if (existing)
        return amqp_raise(err, AMQP_NOT_ALLOWED, "attempt to reuse consumer tag '%.*s'",
                          AMQP_STR_ARG(tag));
    if (!consume->no_ack)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "reply consumer cannot acknowledge");
    if (channel->direct_reply)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "reply consumer already set");
    return 0;
}

static struct amqp_str name_of(const struct direct_reply *reply)
{
    return (struct amqp_str){ reply->name, NAME_BYTES };
}

/* amq.rabbitmq.reply-to.<base64>.<base64> */
static int make_name(char out[NAME_BYTES + 1])
{
    char *first = out + sizeof PREFIX - 1, *second = first + GENERATED_TOKEN_BYTES + 1;
    int rc;

    memcpy(out, PREFIX, sizeof PREFIX - 1);
    rc = generate_token(first);
    if (rc)
        return rc;
    second[-1] = '.';
    return generate_token(second);
}

static int add(struct channel *channel, struct amqp_str tag)
{
    struct broker *broker = channel->connection->broker;
    struct direct_reply *reply = calloc(1, sizeof *reply + tag.size);
    struct amqp_str token;
    int rc;

    if (!reply)
        return -ENOMEM;
    rc = make_name(reply->name);
    if (rc) {
        free(reply);
        return rc;
    }
    reply->channel = channel;
    reply->tag_bytes = (uint8_t)tag.size;
    if (tag.size)
        memcpy(reply->tag, tag.data, tag.size);
    token = token_of(name_of(reply));
    HASH_ADD_KEYPTR(by_token, broker->direct_replies, token.data, token.size, reply);
    channel->direct_reply = reply;
    return 0;
}

int direct_reply_consume(struct channel *channel, const struct amqp_basic_consume *consume,
                         struct amqp_error *err)
{
    struct amqp_str tag = consume->consumer_tag;
    char generated[GENERATED_NAME_BYTES];
    int rc;

    rc = check_consume(channel, consume, err);
    if (!rc && tag.size == 0)
        rc = generate_name("amq.ctag-", generated, &tag);
    if (!rc)
        rc = add(channel, tag);
    if (rc)
        return rc;
    if (!consume->no_wait)
        channel_send(channel, &(struct amqp_basic_consume_ok){ .id = AMQP_ID_basic_consume_ok,
                                                               .consumer_tag = tag });
    return 0;
}

bool direct_reply_cancel(struct channel *channel, struct amqp_str tag)
{
    const struct direct_reply *reply = channel->direct_reply;

    if (!reply || !amqp_str_equal(tag, (struct amqp_str){ reply->tag, reply->tag_bytes }))
        return false;
    direct_reply_release(channel);
    return true;
}

void direct_reply_release(struct channel *channel)
{
    struct direct_reply *reply = TAKE(channel->direct_reply);

    if (!reply)
        return;
    HASH_DELETE(by_token, channel->connection->broker->direct_replies, reply);
    free(reply);
}

struct channel *direct_reply_find(const struct broker *broker, struct amqp_str name)
{
    struct direct_reply *reply;
    struct amqp_str token;

    if (!direct_reply_is_name(name))
        return NULL;
    token = token_of(name);
    HASH_FIND(by_token, broker->direct_replies, token.data, token.size, reply);
    return reply ? reply->channel : NULL;
}

static bool takes_replies(const struct channel *requester)
{
    const struct connection *connection = requester->connection;

    return requester->state == CHANNEL_RUNNING && connection->state == CONNECTION_RUNNING &&
           connection->ops->unsent_bytes(connection->peer) < BOUND_DIRECT_REPLY_BYTES;
}

void direct_reply_deliver(struct channel *requester, struct message *message)
{
    const struct direct_reply *reply = requester->direct_reply;
    struct connection *connection = requester->connection;
    struct delivery delivery = { .delivery_tag = requester->next_delivery_tag,
                                 .message = message };

    assert(reply);
    if (!takes_replies(requester))
        return;
    delivery.consumer_tag = (struct amqp_str){ reply->tag, reply->tag_bytes };
    requester->next_delivery_tag++;
    connection->broker->messages_delivered++;
    connection->ops->deliver(connection->peer, requester->number, &delivery);
}

int direct_reply_rewrite(struct channel *channel, const struct message *message,
                         const struct amqp_properties *properties, struct amqp_error *err,
                         struct message **ret_message)
{
    const struct direct_reply *reply = channel->direct_reply;
    struct amqp_properties changed = *properties;

    assert(direct_reply_is_bare(properties->reply_to));
    if (!reply)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "fast reply consumer does not exist");
    changed.reply_to = name_of(reply);
    return message_with_properties(message, message_parts(message), &changed, ret_message);
}
