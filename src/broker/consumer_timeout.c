/*
 * consumer_timeout.c - the sweep
 *
 * Deliveries of a channel are in order of their time, so a sweep of it ends at the first that is
 * younger than the smallest timeout in force. After each action it begins again, because the action
 * has taken deliveries out.
 */
#include "broker/consumer_timeout.h"

#include <inttypes.h>
#include <utlist.h>

#include "broker/connection-internal.h"
#include "broker/dead_letter.h"
#include "broker/vhost.h"

enum {
    LOOKS_WITHIN_TIMEOUT = 10,
    LOOK_EVERY_MIN_MS = 20,
    LOOK_EVERY_MAX_MS = 60000,
};

static uint64_t look_every_ms(const struct broker *broker)
{
    uint64_t every_ms = broker->consumer_timeout_ms / LOOKS_WITHIN_TIMEOUT;

    if (every_ms < LOOK_EVERY_MIN_MS)
        return LOOK_EVERY_MIN_MS;
    return every_ms < LOOK_EVERY_MAX_MS ? every_ms : LOOK_EVERY_MAX_MS;
}

static void set_timer(struct broker *broker)
{
    /* Without memory for the timer now, the next note or look sets it. */
    (void)timers_set(&broker->timers, &broker->consumer_timer,
                     broker->now_ms + look_every_ms(broker));
}

static int64_t timeout_of(const struct broker *broker, const struct unacked_delivery *delivery)
{
    if (delivery->consumer && delivery->consumer->timeout_ms >= 0)
        return delivery->consumer->timeout_ms;
    if (delivery->queue->settings->consumer_timeout_ms >= 0)
        return delivery->queue->settings->consumer_timeout_ms;
    return (int64_t)broker->settings.consumer_timeout_ms;
}

static struct unacked_delivery *find_overdue(struct channel *channel)
{
    const struct broker *broker = channel->connection->broker;

    for (uint32_t i = 0; i < channel->unacked.used; i++) {
        struct unacked_delivery *delivery = unacked_at(&channel->unacked, i);
        uint64_t age_ms = broker->now_ms - delivery->delivered_ms;
        int64_t timeout_ms;

        if (age_ms < broker->consumer_timeout_ms)
            return NULL;
        if (!delivery->queue || delivery->timed_out)
            continue;
        timeout_ms = timeout_of(broker, delivery);
        if (timeout_ms > 0 && age_ms >= (uint64_t)timeout_ms)
            return delivery;
    }
    return NULL;
}

/*
 * Newest first, so that each finds its place quickly. The tags stay known, for the client may still
 * settle them: that is no error, and does nothing.
 */
static void requeue_deliveries_of(struct channel *channel, const struct consumer *consumer)
{
    for (uint32_t i = channel->unacked.used; i-- > 0;) {
        struct unacked_delivery *found = unacked_at(&channel->unacked, i);
        struct unacked_delivery delivery;

        if (!found->queue || found->consumer != consumer)
            continue;
        delivery = *found;
        found->queue = queue_ref(delivery.queue);
        found->consumer = NULL;
        found->timed_out = true;
        found->counted = false;
        channel_settle(channel, &delivery, SETTLE_REQUEUE);
    }
}

static void cancel_consumer(struct channel *channel, struct consumer *consumer)
{
    struct queue *queue = queue_ref(consumer->queue);

    broker_log(channel->connection->broker, BROKER_LOG_WARNING,
               "channel %u of connection %s: consumer '%s' on queue '%s' has timed out waiting for "
               "an acknowledgement and is cancelled",
               channel->number, connection_name(channel->connection), consumer->tag,
               queue->destination.name.data);
    channel_notify_cancel(channel, (struct amqp_str){ consumer->tag, consumer->tag_bytes });
    consumer->unacked++; /* kept alive until its deliveries have been looked through */
    consumer_cancel(consumer);
    requeue_deliveries_of(channel, consumer);
    consumer_release_delivery(consumer);
    queue_after_cancel(queue);
    queue_unref(queue);
}

static void time_out(struct channel *channel, const struct unacked_delivery *delivery)
{
    struct consumer *consumer = delivery->consumer;
    int64_t timeout_ms = timeout_of(channel->connection->broker, delivery);
    struct amqp_error err;

    if (consumer && consumer->channel && channel->connection->knows_cancel_notify) {
        cancel_consumer(channel, consumer);
        return;
    }
    amqp_raise(&err, AMQP_PRECONDITION_FAILED,
               "delivery acknowledgement on channel %u timed out. Timeout value used: %" PRId64
               " ms. This timeout value can be configured, see consumers doc guide to learn more",
               channel->number, timeout_ms);
    err.method_id = 0;
    channel_raise(channel, &err);
}

static void look_at_all(struct timer *timer, uint64_t now_ms)
{
    struct broker *broker = CONTAINER_OF(timer, struct broker, consumer_timer);
    struct connection *connection;
    struct channel *channel, *next;
    struct unacked_delivery *overdue;

    (void)now_ms;
    DL_FOREACH(broker->connections, connection) {
        HASH_ITER(by_number, connection->channels, channel, next) {
            while ((overdue = find_overdue(channel)))
                time_out(channel, overdue);
        }
    }
    set_timer(broker);
}

void consumer_timeout_init(struct broker *broker)
{
    broker->consumer_timer.fire = look_at_all;
    broker->consumer_timeout_ms = UINT64_MAX;
    consumer_timeout_note(broker, (int64_t)broker->settings.consumer_timeout_ms);
}

void consumer_timeout_note(struct broker *broker, int64_t timeout_ms)
{
    if (timeout_ms <= 0 || (uint64_t)timeout_ms >= broker->consumer_timeout_ms)
        return;
    broker->consumer_timeout_ms = (uint64_t)timeout_ms;
    set_timer(broker);
}

int consumer_timeout_argument(const struct queue *queue, struct amqp_table arguments,
                              struct amqp_error *err, int64_t *ret_timeout_ms)
{
    struct amqp_value value;

    if (!amqp_table_get(arguments, AMQP_STR("x-consumer-timeout"), &value))
        return 0;
    if (!amqp_value_is_integer(&value))
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "invalid arg 'x-consumer-timeout' for queue '%.*s' in vhost '%s': "
                          "\"expected integer, got %s\"",
                          AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name,
                          amqp_value_type_name(&value));
    if (value.integer < 0)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "invalid arg 'x-consumer-timeout' for queue '%.*s' in vhost '%s': "
                          "{value_negative,%" PRId64 "}",
                          AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name,
                          value.integer);
    *ret_timeout_ms = value.integer;
    return 0;
}
