/*
 * vhost.h - a name space of exchanges and queues
 */
#ifndef BROKER_VHOST_H
#define BROKER_VHOST_H

#include <uthash.h>

#include "amqp/base.h"
#include "amqp/reply.h"
#include "broker/exchange.h"

struct broker;
struct policy;
struct queue;

/** struct policy_sweep - how far a change of policies has been applied: see policy.c */
struct policy_sweep {
    bool running;
    bool again; /* there was another change meanwhile */
    struct exchange *next_exchange;
    struct queue *next_queue;
    size_t queues_mask; /* of vhost->queues, whose order depends on it */
};

struct vhost {
    struct broker *broker;
    char *name;                       /* NUL after it */
    struct amqp_str name_str;
    struct amqp_table metadata;       /* description, tags, default_queue_type as imported; owned */
    struct exchange *exchanges;       /* uthash by_name */
    struct hash_table queues;         /* by_name; see vhost_next_queue() */
    struct exchange *default_exchange;
    struct hash_table bindings;       /* all of them by source, destination, key and arguments */
    struct policy *policies, *operator_policies; /* lists, highest priority first (policy.h) */
    struct policy_sweep policy_sweep;
    int64_t max_connections, max_queues; /* negative: no limit (vhost_limits.h) */
    uint32_t connection_count;
    UT_hash_handle by_name;           /* of broker->vhosts */
};

/**
 * vhost_new() - make a vhost with its predeclared exchanges and add it to the broker
 *
 * Nothing is stored; see broker_put_vhost().
 */
int vhost_new(struct broker *broker, struct amqp_str name, struct vhost **ret_vhost);
/** vhost_free() - drop everything in it from memory; the store is not touched */
void vhost_free(struct vhost *vhost);

/** vhost_get_exchange(), vhost_get_queue() - by name; NULL also while it is being deleted */
struct exchange *vhost_get_exchange(const struct vhost *vhost, struct amqp_str name);
struct queue *vhost_get_queue(const struct vhost *vhost, struct amqp_str name);

/**
 * vhost_is_deleting_exchange(), vhost_is_deleting_queue() - the name is not free yet
 *
 * A durable queue or an exchange keeps its name until its records are deleted (deletion.h).
 */
bool vhost_is_deleting_exchange(const struct vhost *vhost, struct amqp_str name);
bool vhost_is_deleting_queue(const struct vhost *vhost, struct amqp_str name);

/** vhost_add_queue() - by its name, of which there is none yet; 0 or -ENOMEM */
int vhost_add_queue(struct vhost *vhost, struct queue *queue);

/**
 * vhost_next_queue() - visit all queues, in no order: @queue is the one before; NULL: begin
 *
 * Return: NULL when that was the last one. See hash_table_walk() for what happens meanwhile.
 */
struct queue *vhost_next_queue(const struct vhost *vhost, const struct queue *queue);

/** VHOST_EACH_QUEUE() - a loop over all of them, in which @queue may be removed */
#define VHOST_EACH_QUEUE(vhost, queue, next)                                                       \
    for ((queue) = vhost_next_queue(vhost, NULL);                                                  \
         (queue) && ((next) = vhost_next_queue(vhost, queue), true); (queue) = (next))

/** vhost_find_exchange(), vhost_find_queue() - as above, or 404 with RabbitMQ's text */
int vhost_find_exchange(const struct vhost *vhost, struct amqp_str name, struct amqp_error *err,
                        struct exchange **ret_exchange);
int vhost_find_queue(const struct vhost *vhost, struct amqp_str name, struct amqp_error *err,
                     struct queue **ret_queue);

#endif
