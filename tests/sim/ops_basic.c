/*
 * ops_basic.c - publishing, consuming, settling, confirm and transactions
 */
#include <utlist.h>

#include "ops.h"

static void send(struct sim *sim, struct m_channel *channel, const void *method)
{
    client_send(sim, channel->connection, channel->number, method);
}

/* --- publishing --- */

/* A channel with a content on its way; its connection is read. */
static struct m_channel *unfinished(struct sim *sim)
{
    for (unsigned i = 0; i < MODEL_CONNECTIONS; i++)
        for (unsigned c = 0; c < MODEL_CHANNELS; c++) {
            struct m_channel *channel = &sim->connections[i].channels[c];

            if (channel->content.message && !channel->connection->paused)
                return channel;
        }
    return NULL;
}

static void pick_route(struct sim *sim, const struct m_channel *channel,
                       char exchange[MODEL_NAME_BYTES], char key[MODEL_NAME_BYTES])
{
    const struct m_exchange *picked;

    if (chance(sim, 50)) {
        exchange[0] = '\0';
        pick_queue_name(sim, channel, false, key);
        return;
    }
    pick_exchange_name(sim, false, exchange);
    picked = model_exchange(sim, exchange);
    if (picked && picked->internal && !mistaken(sim))
        exchange[0] = '\0';
    sim_copy(sim, key, amqp_str_from(pick_key(sim)));
}

static struct m_channel *start_publish(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    char exchange[MODEL_NAME_BYTES], key[MODEL_NAME_BYTES];

    if (!channel)
        return NULL;
    pick_route(sim, channel, exchange, key);
    channel->content = (struct m_publish){ .message = client_new_message(sim, exchange, key),
                                           .mandatory = chance(sim, 30),
                                           .immediate = mistaken(sim) && chance(sim, 5) };
    return channel;
}

bool op_publish(struct sim *sim)
{
    struct m_channel *channel = unfinished(sim);
    unsigned more = chance(sim, 20) ? random_below(&sim->random, sim->burst) : 0;

    if (!channel || chance(sim, 50))
        channel = start_publish(sim);
    if (!channel)
        return false;
    client_send_content(sim, channel, chance(sim, 90));
    while (more-- && !channel->content.message && channel->state == CHANNEL_IS_OPEN &&
           !channel->connection->paused) {
        char exchange[MODEL_NAME_BYTES], key[MODEL_NAME_BYTES];

        pick_route(sim, channel, exchange, key);
        channel->content = (struct m_publish){ .message = client_new_message(sim, exchange, key) };
        client_send_content(sim, channel, true);
    }
    return true;
}

/* --- consuming --- */

static void pick_tag(struct sim *sim, const struct m_channel *channel, char tag[MODEL_NAME_BYTES])
{
    static const struct amqp_str tags[] = { AMQP_STR("ca"), AMQP_STR("cb"), AMQP_STR("cc"),
                                            AMQP_STR("cd") };

    for (unsigned attempts = 0; attempts < 4; attempts++) {
        sim_copy(sim, tag, tags[random_below(&sim->random, N_ELEMENTS(tags))]);
        if (!model_consumer(sim, channel, tag) || (mistaken(sim) && chance(sim, 20)))
            return;
    }
    tag[0] = '\0'; /* generated */
}

