/*
 * channel_basic.c - consuming, getting, settling
 *
 * Delivery tags are numbered per channel, for no-ack deliveries too. A delivery that wants an
 * acknowledgement goes into channel->unacked with its entry, a reference to its queue and its
 * consumer; settling takes it out again. In tx mode a settlement is only noted (tx.c).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "broker/channel_room.h"
#include "broker/connection-internal.h"
#include "broker/consumer_timeout.h"
#include "broker/dead_letter.h"
#include "broker/direct_reply.h"
#include "broker/generated_name.h"
#include "broker/memory.h"
#include "broker/message_headers.h"
#include "broker/queue-internal.h"
#include "broker/tx.h"

bool channel_can_deliver(const struct channel *channel)
{
    return channel->flow_active && !channel->connection->congested &&
           channel->state == CHANNEL_RUNNING && !channel->rests &&
           channel->connection->state == CONNECTION_RUNNING && !channel->connection->shut_down &&
           channel->unacked.count < BOUND_UNACKED_PER_CHANNEL &&
           (LIKELY(!channel->tx) ||
            channel->unacked.count + tx_settlement_count(channel->tx) < BOUND_UNACKED_PER_CHANNEL);
}

static int remember_delivery(struct channel *channel, struct queue *queue,
                             struct consumer *consumer, const struct queue_entry *entry)
{
    bool counted = consumer && channel->prefetch_global;
    int rc = unacked_add(&channel->unacked, &(struct unacked_delivery){
                                                .tag = channel->next_delivery_tag,
                                                .queue = queue,
                                                .consumer = consumer,
                                                .entry = *entry,
                                                .delivered_ms = channel->connection->broker->now_ms,
                                                .counted = counted });

    if (rc)
        return rc;
    queue_ref(queue);
    if (counted)
        channel->global_unacked++;
    return 0;
}

/*
 * A quorum queue, and any with a delivery limit, tells how often a message has come back, in the
 * header x-delivery-count of a copy (extensions.md 1.11). *ret_message is set when there is one.
 */
static int count_on_message(const struct queue *queue, const struct queue_entry *entry,
                            struct message **ret_message)
{
    if (LIKELY(entry->delivery_count == 0) ||
        (queue->settings->type != QUEUE_TYPE_QUORUM && queue->settings->delivery_limit < 0))
        return 0;
    return message_with_delivery_count(entry->message, entry->delivery_count, ret_message);
}

int channel_deliver(struct consumer *consumer, struct queue_entry *entry)
{
    struct channel *channel = consumer->channel;
    struct connection *connection = channel->connection;
    struct delivery delivery = { .consumer_tag = { consumer->tag, consumer->tag_bytes },
                                 .delivery_tag = channel->next_delivery_tag,
                                 .redelivered = (entry->flags & ENTRY_REDELIVERED) != 0,
                                 .message = entry->message };
    OWNED(message_unref) struct message *counted = NULL;
    int rc = count_on_message(consumer->queue, entry, &counted);

    if (rc)
        return rc;
    if (counted)
        delivery.message = counted;
    if (!consumer->no_ack) {
        rc = remember_delivery(channel, consumer->queue, consumer, entry);
        if (rc)
            return rc;
        consumer->unacked++;
        consumer->queue->unacked_count++;
    }
    if (channel->delivery_turn != connection->broker->turn) {
        channel->delivery_turn = connection->broker->turn;
        channel->unseen_tag = channel->next_delivery_tag;
    }
    channel->next_delivery_tag++;
    connection->broker->messages_delivered++;
    /* The output copies the message or refers to it. */
    broker_note_memory(connection->broker, BOUND_MESSAGE_OVERHEAD_BYTES + entry->body_bytes);
    connection->ops->deliver(connection->peer, channel->number, &delivery);
    if (consumer->no_ack)
        queue_release_entry(consumer->queue, entry);
    return 0;
}

/*
 * A change of the shared limit counts, or stops counting, all that is out, which may be a million:
 * they are told by their tags, not one by one.
 */
static bool is_counted(const struct channel *channel, const struct unacked_delivery *delivery)
{
    return channel->prefetch_global &&
           (delivery->counted || delivery->tag < channel->counted_below);
}

