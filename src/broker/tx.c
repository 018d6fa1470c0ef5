/*
 * tx.c - collecting, and applying or giving back
 *
 * Two lists, in order of arrival; applying and giving back take from their heads, so that either can
 * stop after any step and go on in the next turn. While publishes are applied the open commit is not
 * sealed (broker->seal_holds). A commit that runs out of memory midway has applied a part: the
 * connection is closed, and what was applied stays, as RabbitMQ's would.
 */
#include "broker/tx.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/channel_room.h"
#include "broker/connection-internal.h"
#include "broker/dead_letter.h"
#include "broker/direct_reply.h"
#include "broker/task.h"

enum { MESSAGE_OVERHEAD_BYTES = 128 }; /* what a transaction's limit counts for each */

struct tx_publish {
    struct tx_publish *next;
    struct message *message;
    bool mandatory, begun;
    size_t n_queues, n_done;
    struct queue *queues[]; /* referenced */
};

struct tx_settlement {
    struct tx_settlement *next;
    struct unacked_delivery delivery;
    enum settle_how how;
};

struct tx {
    struct tx_publish *publishes, *publishes_last;
    struct tx_settlement *settlements, *settlements_last;
    uint32_t n_messages;    /* for each queue, at least one a publish */
    uint32_t n_settlements;
    uint64_t bytes;
    struct push_outcome outcome; /* while it is applied */
    bool applying;
    int error;
};

struct tx *tx_new(void)
{
    return calloc(1, sizeof(struct tx));
}

void tx_free(struct tx *tx)
{
    assert(!tx || (!tx->publishes && !tx->settlements));
    free(tx);
}

uint32_t tx_settlement_count(const struct tx *tx)
{
    return tx->n_settlements;
}

static int check_limits(const struct broker *broker, const struct tx *tx, struct amqp_error *err)
{
    const struct broker_settings *settings = &broker->settings;

    if (settings->tx_messages_max && tx->n_messages > settings->tx_messages_max)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "transaction is larger than %u messages (tx_message_limit)",
                          settings->tx_messages_max);
    if (settings->tx_bytes_max && tx->bytes > settings->tx_bytes_max)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "transaction is larger than %llu bytes (tx_bytes_limit)",
                          (unsigned long long)settings->tx_bytes_max);
    return 0;
}

int tx_add_publish(struct channel *channel, struct message *message, const struct route *route,
                   struct amqp_error *err)
{
    struct tx *tx = channel->tx;
    struct tx_publish *publish =
        malloc(sizeof *publish + route->n_queues * sizeof publish->queues[0]);

    if (!publish)
        return -ENOMEM;
    *publish = (struct tx_publish){ .message = message_ref(message),
                                    .mandatory = channel->content.mandatory,
                                    .n_queues = route->n_queues };
    for (size_t i = 0; i < route->n_queues; i++)
        publish->queues[i] = queue_ref(route->queues[i]);
    if (tx->publishes)
        tx->publishes_last->next = publish;
    else
        tx->publishes = publish;
    tx->publishes_last = publish;
    tx->n_messages += route->n_queues ? (uint32_t)route->n_queues : 1;
    tx->bytes += message->body_bytes + message_properties(message).size + MESSAGE_OVERHEAD_BYTES;
    return check_limits(channel->connection->broker, tx, err); /* rolled back with the channel */
}

int tx_add_settlement(struct tx *tx, const struct unacked_delivery *delivery, enum settle_how how)
{
    struct tx_settlement *settlement = malloc(sizeof *settlement);

    if (!settlement)
        return -ENOMEM;
    *settlement = (struct tx_settlement){ .delivery = *delivery, .how = how };
    if (tx->settlements)
        tx->settlements_last->next = settlement;
    else
        tx->settlements = settlement;
    tx->settlements_last = settlement;
    tx->n_settlements++;
    return 0;
}

/* --- rolling back --- */

