/*
 * model.c - exchanges, queues and consumers of the naive broker
 *
 * Everything is found by walking a list and comparing names. Objects that others point to are known
 * to them by name or number, never by address, so that what is gone is simply not found.
 */
#include "model.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

void *sim_grow(void *array, size_t count, size_t *capacity, size_t element_bytes)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? *capacity * 2 : 8;
    array = realloc(array, *capacity * element_bytes);
    assert(array);
    return array;
}

void sim_copy(struct sim *sim, char out[MODEL_NAME_BYTES], struct amqp_str name)
{
    if (name.size >= MODEL_NAME_BYTES)
        history_fail(&sim->history, "a name of %zu octets", name.size);
    if (name.size)
        memcpy(out, name.data, name.size);
    out[name.size] = '\0';
}

void *sim_duplicate(const void *data, size_t size)
{
    void *copy = malloc(size);

    assert(copy);
    return memcpy(copy, data, size);
}

/* --- exchanges and bindings --- */

struct m_exchange *model_exchange(struct sim *sim, const char *name)
{
    struct m_exchange *exchange;

    DL_FOREACH(sim->exchanges, exchange)
        if (strcmp(exchange->name, name) == 0)
            break;
    return exchange;
}

struct m_exchange *model_add_exchange(struct sim *sim, const struct m_exchange *like)
{
    struct m_exchange *exchange = sim_duplicate(like, sizeof *like);

    DL_APPEND(sim->exchanges, exchange);
    model_apply_to_exchange(sim, exchange);
    if (strncmp(exchange->name, "amq.", 4) != 0 && exchange->name[0])
        journal_exchange(sim, JOURNAL_PUT_EXCHANGE, exchange);
    return exchange;
}

/* The first binding to or from something that goes away. */
static struct m_binding *binding_of(struct sim *sim, const char *name, bool exchange)
{
    struct m_binding *binding;

    DL_FOREACH(sim->bindings, binding)
        if ((strcmp(binding->destination, name) == 0 && binding->to_exchange == exchange) ||
            (exchange && strcmp(binding->source, name) == 0))
            break;
    return binding;
}

void model_delete_exchange(struct sim *sim, struct m_exchange *exchange)
{
    struct m_binding *binding;
    char name[MODEL_NAME_BYTES];

    memcpy(name, exchange->name, sizeof name);
    journal_exchange(sim, JOURNAL_DELETE_EXCHANGE, exchange);
    DL_DELETE(sim->exchanges, exchange);
    free(exchange);
    while ((binding = binding_of(sim, name, true)))
        model_remove_binding(sim, binding);
}

struct m_binding *model_binding(struct sim *sim, const struct m_binding *like)
{
    struct m_binding *binding;

    DL_FOREACH(sim->bindings, binding)
        if (strcmp(binding->source, like->source) == 0 &&
            strcmp(binding->destination, like->destination) == 0 &&
            strcmp(binding->key, like->key) == 0 && binding->to_exchange == like->to_exchange)
            break;
    return binding;
}

void model_add_binding(struct sim *sim, const struct m_binding *like)
{
    struct m_binding *binding = sim_duplicate(like, sizeof *like);

    DL_APPEND(sim->bindings, binding);
    journal_binding(sim, JOURNAL_PUT_BINDING, binding);
}

void model_remove_binding(struct sim *sim, struct m_binding *binding)
{
    struct m_exchange *source = model_exchange(sim, binding->source);
    struct m_binding *other;

    journal_binding(sim, JOURNAL_DELETE_BINDING, binding);
    DL_DELETE(sim->bindings, binding);
    free(binding);
    if (!source || !source->auto_delete)
        return;
    DL_FOREACH(sim->bindings, other)
        if (strcmp(other->source, source->name) == 0)
            return;
    model_delete_exchange(sim, source);
}

/* --- queues --- */

struct m_queue *model_queue(struct sim *sim, const char *name)
{
    struct m_queue *queue;

    DL_FOREACH(sim->queues, queue)
        if (strcmp(queue->name, name) == 0)
            break;
    return queue;
}

