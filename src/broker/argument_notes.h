/*
 * argument_notes.h - what the log is told of arguments that nobody here knows
 *
 * RabbitMQ takes arguments that it does not know and does not compare them when a queue or an
 * exchange is declared again. So do we, but not in silence: each name is listed once, and each
 * queue and exchange tells once of a declaration whose arguments are not its own.
 */
#ifndef BROKER_ARGUMENT_NOTES_H
#define BROKER_ARGUMENT_NOTES_H

#include "broker/exchange.h"

/** argument_filter - whether a name is one of those that need no note */
typedef bool argument_filter(const void *context, struct amqp_str name);

/**
 * argument_notes_list() - a new queue or exchange: log each name that nobody knows, once a broker
 * @kind:  "queue" or "exchange"
 *
 * After BOUND_UNKNOWN_ARGUMENTS names a last line says that no more are listed.
 */
void argument_notes_list(const struct vhost *vhost, const char *kind, struct amqp_str name,
                         struct amqp_table arguments, argument_filter *is_known);

/**
 * argument_notes_compare() - declared again: log the first argument that differs
 * @is_compared:  those are left out, they are the business of equivalence.h; gets @context
 *
 * Once for each destination.
 */
void argument_notes_compare(struct destination *destination, struct amqp_table received,
                            struct amqp_table current, argument_filter *is_compared,
                            const void *context);

#endif