/* Lets go of the first publish; queues that have not got it do not get it. */
static void forget_publish(struct tx *tx)
{
    struct tx_publish *publish = tx->publishes;

    tx->publishes = publish->next;
    message_unref(publish->message);
    for (size_t i = 0; i < publish->n_queues; i++)
        queue_unref(publish->queues[i]);
    free(publish);
}

static struct tx_settlement *take_settlement(struct tx *tx)
{
    struct tx_settlement *settlement = tx->settlements;

    tx->settlements = settlement->next;
    tx->n_settlements--;
    return settlement;
}

bool tx_rollback_some(struct channel *channel, struct tx *tx)
{
    struct broker *broker = channel->connection->broker;

    while (tx->publishes) {
        if (!task_pay(broker, TASK_COST_LOOK + (uint32_t)tx->publishes->n_queues))
            return false;
        forget_publish(tx);
    }
    tx->n_messages = 0;
    tx->bytes = 0;
    while (tx->settlements) {
        struct tx_settlement *settlement;

        if (!task_pay(broker, TASK_COST_SETTLE))
            return false;
        settlement = take_settlement(tx);
        if (unacked_insert(&channel->unacked, &settlement->delivery))
            channel_settle(channel, &settlement->delivery, SETTLE_REQUEUE);
        free(settlement);
    }
    return true;
}

/* --- applying --- */

/* Queues may have gone since the message was routed. */
static bool has_living_queue(const struct tx_publish *publish)
{
    for (size_t i = 0; i < publish->n_queues; i++)
        if (!publish->queues[i]->destination.deleted)
            return true;
    return false;
}

static void begin_publish(struct channel *channel, struct tx_publish *publish)
{
    publish->begun = true;
    if (!direct_reply_try(channel->connection->broker, publish->message) && publish->mandatory &&
        !has_living_queue(publish))
        channel_return(channel, publish->message);
}

/* False: not in this turn. */
static bool apply_publish(struct channel *channel, struct tx *tx)
{
    struct broker *broker = channel->connection->broker;
    struct tx_publish *publish = tx->publishes;

    if (!publish->begun) {
        if (!task_pay(broker, TASK_COST_LOOK))
            return false;
        begin_publish(channel, publish);
    }
    for (; publish->n_done < publish->n_queues; publish->n_done++) {
        struct queue *queue = publish->queues[publish->n_done];

        if (!task_pay(broker, TASK_COST_PUSH))
            return false;
        if (!tx->error && !queue->destination.deleted)
            tx->error = queue_push(queue, publish->message, &tx->outcome);
    }
    forget_publish(tx);
    return true;
}

static void apply_settlement(struct channel *channel, struct tx *tx)
{
    struct tx_settlement *settlement = take_settlement(tx);

    if ((settlement->delivery.entry.flags & ENTRY_STORED) &&
        !settlement->delivery.queue->destination.deleted) /* else the store has forgotten it */
        tx->outcome.stored = true;
    channel_settle(channel, &settlement->delivery, settlement->how);
    free(settlement);
}

static bool run_commit(struct task *task)
{
    struct channel *channel = CONTAINER_OF(task, struct channel, task);
    struct tx *tx = channel->tx;

    if (!tx->applying)
        task->broker->seal_holds++;
    tx->applying = true;
    while (tx->publishes)
        if (!apply_publish(channel, tx))
            return false;
    while (tx->settlements) {
        if (!task_pay(task->broker, TASK_COST_REQUEUE))
            return false;
        apply_settlement(channel, tx);
    }
    tx->applying = false;
    task->broker->seal_holds--;
    return true;
}

static void end_commit(struct channel *channel)
{
    struct tx *tx = channel->tx;
    struct push_outcome outcome = tx->outcome;
    int error = tx->error;

    *tx = (struct tx){ 0 };
    if (!error) {
        channel_hold_back(channel, &outcome);
        channel_room_came(channel);
        channel_run_dead_letters(channel);
        error = channel_end_commit(channel, &outcome);
    }
    if (error)
        connection_fail(channel->connection, error);
}

void tx_commit(struct channel *channel)
{
    (void)channel_begin_task(channel, run_commit, end_commit);
}