/* What a settled delivery leaves behind, whatever became of its message. */
static void forget_delivery(struct channel *channel, const struct unacked_delivery *delivery)
{
    if (is_counted(channel, delivery)) {
        assert(channel->global_unacked > 0);
        channel->global_unacked--;
    }
    if (delivery->consumer)
        consumer_release_delivery(delivery->consumer);
    channel_room_came(channel);
    queue_unref(delivery->queue);
}

void channel_settle(struct channel *channel, struct unacked_delivery *delivery,
                    enum settle_how how)
{
    struct queue *queue = delivery->queue;

    if (UNLIKELY(delivery->timed_out)) {
        channel->timed_out_count--;
        channel_room_came(channel);
        queue_unref(queue);
        return;
    }
    if (how == SETTLE_REQUEUE) {
        queue_requeue(queue, &delivery->entry);
    } else if (how == SETTLE_REJECT) {
        queue_reject(queue, &delivery->entry);
    } else {
        channel->connection->broker->messages_acknowledged++;
        queue_settle(queue, &delivery->entry);
    }
    forget_delivery(channel, delivery);
}

/* One delivery out of `unacked`, settled now or noted in the transaction. */
static int settle_one(struct channel *channel, struct unacked_delivery *found,
                      enum settle_how how)
{
    struct unacked_delivery delivery = *found;
    int rc;

    if (channel->mode == CHANNEL_TX) {
        rc = tx_add_settlement(channel->tx, &delivery, how);
        if (!rc)
            unacked_remove(&channel->unacked, found);
        return rc;
    }
    unacked_remove(&channel->unacked, found);
    channel_settle(channel, &delivery, how);
    return 0;
}

static void end_settling(struct channel *channel)
{
    if (channel->plan.error) {
        connection_fail(channel->connection, channel->plan.error);
        return;
    }
    channel_run_dead_letters(channel);
}

/*
 * What has been delivered in this turn is not on its way yet, so the client cannot mean it: neither
 * by tag 0 nor by basic.recover. It would be lost, or come twice.
 */
static uint64_t last_seen_tag(const struct channel *channel)
{
    return channel->delivery_turn == channel->connection->broker->turn ? channel->unseen_tag - 1
                                                                       : UINT64_MAX;
}

static int settle(struct channel *channel, uint64_t tag, bool multiple, enum settle_how how,
                  struct amqp_error *err)
{
    bool all = multiple && tag == 0;
    struct unacked_delivery *found = NULL;
    int rc;

    if (!all && !unacked_find(&channel->unacked, tag))
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "unknown delivery tag %llu",
                          (unsigned long long)tag);
    if (how == SETTLE_REQUEUE)
        broker_dispatch(channel->connection->broker); /* what was published before goes first */
    if (!all)
        found = unacked_find(&channel->unacked, tag); /* deliveries may have moved it */
    if (multiple && found != unacked_first(&channel->unacked)) {
        (void)channel_carry_out(channel,
                                &(struct settle_plan){ .how = how,
                                                       .up_to = all ? last_seen_tag(channel) : tag,
                                                       .noted = channel->mode == CHANNEL_TX },
                                end_settling);
        return 0;
    }
    rc = found ? settle_one(channel, found, how) : 0;
    channel_run_dead_letters(channel);
    return rc;
}

int handle_basic_ack(struct channel *channel, const union amqp_method *method,
                     struct amqp_error *err)
{
    return settle(channel, method->basic_ack.delivery_tag, method->basic_ack.multiple, SETTLE_ACK,
                  err);
}

int handle_basic_nack(struct channel *channel, const union amqp_method *method,
                      struct amqp_error *err)
{
    return settle(channel, method->basic_nack.delivery_tag, method->basic_nack.multiple,
                  method->basic_nack.requeue ? SETTLE_REQUEUE : SETTLE_REJECT, err);
}

int handle_basic_reject(struct channel *channel, const union amqp_method *method,
                        struct amqp_error *err)
{
    return settle(channel, method->basic_reject.delivery_tag, false,
                  method->basic_reject.requeue ? SETTLE_REQUEUE : SETTLE_REJECT, err);
}

