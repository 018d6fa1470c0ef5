/*
 * tx.h - what a transaction has collected
 *
 * Publishes (routed when they came) and settlements wait here for tx.commit, which applies them, a
 * slice a turn (task.h). The store's open commit is not sealed meanwhile, so all of it falls into
 * one, and a crash keeps all of it or nothing. As others wait for that commit too, a transaction
 * has a limit. Rollback drops the publishes and gives the settlements back to the channel's
 * unacknowledged deliveries.
 * Spec: amqp-0-9-1.md 7.4.
 */
#ifndef BROKER_TX_H
#define BROKER_TX_H

#include "broker/channel.h"

struct tx;

/** tx_new() - NULL without memory */
struct tx *tx_new(void);

/** tx_free() - it must be empty (tx_rollback_some()); NULL is fine */
void tx_free(struct tx *tx);

/**
 * tx_add_publish() - @message and @queues are referenced
 *
 * Return: 0; 406 past what a transaction may hold (tx_message_limit, tx_bytes_limit); -ENOMEM.
 */
int tx_add_publish(struct channel *channel, struct message *message, const struct route *route,
                   struct amqp_error *err);

/** tx_add_settlement() - @delivery has been taken out of channel->unacked. 0 or -ENOMEM */
int tx_add_settlement(struct tx *tx, const struct unacked_delivery *delivery,
                      enum settle_how how);

/** tx_settlement_count() - deliveries whose settlement is noted: they are still out */
uint32_t tx_settlement_count(const struct tx *tx);

/**
 * tx_commit() - apply everything, as a task of the channel
 *
 * tx.commit-ok comes when it is applied and durable; 406 when a queue has refused a publish. A
 * channel that leaves meanwhile applies the rest all the same.
 */
void tx_commit(struct channel *channel);

/**
 * tx_rollback_some() - forget publishes, put settlements back; pays for it (task.h)
 *
 * Return: true when nothing is left.
 */
bool tx_rollback_some(struct channel *channel, struct tx *tx);

#endif