struct m_queue *model_queue_by_id(struct sim *sim, uint32_t id)
{
    struct m_queue *queue;

    DL_FOREACH(sim->queues, queue)
        if (queue->id == id)
            break;
    return queue;
}

struct m_queue *model_add_queue(struct sim *sim, const struct m_queue *like)
{
    struct m_queue *queue = sim_duplicate(like, sizeof *like);

    queue->id = ++sim->next_queue_id;
    model_use_queue(sim, queue);
    model_effective(sim, queue, &queue->settings);
    DL_APPEND(sim->queues, queue);
    journal_queue(sim, JOURNAL_PUT_QUEUE, queue);
    return queue;
}

static void free_queue(struct sim *sim, struct m_queue *queue)
{
    DL_DELETE(sim->queues, queue);
    free(queue->entries);
    free(queue);
}

void model_delete_queue(struct sim *sim, struct m_queue *queue)
{
    struct m_consumer *consumer, *next;
    struct m_binding *binding;

    DL_FOREACH_SAFE(sim->consumers, consumer, next) {
        struct m_channel *channel = consumer->channel;

        if (consumer->queue != queue)
            continue;
        assert(channel->n_cancels < MODEL_CANCELS);
        if (channel->connection->knows_cancel && channel->state == CHANNEL_IS_OPEN)
            memcpy(channel->cancels[channel->n_cancels++], consumer->tag, MODEL_NAME_BYTES);
        DL_DELETE(sim->consumers, consumer);
        free(consumer);
    }
    model_letters_forget(sim, queue);
    journal_queue(sim, JOURNAL_DELETE_QUEUE, queue);
    while ((binding = binding_of(sim, queue->name, false)))
        model_remove_binding(sim, binding);
    free_queue(sim, queue);
}

/* Not early, though the clock is cut to milliseconds; and in the first turn that may. */
void model_expire_queues(struct sim *sim)
{
    struct m_queue *queue, *next;

    DL_FOREACH_SAFE(sim->queues, queue, next) {
        if (queue->settings.expires_ms < 0 || model_consumer_count(sim, queue) ||
            sim->clock_ms <= queue->used_ms + (uint64_t)queue->settings.expires_ms)
            continue;
        history_add(&sim->history, "  queue '%s' expires", queue->name);
        model_delete_queue(sim, queue);
    }
}

uint32_t queue_ready(const struct m_queue *queue)
{
    uint32_t ready = 0;

    for (size_t i = 0; i < queue->n_entries; i++)
        ready += !queue->entries[i].out;
    return ready;
}

uint64_t queue_ready_bytes(const struct m_queue *queue)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < queue->n_entries; i++)
        if (!queue->entries[i].out)
            bytes += queue->entries[i].message->body_bytes;
    return bytes;
}

struct m_entry *model_head(struct m_queue *queue)
{
    struct m_entry *head = NULL;

    for (size_t i = 0; i < queue->n_entries; i++) {
        struct m_entry *entry = &queue->entries[i];

        if (!entry->out && (!head || entry->level > head->level))
            head = entry;
    }
    return head;
}

struct m_entry *model_entry(struct m_queue *queue, uint64_t sequence)
{
    for (size_t i = 0; i < queue->n_entries; i++)
        if (queue->entries[i].sequence == sequence)
            return &queue->entries[i];
    return NULL;
}

void model_take_entry(struct m_queue *queue, struct m_entry *entry)
{
    size_t behind = (size_t)(queue->entries + queue->n_entries - entry - 1);

    memmove(entry, entry + 1, behind * sizeof *entry);
    queue->n_entries--;
}

void model_remove_entry(struct sim *sim, struct m_queue *queue, struct m_entry *entry)
{
    journal_entry(sim, JOURNAL_SETTLE, queue, entry);
    model_take_entry(queue, entry);
}

void model_purge(struct sim *sim, struct m_queue *queue)
{
    struct m_entry *head;

    while ((head = model_head(queue)))
        model_remove_entry(sim, queue, head);
}

/* --- consumers --- */

