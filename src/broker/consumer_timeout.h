/*
 * consumer_timeout.h - deliveries that are not acknowledged in time
 *
 * A consumer's own x-consumer-timeout, else its queue's, else the broker's consumer_timeout. The
 * client that understands basic.cancel loses the consumer, whose messages go back to their queue;
 * for any other the channel is closed, as RabbitMQ does.
 *
 * One timer for the broker: a look at the oldest deliveries of every channel, a few times within
 * the smallest timeout that is in force, at most once a minute apart.
 * Spec: extensions.md 1.12, amqp-0-9-1.md 6.11.
 */
#ifndef BROKER_CONSUMER_TIMEOUT_H
#define BROKER_CONSUMER_TIMEOUT_H

#include "broker/broker.h"
#include "broker/queue.h"

/** consumer_timeout_init() - with the broker's own timeout (settings.consumer_timeout_ms) */
void consumer_timeout_init(struct broker *broker);

/** consumer_timeout_note() - a timeout of @timeout_ms (-1, 0: none) is in force from now on */
void consumer_timeout_note(struct broker *broker, int64_t timeout_ms);

/**
 * consumer_timeout_argument() - x-consumer-timeout of basic.consume
 *
 * Return: 0, *ret_timeout_ms only set when the argument is there; 406.
 */
int consumer_timeout_argument(const struct queue *queue, struct amqp_table arguments,
                              struct amqp_error *err, int64_t *ret_timeout_ms);

#endif
