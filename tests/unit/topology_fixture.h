/*
 * topology_fixture.h - a broker with one vhost, and short words to build and ask its topology
 */
#ifndef TESTS_UNIT_TOPOLOGY_FIXTURE_H
#define TESTS_UNIT_TOPOLOGY_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/broker.h"
#include "broker/queue.h"

static struct broker *broker;
static struct vhost *vhost;
static struct amqp_error err;

static inline void topology_setup(void)
{
    struct broker_settings settings = { .product = "test" };

    ck_assert_int_eq(broker_new(&settings, &broker), 0);
    ck_assert_int_eq(vhost_new(broker, AMQP_STR("v"), &vhost), 0);
}

static inline void topology_teardown(void)
{
    broker_free(broker);
}

static inline struct exchange *exchange_with(const char *name, const char *type,
                                             struct exchange_properties properties)
{
    struct exchange *exchange = NULL;

    properties.name = amqp_str_from(name);
    ck_assert_msg(exchange_declare(vhost, &properties, amqp_str_from(type), &err, &exchange) == 0,
                  "%s: %s", name, err.text);
    return exchange;
}

static inline struct exchange *exchange(const char *name, const char *type)
{
    return exchange_with(name, type, (struct exchange_properties){ 0 });
}

static inline struct exchange *get_exchange(const char *name)
{
    return vhost_get_exchange(vhost, amqp_str_from(name));
}

/* Made when it is not there yet. */
static inline struct queue *queue(const char *name)
{
    struct queue_properties properties = { .name = amqp_str_from(name) };
    struct queue *queue = vhost_get_queue(vhost, properties.name);

    if (!queue)
        ck_assert_int_eq(queue_new(vhost, &properties, &queue), 0);
    return queue;
}

static inline struct binding_request to_queue(const char *source, const char *name,
                                              const char *key)
{
    struct queue *destination = queue(name);

    return (struct binding_request){ .source = get_exchange(source),
                                     .destination = &destination->destination,
                                     .destination_durable = destination->durable,
                                     .key = amqp_str_from(key) };
}

static inline struct binding_request to_exchange(const char *source, const char *name,
                                                 const char *key)
{
    struct exchange *destination = get_exchange(name);

    return (struct binding_request){ .source = get_exchange(source),
                                     .destination = &destination->destination,
                                     .destination_durable = destination->durable,
                                     .key = amqp_str_from(key) };
}

static inline void add(struct binding_request request)
{
    ck_assert_msg(binding_add(&request, &err) == 0, "%s", err.text);
}

static inline void take_away(struct binding_request request)
{
    struct binding *binding = binding_find(&request);

    ck_assert_ptr_nonnull(binding);
    binding_remove(binding);
}

/* Turns, until what is being deleted is gone. */
static inline void end_deletions(void)
{
    do {
        (void)broker_end(broker);
        broker_begin(broker, broker->now_ms, broker->wall_ms);
    } while (deletion_pending(broker));
}

static inline int compare_names(const void *a, const void *b)
{
    struct queue *const *left = a, *const *right = b;

    return strcmp((*left)->destination.name.data, (*right)->destination.name.data);
}

/* The queues of the last route, by name, separated by blanks; borrowed until the next call. */
static inline const char *routed(void)
{
    static char text[4096];
    size_t at = 0;

    if (broker->route.n_queues)
        qsort(broker->route.queues, broker->route.n_queues, sizeof broker->route.queues[0],
              compare_names);
    text[0] = '\0';
    for (size_t i = 0; i < broker->route.n_queues; i++) {
        struct amqp_str name = broker->route.queues[i]->destination.name;

        ck_assert_uint_lt(at + name.size + 2, sizeof text);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", i ? " " : "",
                               AMQP_STR_ARG(name));
    }
    return text;
}

static inline const char *route(const char *source, const char *routing_key)
{
    struct amqp_str key = amqp_str_from(routing_key);

    ck_assert_int_eq(route_message(&broker->route, get_exchange(source), &key, 1), 0);
    return routed();
}

#endif
