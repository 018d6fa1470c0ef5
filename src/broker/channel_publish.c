/*
 * channel_publish.c - from a complete content to the queues, and the confirms
 *
 * The checks run in RabbitMQ's order (amqp-0-9-1.md 6.9), the first failing one wins. The usual
 * message, without headers, expiration, user-id or reply-to, is never parsed here: the flags of
 * its properties say that there is nothing to ask. The exchange of the last publish is remembered
 * together with the answer about its permission until a queue, an exchange or a permission goes.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/channel.h"
#include "broker/connection-internal.h"
#include "broker/dead_letter.h"
#include "broker/direct_reply.h"
#include "broker/expiration.h"
#include "broker/memory.h"
#include "broker/sender_selected.h"
#include "broker/tx.h"

enum {
    /* properties that the broker itself looks at */
    PROPERTIES_ASKED = AMQP_PROPERTY_HEADERS | AMQP_PROPERTY_EXPIRATION | AMQP_PROPERTY_USER_ID |
                       AMQP_PROPERTY_REPLY_TO,
    OPEN_COMMIT_BYTES_MAX = 32 * 1024 * 1024, /* publishers wait for the disk past this */
    ROUTE_WORK_A_TURN = 1000000, /* steps of matching: 1 to 3 ms; publishers wait past this */
};

static uint64_t publish_generation(const struct channel *channel)
{
    const struct broker *broker = channel->connection->broker;

    return broker->topology_generation + auth_generation(broker->auth);
}

struct exchange *channel_last_exchange(const struct channel *channel)
{
    return channel->publish_generation == publish_generation(channel) ? channel->publish_exchange
                                                                      : NULL;
}

static int find_exchange(struct channel *channel, struct amqp_str name, struct amqp_error *err,
                         struct exchange **ret_exchange)
{
    struct connection *connection = channel->connection;
    struct exchange *exchange = channel_last_exchange(channel);
    int rc;

    if (exchange && amqp_str_equal(exchange->destination.name, name)) {
        *ret_exchange = exchange;
        return 0;
    }
    rc = connection_check_permission(connection, PERMISSION_WRITE, true, name, err);
    if (!rc)
        rc = vhost_find_exchange(connection->vhost, name, err, &exchange);
    if (rc)
        return rc;
    if (exchange->internal)
        return amqp_raise(err, AMQP_ACCESS_REFUSED,
                          "cannot publish to internal exchange '%.*s' in vhost '%s'",
                          AMQP_STR_ARG(name), connection->vhost->name);
    channel->publish_exchange = exchange;
    channel->publish_generation = publish_generation(channel);
    *ret_exchange = exchange;
    return 0;
}

static int check_topic(struct channel *channel, const struct exchange *exchange,
                       struct amqp_str routing_key, struct amqp_error *err)
{
    struct connection *connection = channel->connection;

    if (LIKELY(!exchange->type || strcmp(exchange->type->name, "topic") != 0))
        return 0;
    if (auth_topic_allows(connection->broker->auth, connection->user_name, connection->vhost->name,
                          exchange->destination.name, PERMISSION_WRITE, routing_key))
        return 0;
    return amqp_raise(err, AMQP_ACCESS_REFUSED,
                      "write access to topic '%.*s' in exchange '%.*s' in vhost '%s' refused for "
                      "user '%s'",
                      AMQP_STR_ARG(routing_key), AMQP_STR_ARG(exchange->destination.name),
                      connection->vhost->name, connection->user_name);
}

static int check_user_id(const struct channel *channel, struct amqp_str user_id,
                         struct amqp_error *err)
{
    const struct connection *connection = channel->connection;

    if (amqp_str_equal(user_id, amqp_str_from(connection->user_name)) ||
        (connection->user && user_has_tag(connection->user, "impersonator")))
        return 0;
    return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                      "user_id property set to '%.*s' but authenticated user was '%s'",
                      AMQP_STR_ARG(user_id), connection->user_name);
}

