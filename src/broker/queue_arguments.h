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

/** queue_arguments_check() - of a queue that is to be made; 406 names argument and value */
int queue_arguments_check(const struct vhost *vhost, const struct queue_properties *properties,
                          struct amqp_error *err);

/** queue_arguments_are_quorum() - x-queue-type is quorum */
bool queue_arguments_are_quorum(struct amqp_table arguments);

/** queue_arguments_compare() - 406 unless a redeclaration's arguments equal the queue's */
int queue_arguments_compare(const struct queue *queue, struct amqp_table arguments,
                            struct amqp_error *err);

/**
 * queue_arguments_unsupported() - the name of the next argument without effect in this version
 * @iter:  from amqp_table_begin()
 *
 * For reports of imported definitions, which keep such arguments. Return: false at the end.
 */
bool queue_arguments_unsupported(struct amqp_table_iter *iter, struct amqp_str *ret_name);

#endif