static bool model_consume(struct sim *sim, struct m_channel *channel, struct m_consumer *consumer,
                          char queue_name[MODEL_NAME_BYTES])
{
    struct m_consumer *other;
    uint32_t count;

    if (consumer->tag[0] && model_consumer(sim, channel, consumer->tag)) {
        model_raise(sim, channel, 530, AMQP_ID_basic_consume,
                    "attempt to reuse consumer tag '%s'", consumer->tag);
        return false;
    }
    consumer->queue = find_queue(sim, channel, AMQP_ID_basic_consume, queue_name);
    if (!consumer->queue)
        return false;
    if (consumer->queue->given.quorum && channel->prefetch_global) {
        model_raise(sim, channel, 540, AMQP_ID_basic_consume,
                    "queue '%s' in vhost '/' does not support global qos", consumer->queue->name);
        return false;
    }
    if (consumer->queue->given.quorum)
        consumer->exclusive = false; /* not a word about it */
    count = model_consumer_count(sim, consumer->queue);
    DL_FOREACH(sim->consumers, other)
        if (other->queue == consumer->queue && (other->exclusive || consumer->exclusive))
            break;
    if (other || (consumer->exclusive && (count || consumer->queue->settings.single_active))) {
        model_raise(sim, channel, 403, AMQP_ID_basic_consume,
                    "queue '%s' in vhost '/' in exclusive use", consumer->queue->name);
        return false;
    }
    (void)model_add_consumer(sim, consumer);
    return true;
}

bool op_consume(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    struct m_consumer consumer = { .channel = channel };
    struct amqp_table_writer arguments = { 0 };
    char given[MODEL_NAME_BYTES], meant[MODEL_NAME_BYTES];
    bool no_wait, exclusive;

    if (!channel)
        return false;
    pick_queue_name(sim, channel, true, given);
    if (channel->prefetch_global && (sim->features & FEATURE_QUORUM) && !mistaken(sim))
        return false; /* not allowed with a quorum queue */
    pick_tag(sim, channel, consumer.tag);
    no_wait = consumer.tag[0] && chance(sim, 15);
    consumer.no_ack = chance(sim, 25);
    consumer.exclusive = exclusive = chance(sim, 4);
    consumer.awaits_ok = !no_wait;
    consumer.prefetch = channel->prefetch_default;
    if (chance(sim, 25))
        consumer.priority = (int32_t)random_below(&sim->random, 3) - 1;
    if (consumer.priority)
        amqp_table_put_int(&arguments, "x-priority", consumer.priority);
    memcpy(meant, given, sizeof meant);
    (void)model_consume(sim, channel, &consumer, meant);
    send(sim, channel,
         &(struct amqp_basic_consume){ .id = AMQP_ID_basic_consume,
                                       .queue = amqp_str_from(given),
                                       .consumer_tag = amqp_str_from(consumer.tag),
                                       .no_ack = consumer.no_ack,
                                       .exclusive = exclusive,
                                       .no_wait = no_wait,
                                       .arguments = amqp_table_written(&arguments) });
    amqp_table_writer_release(&arguments);
    return true;
}

bool op_cancel(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    char tag[MODEL_NAME_BYTES] = "unknown";
    bool no_wait = chance(sim, 15);
    struct m_consumer *consumer;

    if (!channel)
        return false;
    DL_FOREACH(sim->consumers, consumer)
        if (consumer->channel == channel && (strcmp(tag, "unknown") == 0 || chance(sim, 50)))
            memcpy(tag, consumer->tag, sizeof tag);
    consumer = model_consumer(sim, channel, tag);
    if (!consumer && !mistaken(sim))
        return false;
    if (consumer)
        model_remove_consumer(sim, consumer);
    if (!no_wait)
        expect_method(sim, channel,
                      &(struct amqp_basic_cancel_ok){ .id = AMQP_ID_basic_cancel_ok,
                                                      .consumer_tag = amqp_str_from(tag) });
    send(sim, channel,
         &(struct amqp_basic_cancel){ .id = AMQP_ID_basic_cancel,
                                      .consumer_tag = amqp_str_from(tag),
                                      .no_wait = no_wait });
    return true;
}