static int check_properties(struct channel *channel, const struct amqp_properties *properties,
                            struct message *message, struct amqp_error *err)
{
    int rc = 0;

    if (properties->flags & AMQP_PROPERTY_USER_ID)
        rc = check_user_id(channel, properties->user_id, err);
    if (!rc && (properties->flags & AMQP_PROPERTY_EXPIRATION))
        rc = expiration_parse(properties->expiration, err, &message->expiration_ms);
    return rc;
}

void channel_hold_back(struct channel *channel, const struct push_outcome *outcome)
{
    struct connection *connection = channel->connection;

    if ((outcome->stored || outcome->paged) &&
        store_open_bytes(connection->broker->store) > OPEN_COMMIT_BYTES_MAX)
        connection_hold_back(connection);
}

int channel_push(struct channel *channel, struct message *message, struct queue **queues,
                 size_t n_queues, struct push_outcome *outcome)
{
    int rc;

    broker_note_memory(channel->connection->broker, n_queues * 2 * sizeof(struct queue_entry));
    for (size_t i = 0; i < n_queues; i++) {
        rc = queue_push(queues[i], message, outcome);
        if (rc)
            return rc;
    }
    channel_hold_back(channel, outcome);
    return 0;
}

void channel_run_dead_letters(struct channel *channel)
{
    struct broker *broker = channel->connection->broker;

    dead_letter_run(broker);
    if (dead_letter_pending(broker))
        connection_hold_back(channel->connection);
}

void channel_return(struct channel *channel, struct message *message)
{
    struct connection *connection = channel->connection;

    if (channel->in_confirm_list)
        channel_settle_confirms(channel); /* of earlier publishes: they come before the return */
    connection->ops->send_content(connection->peer, channel->number,
                                  &(struct amqp_basic_return){
                                      .id = AMQP_ID_basic_return,
                                      .reply_code = AMQP_NO_ROUTE,
                                      .reply_text = AMQP_STR("NO_ROUTE"),
                                      .exchange = message_exchange(message),
                                      .routing_key = message_routing_key(message) },
                                  message);
}

/* The publish is done: number it, and confirm it now or when its commit is durable. */
static int add_confirm(struct channel *channel, const struct push_outcome *outcome)
{
    struct broker *broker = channel->connection->broker;
    int rc = confirm_add(&channel->confirms,
                         outcome->stored ? store_open_commit(broker->store) : 0, outcome->refused);

    if (rc)
        return rc;
    if (outcome->stored)
        channel_wait_for_commit(channel);
    else
        channel_confirm_soon(channel);
    return 0;
}

static int push_routed(struct channel *channel, struct message *message, struct amqp_error *err)
{
    struct route *route = &channel->connection->broker->route;
    bool mandatory = channel->content.mandatory;
    struct push_outcome outcome = { 0 };
    int rc;

    if (channel->mode == CHANNEL_TX)
        return tx_add_publish(channel, message, route, err);
    if (UNLIKELY(!direct_reply_try(channel->connection->broker, message) &&
                 route->n_queues == 0 && mandatory))
        channel_return(channel, message);
    rc = channel_push(channel, message, route->queues, route->n_queues, &outcome);
    if (!rc && channel->mode == CHANNEL_CONFIRM)
        rc = add_confirm(channel, &outcome);
    if (UNLIKELY(dead_letter_pending(channel->connection->broker)))
        channel_run_dead_letters(channel);
    return rc;
}

/* Properties are checked: route by all keys, and without the BCC header. */
static int publish_by_headers(struct channel *channel, struct exchange *exchange,
                              const struct amqp_properties *properties, struct message *message,
                              struct amqp_error *err)
{
    struct route *route = &channel->connection->broker->route;
    OWNED(sender_keys_release) struct sender_keys *keys = &(struct sender_keys){ 0 };
    OWNED(message_unref) struct message *without_bcc = NULL;
    int rc;