uint32_t model_consumer_count(struct sim *sim, const struct m_queue *queue)
{
    struct m_consumer *consumer;
    uint32_t count = 0;

    DL_FOREACH(sim->consumers, consumer)
        count += consumer->queue == queue;
    return count;
}

struct m_consumer *model_consumer(struct sim *sim, const struct m_channel *channel,
                                  const char *tag)
{
    struct m_consumer *consumer;

    DL_FOREACH(sim->consumers, consumer)
        if (consumer->channel == channel && strcmp(consumer->tag, tag) == 0)
            break;
    return consumer;
}

struct m_consumer *model_add_consumer(struct sim *sim, const struct m_consumer *like)
{
    struct m_consumer *consumer = sim_duplicate(like, sizeof *like);

    consumer->id = ++sim->next_consumer_id;
    consumer->was_able = true;
    consumer->turn_low = consumer->turn_high = ++sim->stamp;
    consumer->queue->had_consumer = true;
    if (consumer->queue->settings.single_active && !consumer->queue->active)
        consumer->queue->active = consumer->id;
    DL_APPEND(sim->consumers, consumer);
    return consumer;
}

/* The highest x-priority, and of those who was there first (3.2). */
static void activate_next(struct sim *sim, struct m_queue *queue)
{
    struct m_consumer *consumer, *next = NULL;

    DL_FOREACH(sim->consumers, consumer)
        if (consumer->queue == queue && (!next || consumer->priority > next->priority))
            next = consumer;
    queue->active = next ? next->id : 0;
}

void model_remove_consumer(struct sim *sim, struct m_consumer *consumer)
{
    struct m_queue *queue = consumer->queue;
    bool was_active = queue->active == consumer->id;

    DL_DELETE(sim->consumers, consumer);
    free(consumer);
    if (was_active)
        activate_next(sim, queue);
    if (model_consumer_count(sim, queue) == 0)
        model_use_queue(sim, queue);
    if (queue->auto_delete && model_consumer_count(sim, queue) == 0)
        model_delete_queue(sim, queue);
}

bool model_able(const struct m_consumer *consumer)
{
    const struct m_channel *channel = consumer->channel;

    if (channel->state != CHANNEL_IS_OPEN || !channel->flow || channel->connection->congested ||
        channel->connection->state != CONNECTION_IS_OPEN)
        return false;
    if (consumer->queue->settings.single_active && consumer->queue->active != consumer->id)
        return false;
    if (channel->prefetch_global && channel->global_unacked >= channel->prefetch_global)
        return false; /* no-ack consumers wait too */
    return consumer->no_ack || !consumer->prefetch || consumer->unacked < consumer->prefetch;
}

void model_refresh(struct sim *sim)
{
    struct m_consumer *consumer;
    bool stamped = false;

    DL_FOREACH(sim->consumers, consumer) {
        bool able = model_able(consumer);

        if (able && !consumer->was_able) {
            sim->stamp += !stamped;
            stamped = true;
            consumer->turn_high = sim->stamp;
        }
        consumer->was_able = able;
    }
}

/* --- from nothing, and from the journal --- */

static void add_predeclared(struct sim *sim)
{
    static const struct m_exchange predeclared[] = {
        { .name = "", .type = "direct", .durable = true },
        { .name = "amq.direct", .type = "direct", .durable = true },
        { .name = "amq.fanout", .type = "fanout", .durable = true },
        { .name = "amq.topic", .type = "topic", .durable = true },
    };

    for (size_t i = 0; i < N_ELEMENTS(predeclared); i++)
        (void)model_add_exchange(sim, &predeclared[i]);
}

static void drop_all(struct sim *sim)
{
    struct m_exchange *exchange, *next_exchange;
    struct m_binding *binding, *next_binding;
    struct m_consumer *consumer, *next_consumer;

    DL_FOREACH_SAFE(sim->exchanges, exchange, next_exchange)
        free(exchange);
    DL_FOREACH_SAFE(sim->bindings, binding, next_binding)
        free(binding);
    DL_FOREACH_SAFE(sim->consumers, consumer, next_consumer)
        free(consumer);
    while (sim->queues)
        free_queue(sim, sim->queues);
    model_letters_drop(sim);
    model_drop_policies(&sim->policies);
    sim->exchanges = NULL;
    sim->bindings = NULL;
    sim->consumers = NULL;
}

