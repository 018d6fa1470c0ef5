/*
 * model_publish.c - from a publish, a tx.commit or a dead letter into queues
 *
 * Where a message must go is known when it is published. When it is there is the broker's to say
 * (watch.h), because in between it may hand out what makes room. Each arrival is checked; what
 * follows the last of them (a confirm, the settlements of a transaction) is `done`.
 */
#include <assert.h>

#include "model.h"

static void expect_return(struct sim *sim, struct m_channel *channel, struct m_message *message)
{
    if (channel->n_returns == N_ELEMENTS(channel->returns))
        history_fail(&sim->history, "more returns than the model holds");
    channel->returns[channel->n_returns++] = message;
    channel->return_tag = channel->n_confirms + 1;
}

bool model_expect_arrival(struct sim *sim, struct m_message *message, uint32_t queue)
{
    struct m_arrivals *arrivals = &sim->arrivals;

    if (!model_queue_by_id(sim, queue))
        return false;
    arrivals->list = sim_grow(arrivals->list, arrivals->count, &arrivals->capacity,
                              sizeof *arrivals->list);
    arrivals->list[arrivals->count++] = (struct m_arrival){ message, queue };
    return true;
}

static void expect_routed(struct sim *sim, struct m_channel *channel,
                          const struct m_tx_publish *publish)
{
    bool routed = false;

    for (unsigned i = 0; i < publish->n_queues; i++)
        routed |= model_expect_arrival(sim, publish->message, publish->queues[i]);
    if (!routed && publish->mandatory)
        expect_return(sim, channel, publish->message);
}

/* True when all has arrived; then it is over. */
static bool all_arrived(struct sim *sim)
{
    struct m_arrivals *arrivals = &sim->arrivals;
    void (*done)(struct sim *sim, struct m_channel *channel) = arrivals->done;

    if (arrivals->count)
        return false;
    arrivals->done = NULL;
    if (done) {
        done(sim, arrivals->channel);
        model_refresh(sim); /* settlements make room for consumers */
    }
    arrivals->stored = arrivals->refused = false;
    return true;
}

/* The smaller of both times counts. */
static void set_expiry(struct sim *sim, const struct m_queue *queue, struct m_entry *entry)
{
    int64_t ttl_ms = queue->settings.ttl_ms, own_ms = entry->message->expiration_ms;

    if (own_ms >= 0 && (ttl_ms < 0 || own_ms < ttl_ms))
        ttl_ms = own_ms;
    if (ttl_ms < 0)
        return;
    entry->expires_ms = sim_wall_ms(sim) + (uint64_t)ttl_ms;
    entry->gone_ms = entry->expires_ms + (ttl_ms > 0); /* the clock is cut to milliseconds */
}

/* Without x-max-priority there is one level. */
static uint8_t level_of(const struct m_queue *queue, const struct m_message *message)
{
    if (queue->settings.max_priority <= 0)
        return 0;
    return message->priority < queue->settings.max_priority ? message->priority
                                                         : (uint8_t)queue->settings.max_priority;
}

static void push(struct sim *sim, struct m_queue *queue, struct m_message *message,
                 const struct m_arrived *arrived)
{
    uint64_t sequence = arrived->sequence;
    uint64_t memory_bytes =
        queue_ready_bytes(queue) + (uint64_t)queue_ready(queue) * BOUND_MESSAGE_OVERHEAD_BYTES;
    bool is_full = memory_bytes + arrived->heavy_bytes >= sim->queue_memory;
    bool stored = queue->durable && (message->persistent || queue->given.quorum);
    struct m_entry *entry;
    unsigned shift = sim->paging ? BOUND_PAGING_SHIFT : 0;
    bool is_long = queue_ready(queue) >= sim->resident_messages >> shift ||
                   queue_ready_bytes(queue) >= sim->resident_bytes >> shift;

    if (queue->n_entries && queue->entries[queue->n_entries - 1].sequence >= sequence)
        history_fail(&sim->history, "queue '%s' puts m%u before others", queue->name, message->id);
    queue->entries = sim_grow(queue->entries, queue->n_entries, &queue->capacity,
                              sizeof *queue->entries);
    entry = &queue->entries[queue->n_entries++];
    *entry = (struct m_entry){ .sequence = sequence,
                               .message = message,
                               .level = level_of(queue, message),
                               .stored = stored,
                               .paged = !stored && (is_full || (sim->paging && is_long)),
                               .cold = is_full || (is_long && (sim->paging || stored)) };
    set_expiry(sim, queue, entry);
    sim->arrivals.stored |= entry->stored;
    sim->large |= store_open_bytes(sim->store) > MODEL_LARGE_BYTES;
    journal_entry(sim, JOURNAL_ENQUEUE, queue, entry);
}

/* The message that is expected there, which is no longer expected. */
static struct m_message *take_arrival(struct sim *sim, const struct m_arrived *arrived,
                                      const struct m_queue *queue)
{
    struct m_arrivals *arrivals = &sim->arrivals;
    struct m_message *message = arrivals->count ? arrivals->list[0].message : NULL;
    size_t at = 0;

    if (!queue || !message || message->id != arrived->message)
        history_fail(&sim->history, "m%u was not on its way to any queue", arrived->message);
    while (at < arrivals->count && arrivals->list[at].message == message &&
           arrivals->list[at].queue != queue->id)
        at++;
    if (at == arrivals->count || arrivals->list[at].message != message)
        history_fail(&sim->history, "m%u was not routed to queue '%s'", message->id, queue->name);
    memmove(&arrivals->list[at], &arrivals->list[at + 1],
            (--arrivals->count - at) * sizeof *arrivals->list);
    return message;
}