    rc = sender_keys_collect(message_routing_key(message), properties->headers, err, keys);
    if (rc)
        return rc;
    route->headers = properties->headers;
    route->has_headers = (properties->flags & AMQP_PROPERTY_HEADERS) != 0;
    rc = route_message(route, exchange, keys->keys, keys->n_keys);
    if (rc)
        return rc;
    if (UNLIKELY(route->work > ROUTE_WORK_A_TURN))
        connection_hold_back(channel->connection); /* to the end of the turn */
    if (keys->has_bcc) {
        rc = message_without_bcc(message, properties, &without_bcc);
        if (rc)
            return rc;
        message = without_bcc;
        broker_note_memory(channel->connection->broker, message_memory_bytes(message));
    }
    return push_routed(channel, message, err);
}

static void decode_properties(const struct message *message, struct amqp_properties *ret_properties)
{
    int rc = amqp_properties_decode(message_properties(message), ret_properties);

    assert(rc == 0); /* the header frame was checked */
    (void)rc;
}

/* The uncommon message: properties to check, several keys, headers to route by. */
static int publish_asked(struct channel *channel, struct exchange *exchange,
                         struct message *message, struct amqp_error *err)
{
    OWNED(message_unref) struct message *rewritten = NULL;
    struct amqp_properties properties;
    int rc;

    decode_properties(message, &properties);
    if ((properties.flags & AMQP_PROPERTY_REPLY_TO) && direct_reply_is_bare(properties.reply_to)) {
        rc = direct_reply_rewrite(channel, message, &properties, err, &rewritten);
        if (rc)
            return rc;
        message = rewritten;
        broker_note_memory(channel->connection->broker, message_memory_bytes(message));
        decode_properties(message, &properties);
    }
    rc = check_properties(channel, &properties, message, err);
    return rc ? rc : publish_by_headers(channel, exchange, &properties, message, err);
}

int channel_publish(struct channel *channel, struct amqp_error *err)
{
    struct broker *broker = channel->connection->broker;
    struct content *content = &channel->content;
    struct amqp_str name = { content->names, content->exchange_bytes };
    struct amqp_str key = { content->names + content->exchange_bytes, content->routing_key_bytes };
    struct exchange *exchange = NULL;
    int rc;

    if (UNLIKELY(content->immediate))
        return amqp_raise(err, AMQP_NOT_IMPLEMENTED, "immediate=true");
    if (UNLIKELY(content->drop))
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "message size %llu is larger than %smax size %u",
                          (unsigned long long)content->body_bytes,
                          broker->settings.message_bytes_max < BOUND_MESSAGE_HARD_BYTES
                              ? "configured "
                              : "",
                          broker->settings.message_bytes_max);
    rc = find_exchange(channel, name, err, &exchange);
    if (!rc)
        rc = check_topic(channel, exchange, key, err);
    if (rc)
        return rc;
    exchange->published_in++;
    broker->messages_published++;
    if (UNLIKELY(content->property_flags & PROPERTIES_ASKED))
        return publish_asked(channel, exchange, content->message, err);
    broker->route.has_headers = false;
    broker->route.headers = (struct amqp_table){ NULL, 0 };
    rc = route_message(&broker->route, exchange, &key, 1);
    return rc ? rc : push_routed(channel, content->message, err);
}

void channel_wait_for_commit(struct channel *channel)
{
    struct broker *broker = channel->connection->broker;

    broker->commit_wanted = true;
    broker->gather.open_waits++;
    if (channel->in_waiting_list)
        return;
    channel->in_waiting_list = true;
    DL_APPEND2(broker->waiting_first, channel, waiting_prev, waiting_next);
}

void channel_confirm_soon(struct channel *channel)
{
    struct broker *broker = channel->connection->broker;

    if (channel->in_confirm_list)
        return;
    channel->in_confirm_list = true;
    DL_APPEND2(broker->confirm_first, channel, confirm_prev, confirm_next);
}