bool op_get(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    char given[MODEL_NAME_BYTES], meant[MODEL_NAME_BYTES];
    bool no_ack = chance(sim, 40);
    struct m_queue *queue;

    if (!channel)
        return false;
    pick_queue_name(sim, channel, true, given);
    memcpy(meant, given, sizeof meant);
    queue = find_queue(sim, channel, AMQP_ID_basic_get, meant);
    if (queue && queue->given.quorum && queue->given.single_active) {
        model_raise(sim, channel, 405, AMQP_ID_basic_get,
                    "cannot obtain access to locked queue '%s' in vhost '/'. basic.get operations "
                    "are not supported by quorum queues with single active consumer",
                    queue->name);
    } else if (queue) {
        channel->gets = true;
        channel->get_queue = queue->id;
        channel->get_no_ack = no_ack;
        model_use_queue(sim, queue);
    }
    send(sim, channel,
         &(struct amqp_basic_get){ .id = AMQP_ID_basic_get,
                                   .queue = amqp_str_from(given),
                                   .no_ack = no_ack });
    return true;
}

/* --- settling --- */

/* An outstanding delivery, or (0) what is none; mostly a channel that has some. */
static struct m_channel *pick_delivery(struct sim *sim, uint64_t *ret_tag)
{
    struct m_channel *channel = NULL;

    for (unsigned attempts = 0; attempts < 6; attempts++) {
        channel = pick_channel(sim);
        if (channel && channel->n_deliveries)
            break;
    }
    if (!channel || (!channel->n_deliveries && !mistaken(sim)))
        return NULL;
    if (channel->n_deliveries && !mistaken(sim)) {
        size_t at = random_below(&sim->random, (unsigned)channel->n_deliveries);

        *ret_tag = channel->deliveries[chance(sim, 40) ? 0 : at].tag;
    } else {
        *ret_tag = random_below(&sim->random, (unsigned)channel->next_delivery_tag + 2);
    }
    return channel;
}

/* True when the tag is known; else 406 has been raised. */
static bool settle(struct sim *sim, struct m_channel *channel, uint32_t method_id, uint64_t tag,
                   bool multiple, enum m_settle how)
{
    if (model_settle(sim, channel, tag, multiple, how))
        return true;
    model_raise(sim, channel, 406, method_id, "unknown delivery tag %llu",
                (unsigned long long)tag);
    return false;
}

bool op_ack(struct sim *sim)
{
    struct amqp_basic_ack ack = { .id = AMQP_ID_basic_ack, .multiple = chance(sim, 30) };
    struct m_channel *channel = pick_delivery(sim, &ack.delivery_tag);

    if (!channel)
        return false;
    if (ack.multiple && chance(sim, 20))
        ack.delivery_tag = 0;
    (void)settle(sim, channel, ack.id, ack.delivery_tag, ack.multiple, SETTLE_ACK_IT);
    send(sim, channel, &ack);
    return true;
}

bool op_nack(struct sim *sim)
{
    struct amqp_basic_nack nack = { .id = AMQP_ID_basic_nack,
                                    .multiple = chance(sim, 30),
                                    .requeue = chance(sim, 70) };
    struct m_channel *channel = pick_delivery(sim, &nack.delivery_tag);

    if (!channel)
        return false;
    if (nack.multiple && chance(sim, 20))
        nack.delivery_tag = 0;
    (void)settle(sim, channel, nack.id, nack.delivery_tag, nack.multiple,
                 nack.requeue ? SETTLE_REQUEUE_IT : SETTLE_DROP_IT);
    send(sim, channel, &nack);
    return true;
}

bool op_reject(struct sim *sim)
{
    struct amqp_basic_reject reject = { .id = AMQP_ID_basic_reject, .requeue = chance(sim, 70) };
    struct m_channel *channel = pick_delivery(sim, &reject.delivery_tag);

    if (!channel)
        return false;
    (void)settle(sim, channel, reject.id, reject.delivery_tag, false,
                 reject.requeue ? SETTLE_REQUEUE_IT : SETTLE_DROP_IT);
    send(sim, channel, &reject);
    return true;
}

