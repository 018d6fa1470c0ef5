/*
 * consumer_timeout.c - the sweep
 *
 * Deliveries of a channel are in order of their time, so a sweep of it ends at the first that is
 * younger than the smallest timeout in force. A client may have very many that are older and have
 * another timeout, so a sweep goes on in the next turn when it has looked at enough (task.h).
 */
#include "broker/consumer_timeout.h"

#include <inttypes.h>
#include <utlist.h>

#include "broker/connection-internal.h"
#include "broker/dead_letter.h"
#include "broker/task.h"
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

/* Looks on from channel->overdue_from. False when the turn has no time for more. */
static bool find_overdue(struct channel *channel, struct unacked_delivery **ret_overdue)
{
    struct broker *broker = channel->connection->broker;
    struct unacked_delivery *delivery;

    *ret_overdue = NULL;
    while ((delivery = unacked_from(&channel->unacked, channel->overdue_from))) {
        uint64_t age_ms = broker->now_ms - delivery->delivered_ms;
        int64_t timeout_ms;

        if (age_ms < broker->consumer_timeout_ms)
            return true;
        if (!task_pay(broker, TASK_COST_LOOK))
            return false;
        channel->overdue_from = delivery->tag + 1;
        if (delivery->timed_out)
            continue;
        timeout_ms = timeout_of(broker, delivery);
        if (timeout_ms > 0 && age_ms >= (uint64_t)timeout_ms) {
            *ret_overdue = delivery;
            return true;
        }
    }
    return true;
}

static void end_cancel(struct channel *channel)
{
    channel_run_dead_letters(channel);
}

/* Its deliveries go back, newest first, so that each finds its place quickly. */
static void cancel_consumer(struct channel *channel, struct consumer *consumer)
{
    broker_log(channel->connection->broker, BROKER_LOG_WARNING,
               "channel %u of connection %s: consumer '%s' on queue '%s' has timed out waiting for "
               "an acknowledgement and is cancelled",
               channel->number, connection_name(channel->connection), consumer->tag,
               consumer->queue->destination.name.data);
    channel_notify_cancel(channel, (struct amqp_str){ consumer->tag, consumer->tag_bytes });
    consumer->unacked++; /* kept alive until its deliveries have been looked through */
    consumer_cancel(consumer);
    (void)channel_carry_out(channel,
                            &(struct settle_plan){ .how = SETTLE_REQUEUE,
                                                   .up_to = UINT64_MAX,
                                                   .newest_first = true,
                                                   .consumer = consumer },
                            end_cancel);
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

/* False when it is not through. One that is busy has nothing that could be taken from it now. */
static bool look_at(struct channel *channel)
{
    struct unacked_delivery *overdue;

    do {
        if (channel->busy || channel->leaves != LEAVE_NOT)
            break;
        if (!find_overdue(channel, &overdue))
            return false;
        if (overdue)
            time_out(channel, overdue);
    } while (overdue);
    channel->overdue_from = 0;
    channel->overdue_look = channel->connection->broker->consumer_look;
    return true;
}

/* A look may take several turns; each channel is then looked at in one of them. */
static bool look_at_some(struct broker *broker)
{
    struct connection *connection;
    struct channel *channel, *next;

    DL_FOREACH(broker->connections, connection) {
        HASH_ITER(by_number, connection->channels, channel, next) {
            if (channel->overdue_look != broker->consumer_look && !look_at(channel))
                return false;
        }
    }
    return true;
}

static void look_at_all(struct timer *timer, uint64_t now_ms)
{
    struct broker *broker = CONTAINER_OF(timer, struct broker, consumer_timer);

    if (look_at_some(broker)) {
        broker->consumer_look++;
        set_timer(broker);
    } else if (timers_set(&broker->timers, &broker->consumer_timer, now_ms + 1)) {
        set_timer(broker);
    }
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
