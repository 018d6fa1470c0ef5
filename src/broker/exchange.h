/*
 * exchange.h - exchanges, their types, and the bindings between them and queues
 *
 * A binding joins a source exchange with a *destination*, the part that queues and exchanges have
 * in common. The exchange type indexes the bindings of an exchange as suits its matching and is
 * asked, for one message, to add every matching destination to a route (route.h). Types are
 * vtables; the four built-in ones use no other door.
 */
#ifndef BROKER_EXCHANGE_H
#define BROKER_EXCHANGE_H

#include <uthash.h>

#include "amqp/base.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "broker/deletion.h"
#include "broker/hash_table.h"

struct vhost;
struct exchange;
struct binding;
struct policy;
struct route;
struct route_cache;

/** struct destination - what a binding points to; first member of struct queue, struct exchange */
struct destination {
    struct vhost *vhost;
    struct amqp_str name;      /* owned by the queue or exchange, NUL after it */
    struct binding *bindings;  /* bindings *to* it: list by next_to */
    uint64_t visited;          /* route generation that has seen it: once a publish */
    uint32_t binding_count;
    bool is_exchange;
    bool deleted;              /* hidden: not found by name, and nothing is routed to it */
    bool told_of_arguments;    /* by argument_notes.c, to the log */
};

/** struct binding - what matching reads is together, with the key's octets behind it */
struct binding {
    struct exchange *source;
    struct binding *next_from, *prev_from; /* of source->bindings */
    struct binding *next_to, *prev_to;     /* of destination->bindings */
    struct hash_link by_identity;          /* of vhost->bindings */
    struct binding *prev_same, *next_same; /* for the type's index: bindings under the same key */
    uint32_t arguments_bytes;              /* see binding_arguments() */
    bool durable;                /* source and destination are durable: it is in the store */
    struct destination *destination;
    union {
        void *index;             /* the type's */
        struct hash_link by_key; /* of a key_index, for the first binding under its key */
    };
    struct amqp_str key;         /* binding key, in this allocation */
};

/** binding_arguments() - as it was made with, checked; they lie behind the key */
static inline struct amqp_table binding_arguments(const struct binding *binding)
{
    const char *at = binding->key.data + binding->key.size + 1;

    return (struct amqp_table){ (const uint8_t *)at, binding->arguments_bytes };
}

/* Fewer and memory waits for the processor; more and what came first is gone from the cache. */
enum { FETCH_KEYS_MAX = 16 };

struct exchange_type {
    const char *name;
    /** the route depends on the routing key alone, so it may be remembered by key */
    bool by_key;
    /** as quick as looking up a remembered route: not worth remembering */
    bool quick;
    /** the routing key plays no part: asked once, however many keys a message has */
    bool ignores_key;
    /** check a binding's arguments before it is made; NULL: anything goes */
    int (*check)(struct exchange *exchange, struct amqp_table arguments, struct amqp_error *err);
    int (*bind)(struct exchange *exchange, struct binding *binding); /* 0 or -ENOMEM */
    void (*unbind)(struct exchange *exchange, struct binding *binding);
    /** add matching destinations with route_add(); 0 or -ENOMEM */
    int (*match)(struct exchange *exchange, struct amqp_str routing_key, struct route *route);
    /**
     * begin to bring into the processor's cache what match() will read for each of up to
     * FETCH_KEYS_MAX keys; called while exchange->fetch_ahead
     */
    void (*fetch)(struct exchange *exchange, const struct amqp_str *keys, size_t n_keys);
    void (*release)(struct exchange *exchange); /* free exchange->index */
};

struct exchange {
    struct destination destination;
    const struct exchange_type *type; /* NULL only for the default exchange, which route.c knows */
    void *index;                      /* the type's */
    bool fetch_ahead;                 /* set by the type: the index is larger than the caches */
    bool durable;
    bool auto_delete;
    bool internal;
    bool had_binding;                 /* auto-delete waits for a first one */
    struct amqp_table arguments;      /* owned */
    bool has_alternate;
    struct amqp_str alternate;        /* exchange; borrowed from arguments or policy */
    const struct policy *policy;      /* referenced; NULL: none */
    struct binding *bindings;         /* bindings *from* it: list by next_from */
    uint32_t binding_count;
    struct route_cache *cache;
    uint64_t published_in;            /* messages that came to it from publishers */
    struct exchange *pending_next;    /* of route->pending: still to be visited by this publish */
    struct deletion deletion;
    UT_hash_handle by_name;           /* of vhost->exchanges */
};

/** exchange_type_find() - direct, fanout, topic, headers; NULL for others */
const struct exchange_type *exchange_type_find(struct amqp_str name);
/** exchange_type_name_at() - the names of all types in turn; NULL behind the last */
const char *exchange_type_name_at(size_t i);

/** exchange_type_name() - "direct" for the default exchange */
const char *exchange_type_name(const struct exchange *exchange);

struct exchange_properties {
    struct amqp_str name;
    const struct exchange_type *type;
    bool durable, auto_delete, internal;
    struct amqp_table arguments; /* copied */
};

/** exchange_new() - make it and add it to its vhost, no checks, nothing stored; 0 or -ENOMEM */
int exchange_new(struct vhost *vhost, const struct exchange_properties *properties,
                 struct exchange **ret_exchange);

/** exchange_destroy() - at shutdown: free it and the bindings from and to it, nothing else */
void exchange_destroy(struct exchange *exchange);

/**
 * exchange_delete() - remove it from its vhost together with the bindings from and to it
 *
 * Sources that were auto-delete and lost their last binding with it are removed as well, and the
 * metadata of everything durable that went is deleted in the store's open commit. It is hidden at
 * once; where that is much work, the rest follows in later turns (deletion.h), and its name is free
 * when it has ended.
 */
void exchange_delete(struct exchange *exchange);

/**
 * exchange_declare() - exchange.declare after permissions: equivalence or creation
 * @type_name: looked up here; unknown: 406 "unknown exchange type 'T'" (amqp-0-9-1.md 6.3, 12)
 *
 * Checks in RabbitMQ's order (6.3), except permissions, which the channel has checked.
 * A durable exchange is put into the open commit.
 */
int exchange_declare(struct vhost *vhost, const struct exchange_properties *properties,
                     struct amqp_str type_name, struct amqp_error *err,
                     struct exchange **ret_exchange);

/** struct binding_request - names of queue.bind, exchange.bind and their opposites */
struct binding_request {
    struct exchange *source;
    struct destination *destination;
    struct amqp_str key;
    struct amqp_table arguments; /* checked */
    bool destination_durable;    /* and not exclusive */
};

/** binding_find() - the binding with the same source, destination, key and arguments, or NULL */
struct binding *binding_find(const struct binding_request *request);
/** binding_add() - make it unless it exists; a durable one is put into the open commit */
int binding_add(const struct binding_request *request, struct amqp_error *err);
/** binding_restore() - the same on recovery: the store has it already */
int binding_restore(const struct binding_request *request, struct amqp_error *err);
/**
 * binding_remove() - free it, drop it from the store; an auto-delete source without bindings left
 * is deleted too (so @binding->source may be gone)
 */
void binding_remove(struct binding *binding);
/** destination_unbind_all() - remove every binding to a queue; as below */
void destination_unbind_all(struct destination *destination);
/**
 * destination_unbind() - remove bindings to a queue or exchange that goes away
 *
 * Auto-delete sources that lose their last one begin to be deleted; the caller runs that.
 *
 * Return: true when none is left; false when the turn has no work left for more (task.h).
 */
bool destination_unbind(struct destination *destination);

#endif
