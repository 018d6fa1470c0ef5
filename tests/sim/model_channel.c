/*
 * model_channel.c - deliveries, settling, rolling back and closing in the naive broker
 *
 * A delivery is a tag, a queue and a sequence; its entry stays in its queue and is only marked as
 * out. So putting it back needs no search for a place, and order cannot be lost.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "model.h"

static struct m_consumer *consumer_by_id(struct sim *sim, uint32_t id)
{
    struct m_consumer *consumer;

    DL_FOREACH(sim->consumers, consumer)
        if (consumer->id == id)
            break;
    return consumer;
}

/* Adds in order of tags: a rolled back delivery goes back between others. */
static void add_delivery(struct m_channel *channel, const struct m_delivery *delivery)
{
    size_t at;

    channel->deliveries = sim_grow(channel->deliveries, channel->n_deliveries,
                                   &channel->deliveries_capacity, sizeof *channel->deliveries);
    for (at = channel->n_deliveries; at && channel->deliveries[at - 1].tag > delivery->tag; at--)
        channel->deliveries[at] = channel->deliveries[at - 1];
    channel->deliveries[at] = *delivery;
    channel->n_deliveries++;
}

static struct m_delivery take_delivery(struct m_channel *channel, size_t at)
{
    struct m_delivery delivery = channel->deliveries[at];

    memmove(&channel->deliveries[at], &channel->deliveries[at + 1],
            (channel->n_deliveries - at - 1) * sizeof delivery);
    channel->n_deliveries--;
    return delivery;
}

void model_deliver(struct sim *sim, struct m_channel *channel, struct m_consumer *consumer,
                   struct m_queue *queue, struct m_entry *entry, bool no_ack)
{
    struct m_delivery delivery = { .tag = channel->next_delivery_tag++,
                                   .queue = queue->id,
                                   .sequence = entry->sequence,
                                   .consumer = consumer ? consumer->id : 0,
                                   .counted = consumer && channel->prefetch_global };

    entry->cold = false;
    entry->handed = true;
    if (consumer)
        consumer->turn_low = consumer->turn_high = ++sim->stamp;
    if (consumer && channel->unseen_turn != sim->turn) {
        channel->unseen_turn = sim->turn;
        channel->unseen_tag = delivery.tag;
    }
    if (no_ack) {
        model_remove_entry(sim, queue, entry);
        return;
    }
    entry->out = true;
    journal_entry(sim, JOURNAL_DELIVER, queue, entry);
    add_delivery(channel, &delivery);
    if (consumer)
        consumer->unacked++;
    channel->global_unacked += delivery.counted;
}

static void give_up(struct sim *sim, struct m_queue *queue, struct m_entry *entry,
                    enum dead_letter_reason reason)
{
    struct m_letter letter = { .entry = *entry, .reason = reason };

    model_take_entry(queue, entry);
    model_give_up(sim, queue, &letter);
}

void model_settle_now(struct sim *sim, struct m_channel *channel,
                      const struct m_delivery *delivery, enum m_settle how)
{
    struct m_consumer *consumer = consumer_by_id(sim, delivery->consumer);
    struct m_queue *queue = model_queue_by_id(sim, delivery->queue);
    struct m_entry *entry = queue ? model_entry(queue, delivery->sequence) : NULL;

    if (consumer)
        consumer->unacked--;
    channel->global_unacked -= delivery->counted;
    if (!queue)
        return; /* its messages went with it */
    assert(entry);
    assert(entry->out);
    if (how == SETTLE_ACK_IT) {
        model_remove_entry(sim, queue, entry);
        return;
    }
    if (how == SETTLE_DROP_IT) {
        give_up(sim, queue, entry, DEAD_LETTER_REJECTED);
        return;
    }
    entry->redelivered = SEEN_BEFORE;
    entry->returned++;
    if (queue->settings.delivery_limit >= 0 && entry->returned > queue->settings.delivery_limit) {
        give_up(sim, queue, entry, DEAD_LETTER_DELIVERY_LIMIT);
        return;
    }
    if (entry->expires_ms && entry->gone_ms <= sim_wall_ms(sim)) {
        sim->expired_returns++;
        give_up(sim, queue, entry, DEAD_LETTER_EXPIRED);
        return;
    }
    entry->out = false;
    journal_entry(sim, JOURNAL_COUNT, queue, entry);
}

