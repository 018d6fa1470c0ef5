/*
 * queue_arguments.h - the x-arguments of queue.declare: which there are, what they may hold
 *
 * Spec: extensions.md 1.1, 1.2, 1.4.
 */
#ifndef BROKER_QUEUE_ARGUMENTS_H
#define BROKER_QUEUE_ARGUMENTS_H

#include "amqp/reply.h"
#include "amqp/table.h"
#include "broker/queue.h"

/**
 * queue_arguments_add_default_type() - what is declared when the client names no queue type
 * @properties:    as declared
 * @writer:        starts as all zero, holds the table where it is a new one; the caller releases it
 * @ret_arguments: those of @properties, perhaps with the vhost's or the broker's default queue type
 *
 * To be asked before anything else looks at the arguments, also those of a redeclaration.
 * Return: 0 or -ENOMEM. Spec: 1.9.
 */
int queue_arguments_add_default_type(const struct vhost *vhost,
                                     const struct queue_properties *properties,
                                     struct amqp_table_writer *writer,
                                     struct amqp_table *ret_arguments);

/** queue_arguments_check_server_named() - 406 for a type whose queues must have names (step 2) */
int queue_arguments_check_server_named(struct amqp_table arguments, struct amqp_error *err);

/**
 * queue_arguments_check() - of a queue that is to be made: steps 6, 8 to 11, 13 and 14 of 1.1
 *
 * 406 names argument and value; also when the vhost may have no more queues.
 */
int queue_arguments_check(const struct vhost *vhost, const struct queue_properties *properties,
                          struct amqp_error *err);

/**
 * queue_arguments_check_values() - the part of queue_arguments_check() that needs no vhost but its
 *                                  name: for queues of definition files
 */
int queue_arguments_check_values(const char *vhost_name,
                                 const struct queue_properties *properties,
                                 struct amqp_error *err);

/** queue_argument_is_known() - of any queue type */
bool queue_argument_is_known(struct amqp_str name);

/** queue_argument_name() - all known ones in turn; NULL behind the last */
const char *queue_argument_name(size_t i);

/** queue_arguments_are_quorum() - x-queue-type is quorum */
bool queue_arguments_are_quorum(struct amqp_table arguments);

/**
 * queue_arguments_compare() - 406 unless a redeclaration's arguments equal the queue's
 *
 * Those that RabbitMQ does not compare may differ; the log tells of it once a queue.
 */
int queue_arguments_compare(struct queue *queue, struct amqp_table arguments,
                            struct amqp_error *err);

#endif
