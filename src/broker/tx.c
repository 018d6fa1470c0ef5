/*
 * tx.c - collecting, and applying or giving back
 *
 * Two growing arrays, in order of arrival. A commit that runs out of memory midway has applied a
 * part: its caller closes the connection, and what was applied stays, as RabbitMQ's would.
 */
#include "broker/tx.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/channel_room.h"
#include "broker/connection-internal.h"
#include "broker/dead_letter.h"
#include "broker/direct_reply.h"

struct tx_publish {
    struct message *message;
    struct queue **queues; /* referenced, in this publish's own allocation; NULL for none */
    size_t n_queues;
    bool mandatory;
};

struct tx_settlement {
    struct unacked_delivery delivery;
    enum settle_how how;
};

struct tx {
    struct tx_publish *publishes;
    size_t n_publishes, publish_capacity;
    struct tx_settlement *settlements;
    size_t n_settlements, settlement_capacity;
};

struct tx *tx_new(void)
{
    return calloc(1, sizeof(struct tx));
}

/* Makes room for one more element of @size octets. */
static int grow(void **array, size_t count, size_t *capacity, size_t size)
{
    size_t larger = *capacity ? *capacity * 2 : 16;
    void *grown;

    if (count < *capacity)
        return 0;
    grown = realloc(*array, larger * size);
    if (!grown)
        return -ENOMEM;
    *array = grown;
    *capacity = larger;
    return 0;
}

int tx_add_publish(struct tx *tx, struct message *message, struct queue **queues, size_t n_queues,
                   bool mandatory)
{
    struct tx_publish *publish;
    struct queue **copy = NULL;
    void *array = tx->publishes;

    if (grow(&array, tx->n_publishes, &tx->publish_capacity, sizeof *tx->publishes))
        return -ENOMEM;
    tx->publishes = array;
    if (n_queues) {
        copy = malloc(n_queues * sizeof(struct queue *));
        if (!copy)
            return -ENOMEM;
    }
    for (size_t i = 0; i < n_queues; i++)
        copy[i] = queue_ref(queues[i]);
    publish = &tx->publishes[tx->n_publishes++];
    *publish = (struct tx_publish){ message_ref(message), copy, n_queues, mandatory };
    return 0;
}

int tx_add_settlement(struct tx *tx, const struct unacked_delivery *delivery, enum settle_how how)
{
    void *array = tx->settlements;

    if (grow(&array, tx->n_settlements, &tx->settlement_capacity, sizeof *tx->settlements))
        return -ENOMEM;
    tx->settlements = array;
    tx->settlements[tx->n_settlements++] = (struct tx_settlement){ *delivery, how };
    return 0;
}

uint32_t tx_set_counted(struct tx *tx, bool counted)
{
    for (size_t i = 0; i < tx->n_settlements; i++)
        tx->settlements[i].delivery.counted = counted;
    return counted ? (uint32_t)tx->n_settlements : 0;
}

static void drop_publishes(struct tx *tx)
{
    for (size_t i = 0; i < tx->n_publishes; i++) {
        struct tx_publish *publish = &tx->publishes[i];

        message_unref(publish->message);
        for (size_t q = 0; q < publish->n_queues; q++)
            queue_unref(publish->queues[q]);
        free(publish->queues);
    }
    tx->n_publishes = 0;
}

void tx_rollback(struct channel *channel, struct tx *tx)
{
    drop_publishes(tx);
    for (size_t i = 0; i < tx->n_settlements; i++)
        if (unacked_insert(&channel->unacked, &tx->settlements[i].delivery))
            channel_settle(channel, &tx->settlements[i].delivery, SETTLE_REQUEUE);
    tx->n_settlements = 0;
}

void tx_free(struct channel *channel, struct tx *tx)
{
    if (!tx)
        return;
    tx_rollback(channel, tx);
    free(tx->publishes);
    free(tx->settlements);
    free(tx);
}

/* Queues may have gone since the message was routed. */
static size_t keep_living(struct queue **queues, size_t n_queues)
{
    size_t kept = 0;

    for (size_t i = 0; i < n_queues; i++) {
        struct queue *queue = queues[i];

        queues[i] = queues[kept];
        queues[kept] = queue;
        if (!queue->destination.deleted)
            kept++;
    }
    return kept;
}

int tx_commit(struct channel *channel, struct tx *tx, struct push_outcome *outcome)
{
    int rc = 0;

    for (size_t i = 0; i < tx->n_publishes && !rc; i++) {
        struct tx_publish *publish = &tx->publishes[i];
        size_t living = keep_living(publish->queues, publish->n_queues);

        if (!direct_reply_try(channel->connection->broker, publish->message) && living == 0 &&
            publish->mandatory)
            channel_return(channel, publish->message);
        rc = channel_push(channel, publish->message, publish->queues, living, outcome);
    }
    drop_publishes(tx);
    for (size_t i = 0; i < tx->n_settlements; i++) {
        struct tx_settlement *settlement = &tx->settlements[i];

        if ((settlement->delivery.entry.flags & ENTRY_STORED) &&
            !settlement->delivery.queue->destination.deleted) /* else the store has forgotten it already */
            outcome->stored = true;
        channel_settle(channel, &settlement->delivery, settlement->how);
    }
    tx->n_settlements = 0;
    channel_room_came(channel);
    channel_run_dead_letters(channel);
    return rc;
}