static void settle_one(struct sim *sim, struct m_channel *channel, size_t at, enum m_settle how)
{
    struct m_delivery delivery = take_delivery(channel, at);

    if (channel->mode != MODE_TX) {
        model_settle_now(sim, channel, &delivery, how);
        return;
    }
    channel->tx_settlements = sim_grow(channel->tx_settlements, channel->n_tx_settlements,
                                       &channel->tx_settlements_capacity,
                                       sizeof *channel->tx_settlements);
    channel->tx_settlements[channel->n_tx_settlements++] =
        (struct m_tx_settlement){ delivery, how };
}

/* What has been delivered in this turn is not on its way to the client yet: it cannot mean that. */
uint64_t model_last_seen(const struct sim *sim, const struct m_channel *channel)
{
    return channel->unseen_turn == sim->turn ? channel->unseen_tag - 1 : UINT64_MAX;
}

bool model_settle(struct sim *sim, struct m_channel *channel, uint64_t tag, bool multiple,
                  enum m_settle how)
{
    bool all = multiple && tag == 0;
    size_t at = 0;

    while (at < channel->n_deliveries && channel->deliveries[at].tag != tag)
        at++;
    if (!all && at == channel->n_deliveries)
        return false;
    if (!multiple)
        settle_one(sim, channel, at, how);
    if (all)
        tag = model_last_seen(sim, channel);
    while (multiple && channel->n_deliveries && channel->deliveries[0].tag <= tag)
        settle_one(sim, channel, 0, how);
    return true;
}

/* The newest first: the broker's choice, seen in the order of what passes a delivery limit. */
void model_recover(struct sim *sim, struct m_channel *channel, uint64_t last)
{
    for (size_t at = channel->n_deliveries; at-- > 0;) {
        struct m_delivery delivery;

        if (channel->deliveries[at].tag > last)
            continue;
        delivery = take_delivery(channel, at);
        model_settle_now(sim, channel, &delivery, SETTLE_REQUEUE_IT);
    }
}

/* What is noted in a transaction is still out, as far as the limit is concerned. */
void model_set_global_prefetch(struct m_channel *channel, uint16_t count)
{
    channel->prefetch_global = count;
    channel->had_to_wait = channel->had_to_wait || count;
    channel->global_unacked = 0;
    for (size_t i = 0; i < channel->n_deliveries; i++)
        channel->global_unacked += channel->deliveries[i].counted = count != 0;
    for (size_t i = 0; i < channel->n_tx_settlements; i++)
        channel->global_unacked += channel->tx_settlements[i].delivery.counted = count != 0;
}

void model_rollback(struct m_channel *channel)
{
    channel->n_tx_publishes = 0;
    for (size_t i = 0; i < channel->n_tx_settlements; i++)
        add_delivery(channel, &channel->tx_settlements[i].delivery);
    channel->n_tx_settlements = 0;
}

/* --- closing --- */

static struct m_consumer *consumer_of(struct sim *sim, const struct m_channel *channel)
{
    struct m_consumer *consumer;

    DL_FOREACH(sim->consumers, consumer)
        if (consumer->channel == channel)
            break;
    return consumer;
}

void model_close_channel(struct sim *sim, struct m_channel *channel)
{
    struct m_consumer *consumer;

    channel->gets = false;
    model_rollback(channel);
    model_recover(sim, channel, UINT64_MAX);
    while ((consumer = consumer_of(sim, channel)))
        model_remove_consumer(sim, consumer);
    channel->mode = MODE_PLAIN;
    channel->flow = true;
    channel->prefetch_default = channel->prefetch_global = 0;
    channel->had_to_wait = false;
    channel->next_delivery_tag = 1;
    channel->n_confirms = channel->n_confirmed = 0;
    channel->n_commits = 0;
    channel->n_cancels = channel->n_returns = 0;
    channel->unseen_turn = 0;
    channel->last_queue[0] = '\0';
    channel->content.message = NULL;
}