static void end_recover_async(struct channel *channel)
{
    channel_room_came(channel);
}

static void end_recover(struct channel *channel)
{
    channel_room_came(channel);
    channel_send(channel, &(struct amqp_basic_recover_ok){ .id = AMQP_ID_basic_recover_ok });
}

static int recover(struct channel *channel, bool requeue, void (*end)(struct channel *channel),
                   struct amqp_error *err)
{
    if (!requeue)
        return amqp_raise(err, AMQP_NOT_IMPLEMENTED, "requeue=false");
    broker_dispatch(channel->connection->broker);
    (void)channel_carry_out(channel,
                            &(struct settle_plan){ .how = SETTLE_REQUEUE,
                                                   .up_to = last_seen_tag(channel),
                                                   .newest_first = true },
                            end);
    return 0;
}

int handle_basic_recover(struct channel *channel, const union amqp_method *method,
                         struct amqp_error *err)
{
    return recover(channel, method->basic_recover.requeue, end_recover, err);
}

int handle_basic_recover_async(struct channel *channel, const union amqp_method *method,
                               struct amqp_error *err)
{
    return recover(channel, method->basic_recover_async.requeue, end_recover_async, err);
}

/* Counts, or stops counting, every delivery that is out against the shared limit. */
static void set_global_prefetch(struct channel *channel, uint16_t count)
{
    uint32_t out = channel->unacked.count - channel->timed_out_count;

    if (channel->tx) /* noted, but not settled */
        out += tx_settlement_count(channel->tx);
    channel->prefetch_global = count;
    channel->counted_below = channel->next_delivery_tag;
    channel->global_unacked = count ? out : 0;
}

int handle_basic_qos(struct channel *channel, const union amqp_method *method,
                     struct amqp_error *err)
{
    const struct amqp_basic_qos *qos = &method->basic_qos;

    if (qos->prefetch_size)
        return amqp_raise(err, AMQP_NOT_IMPLEMENTED, "prefetch_size!=0 (%u)", qos->prefetch_size);
    if (qos->global) {
        set_global_prefetch(channel, qos->prefetch_count);
    } else {
        channel->prefetch_default = qos->prefetch_count;
        set_global_prefetch(channel, 0);
    }
    channel_send(channel, &(struct amqp_basic_qos_ok){ .id = AMQP_ID_basic_qos_ok });
    channel_room_came(channel);
    return 0;
}

/* The queue that a method names, or the last declared one; permission to read; not locked. */
static int find_readable(struct channel *channel, struct amqp_str name, struct amqp_error *err,
                         struct queue **ret_queue)
{
    struct connection *connection = channel->connection;
    int rc;

    rc = channel_queue_name(channel, name, err, &name);
    if (!rc)
        rc = connection_check_permission(connection, PERMISSION_READ, false, name, err);
    if (!rc)
        rc = vhost_find_queue(connection->vhost, name, err, ret_queue);
    if (!rc)
        rc = queue_check_access(*ret_queue, connection, err);
    return rc;
}

static int consumer_priority(const struct queue *queue, struct amqp_table arguments,
                             struct amqp_error *err, int32_t *ret_priority)
{
    struct amqp_value value;

    if (!amqp_table_get(arguments, AMQP_STR("x-priority"), &value))
        return 0;
    if (!amqp_value_is_integer(&value))
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "invalid arg 'x-priority' for queue '%.*s' in vhost '%s': \"expected "
                          "integer, got %s\"",
                          AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name,
                          amqp_value_type_name(&value));
    if (value.integer > INT32_MAX)
        *ret_priority = INT32_MAX;
    else if (value.integer < INT32_MIN)
        *ret_priority = INT32_MIN;
    else
        *ret_priority = (int32_t)value.integer;
    return 0;
}

static int check_consume_arguments(const struct channel *channel, const struct queue *queue,
                                   struct amqp_table arguments, struct amqp_error *err)
{
    struct amqp_value value;