static void send_confirm(struct channel *channel, const struct confirm_answer *answer)
{
    if (answer->refused)
        channel_send(channel, &(struct amqp_basic_nack){ .id = AMQP_ID_basic_nack,
                                                         .delivery_tag = answer->tag,
                                                         .multiple = answer->multiple,
                                                         .requeue = true });
    else
        channel_send(channel, &(struct amqp_basic_ack){ .id = AMQP_ID_basic_ack,
                                                        .delivery_tag = answer->tag,
                                                        .multiple = answer->multiple });
}

void channel_settle_confirms(struct channel *channel)
{
    struct broker *broker = channel->connection->broker;
    uint64_t before = channel->confirms.settled;
    struct confirm_answer answer;

    if (channel->in_confirm_list) {
        channel->in_confirm_list = false;
        DL_DELETE2(broker->confirm_first, channel, confirm_prev, confirm_next);
    }
    while (confirm_next(&channel->confirms, broker->durable_commit, &answer)) {
        if (channel->mode == CHANNEL_CONFIRM)
            send_confirm(channel, &answer);
        else
            for (; before < answer.tag; before++)
                channel_send(channel, &(struct amqp_tx_commit_ok){ .id = AMQP_ID_tx_commit_ok });
    }
    if (channel->in_waiting_list && confirm_is_empty(&channel->confirms)) {
        channel->in_waiting_list = false;
        DL_DELETE2(broker->waiting_first, channel, waiting_prev, waiting_next);
    }
}

int handle_confirm_select(struct channel *channel, const union amqp_method *method,
                          struct amqp_error *err)
{
    if (channel->mode == CHANNEL_TX)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "cannot switch from tx to confirm mode");
    channel->mode = CHANNEL_CONFIRM;
    if (!method->confirm_select.no_wait)
        channel_send(channel,
                     &(struct amqp_confirm_select_ok){ .id = AMQP_ID_confirm_select_ok });
    return 0;
}

int handle_tx_select(struct channel *channel, const union amqp_method *method,
                     struct amqp_error *err)
{
    (void)method;
    if (channel->mode == CHANNEL_CONFIRM)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "cannot switch from confirm to tx mode");
    if (channel->mode == CHANNEL_PLAIN) {
        channel->tx = tx_new();
        if (!channel->tx)
            return -ENOMEM;
        channel->mode = CHANNEL_TX;
    }
    channel_send(channel, &(struct amqp_tx_select_ok){ .id = AMQP_ID_tx_select_ok });
    return 0;
}

int channel_end_commit(struct channel *channel, const struct push_outcome *outcome)
{
    struct amqp_error err;

    if (!outcome->refused)
        return add_confirm(channel, outcome);
    amqp_raise(&err, AMQP_PRECONDITION_FAILED, "partial tx completion");
    err.method_id = AMQP_ID_tx_commit;
    channel_raise(channel, &err);
    return 0;
}

int handle_tx_commit(struct channel *channel, const union amqp_method *method,
                     struct amqp_error *err)
{
    (void)method;
    if (channel->mode != CHANNEL_TX)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "channel is not transactional");
    tx_commit(channel);
    return 0;
}

static bool run_rollback(struct task *task)
{
    struct channel *channel = CONTAINER_OF(task, struct channel, task);

    return tx_rollback_some(channel, channel->tx);
}

static void end_rollback(struct channel *channel)
{
    channel_send(channel, &(struct amqp_tx_rollback_ok){ .id = AMQP_ID_tx_rollback_ok });
}

int handle_tx_rollback(struct channel *channel, const union amqp_method *method,
                       struct amqp_error *err)
{
    (void)method;
    if (channel->mode != CHANNEL_TX)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "channel is not transactional");
    (void)channel_begin_task(channel, run_rollback, end_rollback);
    return 0;
}
