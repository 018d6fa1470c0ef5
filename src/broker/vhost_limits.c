/*
 * vhost_limits.c - see vhost_limits.h
 */
#include "broker/hash.h"

#include "broker/vhost_limits.h"

#include <errno.h>
#include <inttypes.h>
#include <utlist.h>

#include "broker/broker.h"
#include "broker/connection-internal.h"
#include "broker/erlang_term.h"
#include "broker/queue.h"

static void add_line(struct amqp_text *problems)
{
    if (problems->length)
        amqp_text_put(problems, '\n');
}

static const char *const limits_known[] = { "max-connections", "max-queues", NULL };

static int take(const json_t *limits, const char *key, struct amqp_text *problems, int64_t *ret)
{
    const json_t *value = json_object_get(limits, key);

    if (!value)
        return 0;
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
        return 0;
    }
    add_line(problems);
    amqp_text_printf(problems, "%s should be a number, actually was ", key);
    erlang_term_print(problems, value);
    return -EINVAL;
}

int vhost_limits_parse(const char *name, const json_t *value, struct amqp_text *problems,
                       struct vhost_limits *ret_limits)
{
    struct vhost_limits limits = { -1, -1 };
    int rc, rc_queues, rc_connections;

    if (!json_is_object(value)) {
        amqp_text_printf(problems, "%s not a list ", name);
        erlang_term_print(problems, value);
        return -EINVAL;
    }
    rc = erlang_term_check_keys(name, value, limits_known, problems);
    rc_connections = take(value, "max-connections", problems, &limits.max_connections);
    rc_queues = take(value, "max-queues", problems, &limits.max_queues);
    if (rc || rc_connections || rc_queues)
        return -EINVAL;
    *ret_limits = limits;
    return 0;
}

/* --- how many there are: counted only where there is a limit --- */

static uint64_t count_queues(const struct broker *broker)
{
    struct vhost *vhost, *next;
    uint64_t count = 0;

    HASH_ITER(by_name, broker->vhosts, vhost, next)
        count += vhost->queues.count;
    return count;
}

static uint64_t count_exchanges(const struct broker *broker)
{
    struct vhost *vhost, *next;
    uint64_t count = 0;

    HASH_ITER(by_name, broker->vhosts, vhost, next)
        count += HASH_CNT(by_name, vhost->exchanges);
    return count;
}

static uint64_t count_bindings(const struct broker *broker)
{
    struct vhost *vhost, *next;
    uint64_t count = 0;

    HASH_ITER(by_name, broker->vhosts, vhost, next)
        count += vhost->bindings.count;
    return count;
}

static uint64_t count_channels(const struct broker *broker)
{
    const struct connection *connection;
    uint64_t count = 0;

    DL_FOREACH(broker->connections, connection)
        count += connection->channel_count;
    return count;
}

/* --- may there be one more? --- */

static bool is_reached(int64_t limit, uint64_t count)
{
    return limit >= 0 && count >= (uint64_t)limit;
}

int vhost_check_queue_limit(const struct vhost *vhost, struct amqp_str queue_name,
                            struct amqp_error *err)
{
    const struct broker *broker = vhost->broker;
    uint64_t most = broker->settings.queues_max;

    if (is_reached(vhost->max_queues, vhost->queues.count))
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "cannot declare queue '%.*s': queue limit in vhost '%s' (%" PRId64
                          ") is reached",
                          AMQP_STR_ARG(queue_name), vhost->name, vhost->max_queues);
    if (most && count_queues(broker) >= most)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "cannot declare queue '%.*s': queue limit in cluster (%" PRIu64
                          ") is reached",
                          AMQP_STR_ARG(queue_name), most);
    return 0;
}

int vhost_check_exchange_limit(const struct vhost *vhost, struct amqp_str exchange_name,
                               struct amqp_error *err)
{
    uint64_t most = vhost->broker->settings.exchanges_max;

    if (most && count_exchanges(vhost->broker) >= most)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "cannot declare exchange '%.*s': exchange limit of %" PRIu64
                          " is reached",
                          AMQP_STR_ARG(exchange_name), most);
    return 0;
}

int broker_check_binding_limit(const struct broker *broker, const struct binding_request *request,
                               struct amqp_error *err)
{
    uint64_t most = broker->settings.bindings_max;

    if (most && count_bindings(broker) >= most)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "cannot bind %s '%.*s': binding limit of %" PRIu64 " is reached",
                          request->destination->is_exchange ? "exchange" : "queue",
                          AMQP_STR_ARG(request->destination->name), most);
    return 0;
}

int vhost_check_connection_limit(const struct vhost *vhost, const char *user,
                                 struct amqp_error *err)
{
    if (is_reached(vhost->max_connections, vhost->connection_count))
        return amqp_raise(err, AMQP_NOT_ALLOWED,
                          "access to vhost '%s' refused for user '%s': connection limit (%" PRId64
                          ") is reached",
                          vhost->name, user, vhost->max_connections);
    return 0;
}

int broker_check_connection_limit(const struct broker *broker, struct amqp_error *err)
{
    uint64_t most = broker->settings.connections_max;

    if (most && broker->connection_count > most)
        return amqp_raise(err, AMQP_NOT_ALLOWED,
                          "connection refused: node connection limit (%" PRIu64 ") is reached",
                          most);
    return 0;
}

int broker_check_channel_limit(const struct broker *broker, struct amqp_error *err)
{
    uint64_t most = broker->settings.channels_max;

    if (most && count_channels(broker) >= most)
        return amqp_raise(err, AMQP_NOT_ALLOWED,
                          "number of channels opened on node '%s' has reached the maximum allowed "
                          "limit of (%" PRIu64 ")",
                          broker->settings.node_name ? broker->settings.node_name : "", most);
    return 0;
}

int broker_check_vhost_limit(const struct broker *broker, struct amqp_str name, char *error_text,
                             size_t error_text_size)
{
    uint64_t most = broker->settings.vhosts_max;
    struct amqp_text text = amqp_text_over(error_text, error_text_size);

    if (!most || HASH_CNT(by_name, broker->vhosts) < most)
        return 0;
    amqp_text_printf(&text, "cannot create vhost '%.*s': vhost limit of %" PRIu64 " is reached",
                     AMQP_STR_ARG(name), most);
    return -EDQUOT;
}