    if (queue->settings->type == QUEUE_TYPE_QUORUM && channel->prefetch_global)
        return amqp_raise(err, AMQP_NOT_IMPLEMENTED,
                          "queue '%.*s' in vhost '%s' does not support global qos",
                          AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name);
    if (amqp_table_get(arguments, AMQP_STR("x-stream-offset"), &value))
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "invalid arg 'x-stream-offset' for queue '%.*s' in vhost '%s' of queue "
                          "type %s",
                          AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name,
                          queue->settings->type == QUEUE_TYPE_QUORUM ? "rabbit_quorum_queue"
                                                                     : "rabbit_classic_queue");
    return 0;
}

static int check_new_consumer(struct channel *channel, struct amqp_str tag, struct amqp_error *err)
{
    uint32_t limit = channel->connection->broker->settings.consumers_per_channel_max;
    struct consumer *existing;

    HASH_FIND(by_tag, channel->consumers, tag.data, tag.size, existing);
    if (existing)
        return amqp_raise(err, AMQP_NOT_ALLOWED, "attempt to reuse consumer tag '%.*s'",
                          AMQP_STR_ARG(tag));
    if (limit && HASH_CNT(by_tag, channel->consumers) >= limit)
        return amqp_raise(err, AMQP_NOT_ALLOWED, "reached maximum (%u) of consumers per channel",
                          limit);
    return 0;
}

int handle_basic_consume(struct channel *channel, const union amqp_method *method,
                         struct amqp_error *err)
{
    const struct amqp_basic_consume *consume = &method->basic_consume;
    struct consumer_properties properties = { .tag = consume->consumer_tag,
                                              .no_ack = consume->no_ack,
                                              .exclusive = consume->exclusive,
                                              .prefetch = channel->prefetch_default,
                                              .timeout_ms = -1 };
    char generated[GENERATED_NAME_BYTES];
    struct consumer *consumer;
    struct queue *queue;
    int rc;

    broker_dispatch(channel->connection->broker);
    if (direct_reply_is_bare(consume->queue))
        return direct_reply_consume(channel, consume, err);
    rc = check_new_consumer(channel, consume->consumer_tag, err);
    if (!rc)
        rc = find_readable(channel, consume->queue, err, &queue);
    if (!rc)
        rc = check_consume_arguments(channel, queue, consume->arguments, err);
    if (!rc)
        rc = consumer_priority(queue, consume->arguments, err, &properties.priority);
    if (!rc)
        rc = consumer_timeout_argument(queue, consume->arguments, err, &properties.timeout_ms);
    if (rc)
        return rc;
    if (properties.tag.size == 0) {
        rc = generate_name("amq.ctag-", generated, &properties.tag);
        if (rc)
            return rc;
    }
    rc = consumer_new(channel, queue, &properties, err, &consumer);
    if (rc)
        return rc;
    if (!consume->no_wait)
        channel_send(channel, &(struct amqp_basic_consume_ok){ .id = AMQP_ID_basic_consume_ok,
                                                               .consumer_tag = properties.tag });
    queue_dispatch(queue); /* it takes what there is before later methods change that */
    return 0;
}

int handle_basic_cancel(struct channel *channel, const union amqp_method *method,
                        struct amqp_error *err)
{
    struct amqp_str tag = method->basic_cancel.consumer_tag;
    struct consumer *consumer;
    struct queue *queue = NULL;

    broker_dispatch(channel->connection->broker);
    (void)err;
    HASH_FIND(by_tag, channel->consumers, tag.data, tag.size, consumer);
    if (consumer) {
        queue = queue_ref(consumer->queue);
        consumer_cancel(consumer);
    } else {
        direct_reply_cancel(channel, tag);
    }
    if (!method->basic_cancel.no_wait)
        channel_send(channel, &(struct amqp_basic_cancel_ok){ .id = AMQP_ID_basic_cancel_ok,
                                                              .consumer_tag = tag });
    if (queue) {
        queue_after_cancel(queue);
        queue_unref(queue);
    }
    return 0;
}