bool op_recover(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    bool async = chance(sim, 30);
    bool requeue = !mistaken(sim);

    if (!channel)
        return false;
    if (!requeue)
        model_raise(sim, channel, 540, async ? AMQP_ID_basic_recover_async : AMQP_ID_basic_recover,
                    "requeue=false");
    else
        model_recover(sim, channel, model_last_seen(sim, channel));
    if (requeue && !async)
        expect_method(sim, channel,
                      &(struct amqp_basic_recover_ok){ .id = AMQP_ID_basic_recover_ok });
    send(sim, channel,
         &(struct amqp_basic_recover){
             .id = async ? AMQP_ID_basic_recover_async : AMQP_ID_basic_recover,
             .requeue = requeue });
    return true;
}

bool op_qos(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    struct amqp_basic_qos qos = { .id = AMQP_ID_basic_qos,
                                  .prefetch_count = (uint16_t)random_below(&sim->random, 5),
                                  .global = chance(sim, 40) };

    if (!channel)
        return false;
    if (!qos.global)
        channel->prefetch_default = qos.prefetch_count;
    model_set_global_prefetch(channel, qos.global ? qos.prefetch_count : 0);
    expect_method(sim, channel, &(struct amqp_basic_qos_ok){ .id = AMQP_ID_basic_qos_ok });
    send(sim, channel, &qos);
    return true;
}

/* --- confirm and tx --- */

bool op_confirm_select(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    struct amqp_confirm_select select = { .id = AMQP_ID_confirm_select,
                                          .no_wait = chance(sim, 20) };

    if (!channel || (channel->mode == MODE_TX && !mistaken(sim)))
        return false;
    if (channel->mode == MODE_TX) {
        model_raise(sim, channel, 406, select.id, "cannot switch from tx to confirm mode");
    } else {
        channel->mode = MODE_CONFIRM;
        if (!select.no_wait)
            expect_method(sim, channel,
                          &(struct amqp_confirm_select_ok){ .id = AMQP_ID_confirm_select_ok });
    }
    send(sim, channel, &select);
    return true;
}

bool op_tx_select(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);

    if (!channel || (channel->mode == MODE_CONFIRM && !mistaken(sim)))
        return false;
    if (channel->mode == MODE_CONFIRM) {
        model_raise(sim, channel, 406, AMQP_ID_tx_select, "cannot switch from confirm to tx mode");
    } else {
        channel->mode = MODE_TX;
        expect_method(sim, channel, &(struct amqp_tx_select_ok){ .id = AMQP_ID_tx_select_ok });
    }
    send(sim, channel, &(struct amqp_tx_select){ .id = AMQP_ID_tx_select });
    return true;
}

/* A channel in tx mode; now and then another one, which raises. */
static struct m_channel *pick_tx_channel(struct sim *sim, uint32_t method_id, bool *ret_tx)
{
    struct m_channel *channel = NULL;

    for (unsigned attempts = 0; attempts < 4; attempts++) {
        channel = pick_channel(sim);
        if (channel && channel->mode == MODE_TX)
            break;
    }
    if (!channel || (channel->mode != MODE_TX && !mistaken(sim)))
        return NULL;
    *ret_tx = channel->mode == MODE_TX;
    if (!*ret_tx)
        model_raise(sim, channel, 406, method_id, "channel is not transactional");
    return channel;
}

bool op_tx_commit(struct sim *sim)
{
    bool tx;
    struct m_channel *channel = pick_tx_channel(sim, AMQP_ID_tx_commit, &tx);

    if (!channel)
        return false;
    if (tx)
        model_commit(sim, channel);
    send(sim, channel, &(struct amqp_tx_commit){ .id = AMQP_ID_tx_commit });
    return true;
}

bool op_tx_rollback(struct sim *sim)
{
    bool tx;
    struct m_channel *channel = pick_tx_channel(sim, AMQP_ID_tx_rollback, &tx);

    if (!channel)
        return false;
    if (tx) {
        model_rollback(channel);
        expect_method(sim, channel, &(struct amqp_tx_rollback_ok){ .id = AMQP_ID_tx_rollback_ok });
    }
    send(sim, channel, &(struct amqp_tx_rollback){ .id = AMQP_ID_tx_rollback });
    return true;
}
