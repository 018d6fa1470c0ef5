/*
 * direct_reply.h - answers without a queue: amq.rabbitmq.reply-to
 *
 * A channel that consumes from the pseudo-queue has a *reply name*: the prefix, a dot and an
 * unguessable token of two parts. Requests published on it with the bare name in reply-to carry the full one;
 * what is published to the default exchange with that as its key goes straight to the channel.
 * Nothing is queued: at most once, gone with the channel, and dropped while
 * BOUND_DIRECT_REPLY_BYTES wait unread.
 * Spec: extensions.md 4.4, amqp-0-9-1.md 8.12.
 */
#ifndef BROKER_DIRECT_REPLY_H
#define BROKER_DIRECT_REPLY_H

#include "broker/channel.h"

#define DIRECT_REPLY_NAME "amq.rabbitmq.reply-to"

/** direct_reply_is_bare() - the pseudo-queue's own name */
static inline bool direct_reply_is_bare(struct amqp_str name)
{
    return amqp_str_equal(name, AMQP_STR(DIRECT_REPLY_NAME));
}

/** direct_reply_is_name() - a full reply name, of whatever channel */
static inline bool direct_reply_is_name(struct amqp_str name)
{
    return amqp_str_starts_with(name, AMQP_STR(DIRECT_REPLY_NAME "."));
}

/**
 * direct_reply_consume() - basic.consume from the pseudo-queue
 *
 * Return: 0, consume-ok has been sent; 406 "reply consumer cannot acknowledge" or "reply consumer
 *         already set"; 530 for a tag in use; -ENOMEM.
 */
int direct_reply_consume(struct channel *channel, const struct amqp_basic_consume *consume,
                         struct amqp_error *err);

/** direct_reply_cancel() - basic.cancel of its tag: true when @tag was the reply consumer's */
bool direct_reply_cancel(struct channel *channel, struct amqp_str tag);
/** direct_reply_release() - the channel goes */
void direct_reply_release(struct channel *channel);

/** direct_reply_find() - the channel that a full reply name belongs to; NULL when it is gone */
struct channel *direct_reply_find(const struct broker *broker, struct amqp_str name);

/** direct_reply_try() - deliver what is published to a living reply name; false if it is none */
static inline bool direct_reply_try(const struct broker *broker, struct message *message);

/** direct_reply_deliver() - hand a reply to its requester; the name is message's routing key */
void direct_reply_deliver(struct channel *requester, struct message *message);

static inline bool direct_reply_try(const struct broker *broker, struct message *message)
{
    struct channel *requester;

    if (message->exchange_bytes || !direct_reply_is_name(message_routing_key(message)))
        return false;
    requester = direct_reply_find(broker, message_routing_key(message));
    if (requester)
        direct_reply_deliver(requester, message);
    return requester != NULL;
}

/**
 * direct_reply_rewrite() - put the channel's reply name into a request's reply-to property
 * @properties:  of @message, decoded; reply-to is the bare name
 *
 * Return: 0; 406 "fast reply consumer does not exist"; -ENOMEM.
 */
int direct_reply_rewrite(struct channel *channel, const struct message *message,
                         const struct amqp_properties *properties, struct amqp_error *err,
                         struct message **ret_message);

#endif