static int answer_get(struct channel *channel, struct queue *queue, struct queue_entry *entry)
{
    struct connection *connection = channel->connection;
    OWNED(message_unref) struct message *counted = NULL;
    int rc = count_on_message(queue, entry, &counted);

    if (rc)
        return rc;
    if (channel->in_confirm_list)
        channel_settle_confirms(channel); /* they precede the answer, as in channel_send() */
    connection->ops->send_content(
        connection->peer, channel->number,
        &(struct amqp_basic_get_ok){ .id = AMQP_ID_basic_get_ok,
                                     .delivery_tag = channel->next_delivery_tag++,
                                     .redelivered = (entry->flags & ENTRY_REDELIVERED) != 0,
                                     .exchange = message_exchange(entry->message),
                                     .routing_key = message_routing_key(entry->message),
                                     .message_count = queue_ready_count(queue) },
        counted ? counted : entry->message);
    connection->broker->messages_delivered++;
    return 0;
}

/* @entry is out and counted as unacknowledged. */
static int finish_get(struct channel *channel, struct queue *queue, struct queue_entry *entry,
                      bool no_ack)
{
    int rc = 0;

    if (!no_ack)
        rc = remember_delivery(channel, queue, NULL, entry);
    if (rc) {
        queue_requeue(queue, entry);
        return rc;
    }
    rc = answer_get(channel, queue, entry);
    if (no_ack)
        queue_settle(queue, entry);
    return rc;
}

static int wait_for_get(struct channel *channel, struct queue *queue, bool no_ack)
{
    struct queue_rare *rare = queue_rare(queue);
    struct pending_get *get = rare ? malloc(sizeof *get) : NULL;

    if (!get)
        return -ENOMEM;
    *get = (struct pending_get){ .channel = channel, .no_ack = no_ack };
    LL_APPEND(rare->gets, get);
    channel->get_queue = queue_ref(queue);
    connection_pause(channel->connection, CONNECTION_PAUSE_GET);
    return 0;
}

static void stop_waiting(struct channel *channel)
{
    queue_unref(TAKE(channel->get_queue));
    connection_resume(channel->connection, CONNECTION_PAUSE_GET);
}

void channel_finish_get(struct channel *channel, struct queue *queue, struct queue_entry *entry,
                        bool no_ack)
{
    if (!entry)
        channel_send(channel, &(struct amqp_basic_get_empty){ .id = AMQP_ID_basic_get_empty });
    else
        /* Without memory to remember it the message is back in the queue, and the client has
         * no answer: nothing better can be told to it now. */
        (void)finish_get(channel, queue, entry, no_ack);
    stop_waiting(channel);
}

void channel_abandon_get(struct channel *channel)
{
    struct pending_get **gets, *get;

    if (!channel->get_queue)
        return;
    gets = &channel->get_queue->rare->gets;
    LL_FOREACH(*gets, get) {
        if (get->channel == channel)
            break;
    }
    assert(get);
    LL_DELETE(*gets, get);
    free(get);
    stop_waiting(channel);
}

int handle_basic_get(struct channel *channel, const union amqp_method *method,
                     struct amqp_error *err)
{
    bool no_ack = method->basic_get.no_ack;
    struct queue_entry entry;
    struct queue *queue;
    int rc;

    broker_dispatch(channel->connection->broker);
    rc = find_readable(channel, method->basic_get.queue, err, &queue);
    if (rc)
        return rc;
    if (queue->settings->single_active && queue->settings->type == QUEUE_TYPE_QUORUM)
        return amqp_raise(err, AMQP_RESOURCE_LOCKED,
                          "cannot obtain access to locked queue '%.*s' in vhost '%s'. basic.get "
                          "operations are not supported by quorum queues with single active "
                          "consumer",
                          AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name);
    queue_touch(queue);
    switch (queue_take(queue, &entry)) {
    case QUEUE_TAKE_ENTRY:
        return finish_get(channel, queue, &entry, no_ack);
    case QUEUE_TAKE_WAIT:
        return wait_for_get(channel, queue, no_ack);
    case QUEUE_TAKE_EMPTY:
        break;
    }
    channel_send(channel, &(struct amqp_basic_get_empty){ .id = AMQP_ID_basic_get_empty });
    return 0;
}