static void release_channel(struct m_channel *channel)
{
    free(channel->deliveries);
    free(channel->tx_publishes);
    free(channel->tx_settlements);
    free(channel->confirms);
}

static void drop_connections(struct sim *sim)
{
    for (unsigned i = 0; i < MODEL_CONNECTIONS; i++) {
        struct m_connection *connection = &sim->connections[i];

        for (unsigned c = 0; c < MODEL_CHANNELS; c++)
            release_channel(&connection->channels[c]);
        *connection = (struct m_connection){ .sim = sim, .number = i };
        for (unsigned c = 0; c < MODEL_CHANNELS; c++) {
            connection->channels[c] = (struct m_channel){ .connection = connection,
                                                          .number = (uint16_t)(c + 1),
                                                          .flow = true,
                                                          .next_delivery_tag = 1 };
        }
    }
}

void model_begin(struct sim *sim)
{
    drop_connections(sim);
    add_predeclared(sim);
}

void model_end(struct sim *sim)
{
    drop_all(sim);
    drop_connections(sim);
    journal_release(sim);
    for (size_t i = 0; i < sim->n_messages; i++)
        free(sim->messages[i]);
    free(sim->messages);
    for (size_t i = 0; i < sim->n_copies; i++) {
        free(sim->copies[i]->past);
        free(sim->copies[i]);
    }
    free(sim->copies);
    free(sim->arrivals.list);
}

/*
 * Whether a recovered message may be marked as redelivered: what was never handed out must not. The
 * broker remembers how far a queue has been handed out, which with priorities says too much.
 */
static void recover_entry(struct m_entry *entry, const struct m_queue *queue,
                          struct m_queue *before)
{
    const struct m_entry *was = before ? model_entry(before, entry->sequence) : NULL;

    entry->out = false;
    entry->cold = true;
    entry->handed = !was || was->handed;
    if ((entry->handed || queue->settings.max_priority > 0) && entry->redelivered == SEEN_NEVER)
        entry->redelivered = SEEN_UNKNOWN;
}

static void recover_queue(struct sim *sim, const struct m_queue *stored, struct m_queue **queues)
{
    struct m_queue *queue = sim_duplicate(stored, sizeof *stored);

    queue->entries = malloc((stored->n_entries + 1) * sizeof *queue->entries);
    assert(queue->entries);
    queue->capacity = stored->n_entries + 1;
    if (stored->n_entries)
        memcpy(queue->entries, stored->entries, stored->n_entries * sizeof *queue->entries);
    for (size_t i = 0; i < queue->n_entries; i++)
        recover_entry(&queue->entries[i], queue, model_queue_by_id(sim, queue->id));
    queue->had_consumer = false;
    queue->active = 0;
    model_use_queue(sim, queue);
    DL_APPEND(*queues, queue);
}

void model_rebuild(struct sim *sim)
{
    struct m_queue *stored, *queues = NULL;
    struct m_exchange *exchange;
    struct m_binding *binding;
    struct m_policy *policy;

    DL_FOREACH(sim->journal.queues, stored)
        recover_queue(sim, stored, &queues);
    drop_all(sim);
    drop_connections(sim);
    sim->queues = queues;
    DL_FOREACH(sim->journal.policies, policy)
        model_put_policy(&sim->policies, policy);
    DL_FOREACH(sim->queues, stored)
        model_effective(sim, stored, &stored->settings);
    add_predeclared(sim);
    DL_FOREACH(sim->journal.exchanges, exchange) {
        struct m_exchange *copy = sim_duplicate(exchange, sizeof *exchange);

        DL_APPEND(sim->exchanges, copy);
    }
    model_apply_to_exchanges(sim);
    DL_FOREACH(sim->journal.bindings, binding) {
        struct m_binding *copy = sim_duplicate(binding, sizeof *binding);

        DL_APPEND(sim->bindings, copy);
    }
}