void model_open_channel(struct sim *sim, struct m_channel *channel)
{
    model_close_channel(sim, channel);
    channel->state = CHANNEL_IS_OPEN;
    channel->opened = ++sim->stamp;
}

static void delete_exclusive_queues(struct sim *sim, struct m_connection *connection)
{
    struct m_queue *queue, *next;

    DL_FOREACH_SAFE(sim->queues, queue, next)
        if (queue->owner == connection)
            model_delete_queue(sim, queue);
}

/* The open channel that has been open for longest, or NULL. */
static struct m_channel *oldest_channel(struct m_connection *connection)
{
    struct m_channel *oldest = NULL;

    for (unsigned i = 0; i < MODEL_CHANNELS; i++) {
        struct m_channel *channel = &connection->channels[i];

        if (channel->state != CHANNEL_IS_CLOSED && (!oldest || channel->opened < oldest->opened))
            oldest = channel;
    }
    return oldest;
}

void model_go_on_closing(struct sim *sim)
{
    struct m_connection *connection = sim->closing;
    struct m_channel *channel;

    if (!connection)
        return;
    while ((channel = oldest_channel(connection)) && channel->state == CHANNEL_IS_CLOSING) {
        model_close_channel(sim, channel); /* it has given back what it had */
        channel->state = CHANNEL_IS_CLOSED;
    }
    if (channel) {
        model_close_channel(sim, channel);
        channel->state = CHANNEL_IS_CLOSED;
        return;
    }
    delete_exclusive_queues(sim, connection);
    sim->closing = NULL;
}

void model_close_connection(struct sim *sim, struct m_connection *connection)
{
    connection->state = CONNECTION_IS_CLOSING;
    sim->closing = connection;
    model_go_on_closing(sim);
}

struct m_consumer *model_deliverable(struct sim *sim, struct m_queue *queue)
{
    struct m_consumer *consumer;

    if (!model_head(queue))
        return NULL;
    DL_FOREACH(sim->consumers, consumer)
        if (consumer->queue == queue && model_able(consumer))
            break;
    return consumer;
}

static const char *reply_name(int code)
{
    switch (code) {
    case 403:
        return "ACCESS_REFUSED";
    case 404:
        return "NOT_FOUND";
    case 405:
        return "RESOURCE_LOCKED";
    case 406:
        return "PRECONDITION_FAILED";
    case 504:
        return "CHANNEL_ERROR";
    case 530:
        return "NOT_ALLOWED";
    case 540:
        return "NOT_IMPLEMENTED";
    default:
        return "?";
    }
}

/* Confirms that are due may still come before the close (5.3). */
static void raise_on_channel(struct sim *sim, struct m_channel *channel,
                             const struct amqp_channel_close *close)
{
    struct m_channel was = *channel;

    expect_method(sim, channel, close);
    model_close_channel(sim, channel);
    channel->state = CHANNEL_IS_CLOSING;
    channel->mode = was.mode;
    channel->n_confirms = was.n_confirms;
    channel->n_confirmed = was.n_confirmed;
    channel->n_commits = was.n_commits;
}

void model_raise(struct sim *sim, struct m_channel *channel, int code, uint32_t method_id,
                 const char *format, ...)
{
    char text[256];
    int used = snprintf(text, sizeof text, "%s - ", reply_name(code));
    struct amqp_channel_close close = { .id = AMQP_ID_channel_close,
                                        .reply_code = (uint16_t)code,
                                        .class_id = (uint16_t)(method_id >> 16),
                                        .method_id = (uint16_t)method_id };
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text + used, sizeof text - (size_t)used, format, arguments);
    va_end(arguments);
    close.reply_text = amqp_str_from(text);
    if (code < 500) {
        raise_on_channel(sim, channel, &close);
        return;
    }
    expect_on_connection(sim, channel->connection,
                         &(struct amqp_connection_close){ .id = AMQP_ID_connection_close,
                                                          .reply_code = close.reply_code,
                                                          .reply_text = close.reply_text,
                                                          .class_id = close.class_id,
                                                          .method_id = close.method_id });
    model_close_connection(sim, channel->connection);
}
