/*
 * route.h - from one publish to the queues that get it
 *
 * Breadth first over exchange bindings and alternate exchanges; each exchange is visited once and
 * each queue is taken once, marked by the generation number of the publish, so that cycles and
 * overlapping bindings cost nothing.
 *
 * An exchange whose type looks at the key alone, and not quickly, remembers the destinations of
 * recent keys (route_cache) until one of its bindings changes. What is remembered is one step, not
 * the way to the end: so a change concerns the exchange whose binding it is and no other, and
 * alternate exchanges, which are found by name, need no rule of their own.
 */
#ifndef BROKER_ROUTE_H
#define BROKER_ROUTE_H

#include "broker/exchange.h"

struct queue;

struct route {
    struct queue **queues; /* the result; owned by the route, reused */
    size_t n_queues;
    size_t capacity;
    uint64_t generation;
    /* of the message being routed, borrowed: */
    struct amqp_table headers; /* empty without a headers property */
    bool has_headers;
    /** steps that matching took beyond one look-up: added up by exchange types over a turn */
    size_t work;
    /* everything below belongs to route.c */
    struct exchange *pending_first, *pending_last; /* still to visit, by pending_next */
    bool matched;    /* the exchange being asked has produced a destination */
    bool collecting; /* route_add() notes in `found` what is to be remembered */
    struct destination **found;
    size_t n_found, found_capacity;
};

void route_init(struct route *route);
void route_release(struct route *route);

/**
 * route_message() - fill route->queues
 * @exchange:   where it was published
 * @keys:       the routing key, then CC and BCC keys
 *
 * Return: 0 or -ENOMEM.
 * Spec: amqp-0-9-1.md 9.
 */
int route_message(struct route *route, struct exchange *exchange, const struct amqp_str *keys,
                  size_t n_keys);

/** route_add() - called by exchange types for each matching destination; 0 or -ENOMEM */
int route_add(struct route *route, struct destination *destination);

/**
 * route_fetch() - messages with these keys are about to come: tell the exchange's type of those
 * whose destinations are not remembered
 * @exchange:  its type has set fetch_ahead
 * @keys:      at most FETCH_KEYS_MAX; those that are to be fetched are moved to the front
 */
void route_fetch(struct exchange *exchange, struct amqp_str *keys, size_t n_keys);

/** route_forget() - a binding from @exchange changed, or it goes away: free what it remembers */
void route_forget(struct exchange *exchange);

/** topic_match() - whether a topic binding key matches a routing key (for tests and policies) */
bool topic_match(struct amqp_str binding_key, struct amqp_str routing_key);

#endif
