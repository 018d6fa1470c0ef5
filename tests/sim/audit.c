/*
 * audit.c - counters of the broker against a recount
 *
 * The only place that looks inside: what a client cannot see (octets in a queue, what a channel
 * holds) must agree with the model too, and nothing may be left of what is gone.
 */
#include <utlist.h>

#include "broker/connection-internal.h"
#include "broker/queue.h"
#include "world.h"

#define CHECK_EQUAL(sim, what, is, should)                                              \
    do {                                                                                \
        unsigned long is_ = (unsigned long)(is), should_ = (unsigned long)(should);     \
        if (is_ != should_)                                                             \
            history_fail(&(sim)->history, "%s counts %lu, but there are %lu", what, is_, \
                         should_);                                                      \
    } while (0)

static bool is_text(struct amqp_str text, const char *should)
{
    return amqp_str_equal(text, amqp_str_from(should));
}

static void audit_settings(struct sim *sim, const struct queue_settings *is,
                           const struct m_settings *should)
{
    CHECK_EQUAL(sim, "message_ttl_ms", is->message_ttl_ms, should->ttl_ms);
    CHECK_EQUAL(sim, "expires_ms", is->expires_ms, should->expires_ms);
    CHECK_EQUAL(sim, "max_length", is->max_length, should->max_length);
    CHECK_EQUAL(sim, "max_length_bytes", is->max_length_bytes, should->max_length_bytes);
    CHECK_EQUAL(sim, "delivery_limit", is->delivery_limit, should->delivery_limit);
    CHECK_EQUAL(sim, "overflow", is->overflow != QUEUE_OVERFLOW_DROP_HEAD, settings_refuse(should));
    CHECK_EQUAL(sim, "single_active", is->single_active, should->single_active);
    CHECK_EQUAL(sim, "dead_letters", is->dead_letters, should->dead_letters);
    if (!should->dead_letters)
        return;
    CHECK_EQUAL(sim, "dead_letter_exchange",
                is_text(is->dead_letter_exchange, should->dead_letter_exchange), true);
    CHECK_EQUAL(sim, "has_dead_letter_key", is->has_dead_letter_key, should->has_dead_letter_key);
    if (should->has_dead_letter_key)
        CHECK_EQUAL(sim, "dead_letter_key", is_text(is->dead_letter_key, should->dead_letter_key),
                    true);
}

static uint64_t heavy_bytes(const struct queue *queue)
{
    struct ready ready = queue->ready;
    struct ready_walk walk = ready_walk(&ready);
    struct queue_entry *entry;
    uint64_t sum = 0;

    while ((entry = ready_walk_next(&walk)))
        if ((entry->flags & ENTRY_RESIDENT) && entry->message->heavy)
            sum += message_memory_bytes(entry->message) - entry->message->body_bytes;
    return sum;
}

static void audit_queue(struct sim *sim, const struct m_queue *queue)
{
    const struct vhost *vhost = broker_find_vhost(sim->broker, AMQP_STR("/"));
    const struct queue *real = vhost_get_queue(vhost, amqp_str_from(queue->name));

    if (!real)
        history_fail(&sim->history, "the broker has no queue '%s'", queue->name);
    CHECK_EQUAL(sim, queue->name, queue_ready_count(real), queue_ready(queue));
    CHECK_EQUAL(sim, "unacked_count", real->unacked_count, queue->n_entries - queue_ready(queue));
    CHECK_EQUAL(sim, "ready_bytes", real->ready.bytes, queue_ready_bytes(queue));
    CHECK_EQUAL(sim, "heavy_bytes", real->ready.heavy_bytes, heavy_bytes(real));
    CHECK_EQUAL(sim, "consumer_count", real->consumer_count, model_consumer_count(sim, queue));
    audit_settings(sim, real->settings, &queue->settings);
}

static void audit_consumer(struct sim *sim, const struct m_consumer *consumer)
{
    uint32_t unacked = 0;

    for (size_t i = 0; i < consumer->channel->n_deliveries; i++)
        unacked += consumer->channel->deliveries[i].consumer == consumer->id;
    for (size_t i = 0; i < consumer->channel->n_tx_settlements; i++)
        unacked += consumer->channel->tx_settlements[i].delivery.consumer == consumer->id;
    CHECK_EQUAL(sim, "the model's own unacked", consumer->unacked, unacked);
}

static void audit_channel(struct sim *sim, const struct m_channel *channel,
                          const struct connection *real_connection)
{
    struct channel *real;
    struct m_consumer *consumer;
    unsigned consumers = 0;

    HASH_FIND(by_number, real_connection->channels, &channel->number, sizeof channel->number,
              real);
    CHECK_EQUAL(sim, "channel", real != NULL, channel->state != CHANNEL_IS_CLOSED);
    if (channel->state != CHANNEL_IS_OPEN)
        return;
    DL_FOREACH(sim->consumers, consumer)
        consumers += consumer->channel == channel;
    CHECK_EQUAL(sim, "channel->consumers", HASH_CNT(by_tag, real->consumers), consumers);
    CHECK_EQUAL(sim, "unacked", real->unacked.count, channel->n_deliveries);
    CHECK_EQUAL(sim, "global_unacked", real->global_unacked, channel->global_unacked);
}

static void audit_connections(struct sim *sim)
{
    unsigned open = 0;

    for (unsigned i = 0; i < MODEL_CONNECTIONS; i++) {
        const struct m_connection *connection = &sim->connections[i];

        open += connection->state == CONNECTION_IS_OPEN;
        if (connection->state != CONNECTION_IS_OPEN)
            continue;
        for (unsigned c = 0; c < MODEL_CHANNELS; c++)
            audit_channel(sim, &connection->channels[c], connection->real);
    }
    /* One that is closing counts against no limit; none is seen in the middle of its handshake. */
    CHECK_EQUAL(sim, "connection_count", sim->broker->connection_count, open);
    CHECK_EQUAL(sim, "vhost->connection_count",
                broker_find_vhost(sim->broker, AMQP_STR("/"))->connection_count, open);
}

void audit(struct sim *sim)
{
    const struct vhost *vhost = broker_find_vhost(sim->broker, AMQP_STR("/"));
    struct m_exchange *exchange;
    struct m_queue *queue;
    struct m_binding *binding;
    struct m_consumer *consumer;
    struct store_stats stats;
    unsigned count;
    size_t stored = 0;

    history_add(&sim->history, "audit");
    DL_FOREACH(sim->queues, queue) {
        audit_queue(sim, queue);
        for (size_t i = 0; i < queue->n_entries; i++)
            stored += queue->entries[i].stored || queue->entries[i].paged;
    }
    DL_FOREACH(sim->consumers, consumer)
        audit_consumer(sim, consumer);
    DL_COUNT(sim->queues, queue, count);
    CHECK_EQUAL(sim, "vhost->queues", vhost->queues.count, count);
    DL_COUNT(sim->exchanges, exchange, count); /* three predeclared ones are not in the model */
    CHECK_EQUAL(sim, "vhost->exchanges", HASH_CNT(by_name, vhost->exchanges), count + 3);
    DL_COUNT(sim->bindings, binding, count);
    CHECK_EQUAL(sim, "vhost->bindings", vhost->bindings.count, count);
    CHECK_EQUAL(sim, "reads under way", sim->broker->fetches != NULL, false);
    store_get_stats(sim->store, &stats);
    CHECK_EQUAL(sim, "the store's live_entries", stats.live_entries, stored);
    audit_connections(sim);
}