/* A queue that does not drop its head refuses exactly what would take it over its limit. */
static void check_refusal(struct sim *sim, struct m_queue *queue, const struct m_message *message,
                          bool refused)
{
    bool full = settings_refuse(&queue->settings) && queue_is_over(queue, 1, message->body_bytes);

    if (refused != full)
        history_fail(&sim->history, "queue '%s' %s", queue->name,
                     full ? "is full" : "has room for the message");
    if (refused && model_deliverable(sim, queue) && !model_head(queue)->cold)
        history_fail(&sim->history, "queue '%s' could have made room for m%u", queue->name,
                     message->id);
}

void model_arrive(struct sim *sim, const struct m_arrived *arrived)
{
    struct m_queue *queue = model_queue(sim, arrived->queue);
    struct m_message *message;

    history_add(&sim->history, "  m%u %s queue '%s'", arrived->message,
                arrived->refused ? "is refused by" : "enters", arrived->queue);
    if (arrived->anyway) {
        push(sim, queue, sim->arrivals.refused_last, arrived);
        sim->arrivals.stored = false; /* no publisher waits for a dead letter */
        return;
    }
    message = take_arrival(sim, arrived, queue);
    sim->arrivals.refused_last = message;
    check_refusal(sim, queue, message, arrived->refused);
    sim->arrivals.refused |= arrived->refused;
    if (arrived->refused && queue->settings.overflow == OVERFLOW_REJECT_DLX)
        model_give_up(sim, queue, &(struct m_letter){ .entry = { .message = message },
                                                      .reason = DEAD_LETTER_MAXLEN });
    if (!arrived->refused)
        push(sim, queue, message, arrived);
    (void)all_arrived(sim);
}

/* --- what a client publishes --- */

static void publish_done(struct sim *sim, struct m_channel *channel)
{
    if (channel->mode != MODE_CONFIRM)
        return;
    channel->confirms = sim_grow(channel->confirms, channel->n_confirms,
                                 &channel->confirms_capacity, sizeof *channel->confirms);
    channel->confirms[channel->n_confirms++] =
        (struct m_confirm){ .commit = sim->arrivals.stored ? store_open_commit(sim->store) : 0,
                            .refused = sim->arrivals.refused };
}

static void note_publish(struct m_channel *channel, const struct m_tx_publish *routed)
{
    channel->tx_publishes = sim_grow(channel->tx_publishes, channel->n_tx_publishes,
                                     &channel->tx_publishes_capacity,
                                     sizeof *channel->tx_publishes);
    channel->tx_publishes[channel->n_tx_publishes++] = *routed;
}

void model_publish(struct sim *sim, struct m_channel *channel, const struct m_publish *publish)
{
    struct m_message *message = publish->message;
    struct m_exchange *exchange = model_exchange(sim, message->exchange);
    struct m_tx_publish routed = { .message = message, .mandatory = publish->mandatory };

    if (publish->immediate) {
        model_raise(sim, channel, 540, AMQP_ID_basic_publish, "immediate=true");
        return;
    }
    if (!exchange) {
        model_raise(sim, channel, 404, AMQP_ID_basic_publish, "no exchange '%s' in vhost '/'",
                    message->exchange);
        return;
    }
    if (exchange->internal) {
        model_raise(sim, channel, 403, AMQP_ID_basic_publish,
                    "cannot publish to internal exchange '%s' in vhost '/'", message->exchange);
        return;
    }
    routed.n_queues = model_route(sim, exchange, message->routing_key, routed.queues);
    if (channel->mode == MODE_TX) {
        note_publish(channel, &routed);
        return;
    }
    expect_routed(sim, channel, &routed);
    sim->arrivals.channel = channel;
    sim->arrivals.done = publish_done;
    (void)all_arrived(sim);
}

/* What could be done has been done. */
static bool resolve_partial_commit(struct sim *sim, struct call *call)
{
    model_raise(sim, call->channel, 406, AMQP_ID_tx_commit, "partial tx completion");
    return false;
}

/* Settlements in order follow the publishes (7.4); all of it is one commit of the store. */
static void commit_done(struct sim *sim, struct m_channel *channel)
{
    bool stored = sim->arrivals.stored;

    for (size_t i = 0; i < channel->n_tx_settlements; i++) {
        const struct m_tx_settlement *settlement = &channel->tx_settlements[i];
        struct m_queue *queue = model_queue_by_id(sim, settlement->delivery.queue);

        if (queue)
            stored |= model_entry(queue, settlement->delivery.sequence)->stored;
        model_settle_now(sim, channel, &settlement->delivery, settlement->how);
    }
    channel->n_tx_settlements = 0;
    if (sim->arrivals.refused) {
        sim->call.resolve = resolve_partial_commit;
        sim->call.channel = channel;
        return;
    }
    assert(channel->n_commits < N_ELEMENTS(channel->commits));
    channel->commits[channel->n_commits++] = stored ? store_open_commit(sim->store) : 0;
}

void model_commit(struct sim *sim, struct m_channel *channel)
{
    for (size_t i = 0; i < channel->n_tx_publishes; i++)
        expect_routed(sim, channel, &channel->tx_publishes[i]);
    channel->n_tx_publishes = 0;
    sim->arrivals.channel = channel;
    sim->arrivals.done = commit_done;
    (void)all_arrived(sim);
}
