/*
 * tx.h - what a transaction has collected
 *
 * Publishes (routed when they came) and settlements wait here for tx.commit, which applies them in
 * one go: everything falls into the store's open commit of that turn, so a crash keeps all of it
 * or nothing. Rollback drops the publishes and gives the settlements back to the channel's
 * unacknowledged deliveries.
 * Spec: amqp-0-9-1.md 7.4.
 */
#ifndef BROKER_TX_H
#define BROKER_TX_H

#include "broker/channel.h"

struct tx;

/** tx_new() - NULL without memory */
struct tx *tx_new(void);

/** tx_free() - as a rollback, then free; NULL is fine */
void tx_free(struct channel *channel, struct tx *tx);

/** tx_add_publish() - @message and @queues are referenced. 0 or -ENOMEM */
int tx_add_publish(struct tx *tx, struct message *message, struct queue **queues, size_t n_queues,
                   bool mandatory);

/** tx_add_settlement() - @delivery has been taken out of channel->unacked. 0 or -ENOMEM */
int tx_add_settlement(struct tx *tx, const struct unacked_delivery *delivery,
                      enum settle_how how);

/**
 * tx_commit() - apply everything; @outcome says whether the open commit holds part of it, and whether
 * a queue has refused a publish. 0 or -ENOMEM
 */
int tx_commit(struct channel *channel, struct tx *tx, struct push_outcome *outcome);

/**
 * tx_set_counted() - a new shared limit: deliveries whose settlement is only noted are still out
 *
 * Return: how many count against it now; all of them or none.
 */
uint32_t tx_set_counted(struct tx *tx, bool counted);

/** tx_rollback() - forget publishes, put settlements back */
void tx_rollback(struct channel *channel, struct tx *tx);

#endif
