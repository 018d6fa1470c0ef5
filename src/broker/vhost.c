/*
 * vhost.c - vhosts, the exchanges that each has from the start, and finding things by name
 */
#include "broker/hash.h"

#include "broker/vhost.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/broker.h"
#include "broker/exchange_types.h"
#include "broker/policy.h"
#include "broker/queue.h"

/* One that is asked for by name is most often there, and bindings are looked for by few. */
enum { QUEUES_PER_BUCKET = 2, BINDINGS_PER_BUCKET = 2 };

/* amqp-0-9-1.md 9.1; the default exchange, "", is made apart. */
static const struct {
    const char *name;
    const struct exchange_type *type;
    bool internal;
} predeclared[] = {
    { "amq.direct", &exchange_direct, false },
    { "amq.fanout", &exchange_fanout, false },
    { "amq.topic", &exchange_topic, false },
    { "amq.headers", &exchange_headers, false },
    { "amq.match", &exchange_headers, false },
    { "amq.rabbitmq.trace", &exchange_topic, true },
};

static int predeclare(struct vhost *vhost)
{
    struct exchange_properties properties = { .name = AMQP_STR(""), .durable = true };
    int rc = exchange_new(vhost, &properties, &vhost->default_exchange);

    for (size_t i = 0; i < N_ELEMENTS(predeclared) && !rc; i++) {
        struct exchange *exchange;

        properties.name = amqp_str_from(predeclared[i].name);
        properties.type = predeclared[i].type;
        properties.internal = predeclared[i].internal;
        rc = exchange_new(vhost, &properties, &exchange);
    }
    return rc;
}

int vhost_new(struct broker *broker, struct amqp_str name, struct vhost **ret_vhost)
{
    struct vhost *vhost = calloc(1, sizeof *vhost);
    int rc;

    if (!vhost)
        return -ENOMEM;
    vhost->broker = broker;
    vhost->max_connections = vhost->max_queues = -1;
    vhost->queues.fill = QUEUES_PER_BUCKET;
    vhost->bindings.fill = BINDINGS_PER_BUCKET;
    vhost->name = calloc(1, name.size + 1);
    if (!vhost->name) {
        free(vhost);
        return -ENOMEM;
    }
    if (name.size)
        memcpy(vhost->name, name.data, name.size);
    vhost->name_str = (struct amqp_str){ vhost->name, name.size };
    HASH_ADD_KEYPTR(by_name, broker->vhosts, vhost->name, name.size, vhost);
    if (!vhost->by_name.tbl) {
        free(vhost->name);
        free(vhost);
        return -ENOMEM;
    }
    rc = predeclare(vhost);
    if (rc) {
        vhost_free(vhost);
        return rc;
    }
    *ret_vhost = vhost;
    return 0;
}

void vhost_free(struct vhost *vhost)
{
    struct exchange *exchange, *next_exchange;
    struct queue *queue, *next_queue;

    HASH_ITER(by_name, vhost->exchanges, exchange, next_exchange)
        exchange_destroy(exchange);
    assert(vhost->bindings.count == 0);
    VHOST_EACH_QUEUE(vhost, queue, next_queue)
        queue_destroy(queue);
    policy_release_all(vhost);
    HASH_DELETE(by_name, vhost->broker->vhosts, vhost);
    free((uint8_t *)(uintptr_t)vhost->metadata.data);
    free(vhost->name);
    free(vhost);
}

static struct exchange *find_exchange(const struct vhost *vhost, struct amqp_str name)
{
    struct exchange *exchange;

    HASH_FIND(by_name, vhost->exchanges, name.data, name.size, exchange);
    return exchange;
}

struct exchange *vhost_get_exchange(const struct vhost *vhost, struct amqp_str name)
{
    struct exchange *exchange = find_exchange(vhost, name);

    return exchange && !exchange->destination.deleted ? exchange : NULL;
}

bool vhost_is_deleting_exchange(const struct vhost *vhost, struct amqp_str name)
{
    return deletion_pending(vhost->broker) && find_exchange(vhost, name) &&
           !vhost_get_exchange(vhost, name);
}

/* There may be another one of its name, which was declared after this one was hidden. */
static bool is_hidden(const struct queue *queue)
{
    return queue->destination.deleted || (queue->exclusive && queue_is_orphan(queue));
}

struct queue *vhost_get_queue(const struct vhost *vhost, struct amqp_str name)
{
    uint64_t hash = hash_str(0, name);
    struct hash_link *link = hash_table_first(&vhost->queues, hash);

    for (; link; link = hash_table_next(link)) {
        struct queue *queue = CONTAINER_OF(link, struct queue, by_name);

        if (amqp_str_equal(queue->destination.name, name) && LIKELY(!is_hidden(queue)))
            return queue;
    }
    return NULL;
}

bool vhost_is_deleting_queue(const struct vhost *vhost, struct amqp_str name)
{
    struct hash_link *link;

    if (!deletion_pending(vhost->broker))
        return false;
    link = hash_table_first(&vhost->queues, hash_str(0, name));
    for (; link; link = hash_table_next(link)) {
        const struct queue *queue = CONTAINER_OF(link, struct queue, by_name);

        if (amqp_str_equal(queue->destination.name, name) && queue->destination.deleted)
            return true;
    }
    return false;
}

int vhost_add_queue(struct vhost *vhost, struct queue *queue)
{
    return hash_table_add(&vhost->queues, &queue->by_name, hash_str(0, queue->destination.name));
}

struct queue *vhost_next_queue(const struct vhost *vhost, const struct queue *queue)
{
    struct hash_link *link = hash_table_walk(&vhost->queues, queue ? &queue->by_name : NULL);

    return link ? CONTAINER_OF(link, struct queue, by_name) : NULL;
}

int vhost_find_exchange(const struct vhost *vhost, struct amqp_str name, struct amqp_error *err,
                        struct exchange **ret_exchange)
{
    struct exchange *exchange = vhost_get_exchange(vhost, name);

    if (!exchange)
        return amqp_raise(err, AMQP_NOT_FOUND, "no exchange '%.*s' in vhost '%s'",
                          AMQP_STR_ARG(name), vhost->name);
    *ret_exchange = exchange;
    return 0;
}

int vhost_find_queue(const struct vhost *vhost, struct amqp_str name, struct amqp_error *err,
                     struct queue **ret_queue)
{
    struct queue *queue = vhost_get_queue(vhost, name);

    if (!queue)
        return amqp_raise(err, AMQP_NOT_FOUND, "no queue '%.*s' in vhost '%s'",
                          AMQP_STR_ARG(name), vhost->name);
    *ret_queue = queue;
    return 0;
}
