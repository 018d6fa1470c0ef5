/*
 * channel_topology.c - exchange.* and queue.*: declaring, binding, deleting
 *
 * Here are the checks that belong to the one who asks (names, permissions, exclusivity); what is
 * declared or changed is the business of exchange.c, binding.c and queue*.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/channel.h"
#include "broker/connection-internal.h"
#include "broker/direct_reply.h"
#include "broker/generated_name.h"
#include "broker/queue_arguments.h"
#include "broker/vhost_limits.h"

/*
 * CR and LF are removed from names that are declared, deleted, bound or unbound (6.3), once an empty
 * name has been replaced by the last declared queue's. RabbitMQ removes them in no other method.
 */
static struct amqp_str strip_name(struct amqp_str name, char out[BOUND_NAME_BYTES])
{
    size_t kept = 0;

    if (!memchr(name.data, '\r', name.size) && !memchr(name.data, '\n', name.size))
        return name;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] != '\r' && name.data[i] != '\n')
            out[kept++] = name.data[i];
    return (struct amqp_str){ out, kept };
}

static int raise_default_exchange(struct amqp_error *err)
{
    return amqp_raise(err, AMQP_ACCESS_REFUSED, "operation not permitted on the default exchange");
}

int channel_queue_name(struct channel *channel, struct amqp_str name, struct amqp_error *err,
                       struct amqp_str *ret_name)
{
    if (name.size == 0 && !channel->last_queue.data)
        return amqp_raise(err, AMQP_NOT_FOUND, "no previously declared queue");
    *ret_name = name.size ? name : channel->last_queue;
    return 0;
}

static int remember_queue(struct channel *channel, struct amqp_str name)
{
    char *copy = malloc(name.size + 1);

    if (!copy)
        return -ENOMEM;
    memcpy(copy, name.data, name.size);
    free((char *)channel->last_queue.data);
    channel->last_queue = (struct amqp_str){ copy, name.size };
    return 0;
}

static int check_permission(struct channel *channel, enum permission what, bool is_exchange,
                            struct amqp_str name, struct amqp_error *err)
{
    return connection_check_permission(channel->connection, what, is_exchange, name, err);
}

/* A new exchange with an alternate exchange, or a queue with a dead-letter exchange, needs to read
 * itself and to write there. */
static int check_forwarding(struct channel *channel, bool is_exchange, struct amqp_str name,
                            struct amqp_table arguments, const char *key, struct amqp_error *err)
{
    struct amqp_value value;
    int rc;

    if (!amqp_table_get(arguments, amqp_str_from(key), &value) || value.type != 'S')
        return 0;
    rc = check_permission(channel, PERMISSION_READ, is_exchange, name, err);
    if (rc)
        return rc;
    return check_permission(channel, PERMISSION_WRITE, true,
                            (struct amqp_str){ (const char *)value.bytes.data, value.bytes.size },
                            err);
}

/* A passive declare needs any one of the three permissions (12, REC). */
static int check_any_permission(struct channel *channel, bool is_exchange, struct amqp_str name,
                                struct amqp_error *err)
{
    if (!check_permission(channel, PERMISSION_CONFIGURE, is_exchange, name, err) ||
        !check_permission(channel, PERMISSION_WRITE, is_exchange, name, err))
        return 0;
    return check_permission(channel, PERMISSION_READ, is_exchange, name, err);
}

/* What a handler has deleted since deletions.begun was @since is answered when it is gone. */
static int wait_for_deletions(struct channel *channel, uint64_t since, uint32_t message_count)
{
    struct connection *connection = channel->connection;

    if (!deletion_is_due(connection->broker, since))
        return 0;
    return connection_wait_for_deletions(
        connection,
        (struct frame_wait){ .performed = true, .message_count = message_count });
}

/* A name that is being deleted is declared when it is free. */
static int wait_for_name(struct channel *channel)
{
    return connection_wait_for_deletions(channel->connection,
                                         (struct frame_wait){ .performed = false });
}

static int declare_exchange_passively(struct channel *channel, struct amqp_str name,
                                      struct amqp_error *err)
{
    struct exchange *exchange;
    int rc = check_any_permission(channel, true, name, err);

    return rc ? rc : vhost_find_exchange(channel->connection->vhost, name, err, &exchange);
}

int handle_exchange_declare(struct channel *channel, const union amqp_method *method,
                            struct amqp_error *err)
{
    const struct amqp_exchange_declare *declare = &method->exchange_declare;
    struct vhost *vhost = channel->connection->vhost;
    char stripped[BOUND_NAME_BYTES];
    struct amqp_str name = strip_name(declare->exchange, stripped);
    struct exchange *exchange;
    int rc;

    if (name.size == 0)
        return raise_default_exchange(err);
    if (!declare->passive && vhost_is_deleting_exchange(vhost, name))
        return wait_for_name(channel);
    if (declare->passive) {
        rc = declare_exchange_passively(channel, name, err);
    } else {
        rc = check_permission(channel, PERMISSION_CONFIGURE, true, name, err);
        if (!rc && !vhost_get_exchange(vhost, name))
            rc = check_forwarding(channel, true, name, declare->arguments, "alternate-exchange",
                                  err);
        if (!rc)
            rc = exchange_declare(vhost,
                                  &(struct exchange_properties){ .name = name,
                                                                 .durable = declare->durable,
                                                                 .auto_delete =
                                                                     declare->auto_delete,
                                                                 .internal = declare->internal,
                                                                 .arguments = declare->arguments },
                                  declare->type, err, &exchange);
    }
    if (!rc && !declare->no_wait)
        channel_send(channel,
                     &(struct amqp_exchange_declare_ok){ .id = AMQP_ID_exchange_declare_ok });
    return rc;
}

static int delete_exchange(struct channel *channel, struct amqp_str name, bool if_unused,
                           struct amqp_error *err)
{
    struct vhost *vhost = channel->connection->vhost;
    uint64_t since = vhost->broker->deletions.begun;
    struct exchange *exchange;
    int rc;

    if (connection_take_performed(channel->connection, NULL))
        return 0;
    if (name.size == 0)
        return raise_default_exchange(err);
    rc = check_permission(channel, PERMISSION_CONFIGURE, true, name, err);
    if (rc)
        return rc;
    if (amqp_str_starts_with(name, AMQP_STR("amq.")))
        return amqp_raise(err, AMQP_ACCESS_REFUSED,
                          "deletion of system exchange '%.*s' in vhost '%s' not allowed",
                          AMQP_STR_ARG(name), vhost->name);
    exchange = vhost_get_exchange(vhost, name);
    if (!exchange)
        return 0;
    if (if_unused && exchange->binding_count)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "exchange '%.*s' in vhost '%s' in use",
                          AMQP_STR_ARG(name), vhost->name);
    exchange_delete(exchange);
    return wait_for_deletions(channel, since, 0);
}

int handle_exchange_delete(struct channel *channel, const union amqp_method *method,
                           struct amqp_error *err)
{
    const struct amqp_exchange_delete *delete = &method->exchange_delete;
    char stripped[BOUND_NAME_BYTES];
    int rc = delete_exchange(channel, strip_name(delete->exchange, stripped), delete->if_unused,
                             err);

    if (!rc && !delete->no_wait)
        channel_send(channel,
                     &(struct amqp_exchange_delete_ok){ .id = AMQP_ID_exchange_delete_ok });
    return rc;
}

/* What bind and unbind, of queues and of exchanges, have in common. */
struct bind_names {
    struct amqp_str source, destination, key;
    struct amqp_table arguments;
    bool to_exchange;
};

static int check_bind(struct channel *channel, const struct bind_names *names,
                      struct amqp_error *err)
{
    struct connection *connection = channel->connection;
    const struct exchange *source;
    int rc;

    if (names->source.size == 0 || (names->to_exchange && names->destination.size == 0))
        return raise_default_exchange(err);
    rc = check_permission(channel, PERMISSION_WRITE, names->to_exchange, names->destination, err);
    if (!rc)
        rc = check_permission(channel, PERMISSION_READ, true, names->source, err);
    if (rc)
        return rc;
    source = vhost_get_exchange(connection->vhost, names->source);
    if (!source || !source->type || strcmp(source->type->name, "topic") != 0 ||
        auth_topic_allows(connection->broker->auth, connection->user_name, connection->vhost->name,
                          names->source, PERMISSION_READ, names->key))
        return 0;
    return amqp_raise(err, AMQP_ACCESS_REFUSED,
                      "read access to topic '%.*s' in exchange '%.*s' in vhost '%s' refused for "
                      "user '%s'",
                      AMQP_STR_ARG(names->key), AMQP_STR_ARG(names->source),
                      connection->vhost->name, connection->user_name);
}

static struct bind_names strip_ends(const struct bind_names *given, char source[BOUND_NAME_BYTES],
                                    char destination[BOUND_NAME_BYTES])
{
    struct bind_names names = *given;

    names.source = strip_name(given->source, source);
    names.destination = strip_name(given->destination, destination);
    return names;
}

/* Both ends of a binding that is to be made; a missing exchange is named before a queue (6.4). */
static int find_ends(struct channel *channel, const struct bind_names *names,
                     struct amqp_error *err, struct binding_request *request)
{
    struct vhost *vhost = channel->connection->vhost;
    struct exchange *destination;
    struct queue *queue;
    int rc;

    rc = vhost_find_exchange(vhost, names->source, err, &request->source);
    if (rc)
        return rc;
    if (names->to_exchange) {
        rc = vhost_find_exchange(vhost, names->destination, err, &destination);
        if (rc)
            return rc;
        request->destination = &destination->destination;
        request->destination_durable = destination->durable;
    } else {
        rc = vhost_find_queue(vhost, names->destination, err, &queue);
        if (!rc)
            rc = queue_check_access(queue, channel->connection, err);
        if (rc)
            return rc;
        request->destination = &queue->destination;
        request->destination_durable = queue->durable;
    }
    request->key = names->key;
    request->arguments = names->arguments;
    return 0;
}

static int bind(struct channel *channel, const struct bind_names *given, struct amqp_error *err)
{
    char source[BOUND_NAME_BYTES], destination[BOUND_NAME_BYTES];
    struct bind_names names = strip_ends(given, source, destination);
    struct binding_request request = { 0 };
    int rc = check_bind(channel, &names, err);

    if (!rc)
        rc = find_ends(channel, &names, err, &request);
    if (!rc && channel->connection->broker->settings.bindings_max && !binding_find(&request))
        rc = broker_check_binding_limit(channel->connection->broker, &request, err);
    return rc ? rc : binding_add(&request, err);
}

/* Unbinding what is not there succeeds; a locked queue refuses only when the binding exists. */
static int unbind(struct channel *channel, const struct bind_names *given, struct amqp_error *err)
{
    char source[BOUND_NAME_BYTES], destination_name[BOUND_NAME_BYTES];
    struct bind_names names = strip_ends(given, source, destination_name);
    struct vhost *vhost = channel->connection->vhost;
    struct binding_request request = { .key = names.key, .arguments = names.arguments };
    struct exchange *destination = NULL;
    uint64_t since = vhost->broker->deletions.begun;
    struct binding *binding;
    struct queue *queue = NULL;
    int rc;

    if (connection_take_performed(channel->connection, NULL))
        return 0;
    rc = check_bind(channel, &names, err);
    if (rc)
        return rc;
    request.source = vhost_get_exchange(vhost, names.source);
    if (names.to_exchange)
        destination = vhost_get_exchange(vhost, names.destination);
    else
        queue = vhost_get_queue(vhost, names.destination);
    if (!request.source || (!destination && !queue))
        return 0;
    request.destination = queue ? &queue->destination : &destination->destination;
    binding = binding_find(&request);
    if (!binding)
        return 0;
    if (queue)
        rc = queue_check_access(queue, channel->connection, err);
    if (rc)
        return rc;
    binding_remove(binding);
    return wait_for_deletions(channel, since, 0);
}

static struct bind_names exchange_names(const struct amqp_exchange_bind *bind)
{
    return (struct bind_names){ .source = bind->source,
                                .destination = bind->destination,
                                .key = bind->routing_key,
                                .arguments = bind->arguments,
                                .to_exchange = true };
}

int handle_exchange_bind(struct channel *channel, const union amqp_method *method,
                         struct amqp_error *err)
{
    struct bind_names names = exchange_names(&method->exchange_bind);
    int rc = bind(channel, &names, err);

    if (!rc && !method->exchange_bind.no_wait)
        channel_send(channel, &(struct amqp_exchange_bind_ok){ .id = AMQP_ID_exchange_bind_ok });
    return rc;
}

int handle_exchange_unbind(struct channel *channel, const union amqp_method *method,
                           struct amqp_error *err)
{
    const struct amqp_exchange_unbind *request = &method->exchange_unbind;
    struct bind_names names = { .source = request->source,
                                .destination = request->destination,
                                .key = request->routing_key,
                                .arguments = request->arguments,
                                .to_exchange = true };
    int rc = unbind(channel, &names, err);

    if (!rc && !request->no_wait)
        channel_send(channel,
                     &(struct amqp_exchange_unbind_ok){ .id = AMQP_ID_exchange_unbind_ok });
    return rc;
}

/* An empty queue name means the last declared one, and then an empty key means its name. */
static int queue_names(struct channel *channel, struct bind_names *names, struct amqp_error *err)
{
    bool named = names->destination.size != 0;
    int rc = channel_queue_name(channel, names->destination, err, &names->destination);

    if (!rc && !named && names->key.size == 0)
        names->key = names->destination;
    return rc;
}

int handle_queue_bind(struct channel *channel, const union amqp_method *method,
                      struct amqp_error *err)
{
    const struct amqp_queue_bind *request = &method->queue_bind;
    struct bind_names names = { .source = request->exchange,
                                .destination = request->queue,
                                .key = request->routing_key,
                                .arguments = request->arguments };
    int rc = queue_names(channel, &names, err);

    if (!rc)
        rc = bind(channel, &names, err);
    if (!rc && !request->no_wait)
        channel_send(channel, &(struct amqp_queue_bind_ok){ .id = AMQP_ID_queue_bind_ok });
    return rc;
}

int handle_queue_unbind(struct channel *channel, const union amqp_method *method,
                        struct amqp_error *err)
{
    const struct amqp_queue_unbind *request = &method->queue_unbind;
    struct bind_names names = { .source = request->exchange,
                                .destination = request->queue,
                                .key = request->routing_key,
                                .arguments = request->arguments };
    int rc = queue_names(channel, &names, err);

    if (!rc)
        rc = unbind(channel, &names, err);
    if (!rc)
        channel_send(channel, &(struct amqp_queue_unbind_ok){ .id = AMQP_ID_queue_unbind_ok });
    return rc;
}

static int declare_queue_passively(struct channel *channel, struct amqp_str name,
                                   struct amqp_error *err, struct queue **ret_queue)
{
    struct connection *connection = channel->connection;
    int rc = check_any_permission(channel, false, name, err);

    if (!rc)
        rc = vhost_find_queue(connection->vhost, name, err, ret_queue);
    if (!rc)
        rc = queue_check_access(*ret_queue, connection, err);
    if (!rc)
        queue_touch(*ret_queue);
    return rc;
}

static int check_new_name(struct amqp_str name, struct amqp_error *err)
{
    if (amqp_str_starts_with(name, AMQP_STR("amq.")))
        return amqp_raise(err, AMQP_ACCESS_REFUSED,
                          "queue name '%.*s' contains reserved prefix 'amq.*'",
                          AMQP_STR_ARG(name));
    return 0;
}

/* Names, permissions, existence: @properties are complete but for a generated name. */
static int declare_named(struct channel *channel, struct queue_properties *properties,
                         struct amqp_error *err, struct queue **ret_queue)
{
    struct connection *connection = channel->connection;
    char generated[GENERATED_NAME_BYTES];
    int rc;

    if (properties->name.size)
        rc = check_new_name(properties->name, err);
    else
        rc = queue_arguments_check_server_named(properties->arguments, err);
    if (!rc && properties->name.size == 0)
        rc = generate_name("amq.gen-", generated, &properties->name);
    if (!rc)
        rc = check_permission(channel, PERMISSION_CONFIGURE, false, properties->name, err);
    if (!rc && !vhost_get_queue(connection->vhost, properties->name))
        rc = check_forwarding(channel, false, properties->name, properties->arguments,
                              "x-dead-letter-exchange", err);
    return rc ? rc : queue_declare(connection->vhost, properties, err, ret_queue);
}

static int declare_queue(struct channel *channel, const struct amqp_queue_declare *declare,
                         struct amqp_str name, struct amqp_error *err, struct queue **ret_queue)
{
    struct connection *connection = channel->connection;
    struct queue_properties properties = { .name = name,
                                           .durable = declare->durable,
                                           .exclusive = declare->exclusive,
                                           .auto_delete = declare->auto_delete,
                                           .owner = declare->exclusive ? connection : NULL,
                                           .arguments = declare->arguments };
    struct amqp_table_writer writer = { 0 };
    int rc = queue_arguments_add_default_type(connection->vhost, &properties, &writer,
                                              &properties.arguments);

    if (!rc)
        rc = declare_named(channel, &properties, err, ret_queue);
    amqp_table_writer_release(&writer);
    return rc;
}

/* Declaring a reply name is how a responder asks whether the requester is still there. */
static int declare_reply_name(struct channel *channel, struct amqp_str name, bool no_wait,
                              struct amqp_error *err)
{
    struct connection *connection = channel->connection;

    if (!direct_reply_is_bare(name) && !direct_reply_find(connection->broker, name))
        return amqp_raise(err, AMQP_NOT_FOUND, "no queue '%.*s' in vhost '%s'", AMQP_STR_ARG(name),
                          connection->vhost->name);
    if (!no_wait)
        channel_send(channel, &(struct amqp_queue_declare_ok){ .id = AMQP_ID_queue_declare_ok,
                                                               .queue = name,
                                                               .consumer_count = 1 });
    return 0;
}

int handle_queue_declare(struct channel *channel, const union amqp_method *method,
                         struct amqp_error *err)
{
    const struct amqp_queue_declare *declare = &method->queue_declare;
    char stripped[BOUND_NAME_BYTES];
    struct amqp_str name = strip_name(declare->queue, stripped);
    struct queue *queue = NULL;
    int rc;

    /* By the name as it came: one that begins so when it is stripped is a queue's. */
    if (amqp_str_starts_with(declare->queue, AMQP_STR(DIRECT_REPLY_NAME)))
        return declare_reply_name(channel, name, declare->no_wait, err);
    if (!declare->passive && vhost_is_deleting_queue(channel->connection->vhost, name))
        return wait_for_name(channel);
    if (declare->passive)
        rc = declare_queue_passively(channel, name, err, &queue);
    else
        rc = declare_queue(channel, declare, name, err, &queue);
    if (!rc)
        rc = remember_queue(channel, queue->destination.name);
    if (rc || declare->no_wait)
        return rc;
    queue_dispatch(queue);
    channel_send(channel,
                 &(struct amqp_queue_declare_ok){ .id = AMQP_ID_queue_declare_ok,
                                                  .queue = queue->destination.name,
                                                  .message_count = queue_ready_count(queue),
                                                  .consumer_count = queue->consumer_count });
    return 0;
}

static int purge(struct channel *channel, struct amqp_str queue_name, struct amqp_error *err,
                 uint32_t *ret_count)
{
    struct connection *connection = channel->connection;
    uint64_t since = connection->broker->deletions.begun;
    struct amqp_str name;
    struct queue *queue;
    int rc;

    if (connection_take_performed(connection, ret_count))
        return 0;
    rc = channel_queue_name(channel, queue_name, err, &name);
    if (!rc)
        rc = check_permission(channel, PERMISSION_READ, false, name, err);
    if (!rc)
        rc = vhost_find_queue(connection->vhost, name, err, &queue);
    if (!rc)
        rc = queue_check_access(queue, connection, err);
    if (rc)
        return rc;
    *ret_count = queue_purge(queue);
    return wait_for_deletions(channel, since, *ret_count);
}

int handle_queue_purge(struct channel *channel, const union amqp_method *method,
                       struct amqp_error *err)
{
    uint32_t count;
    int rc = purge(channel, method->queue_purge.queue, err, &count);

    broker_dispatch(channel->connection->broker);
    if (rc)
        return rc;
    if (!method->queue_purge.no_wait)
        channel_send(channel, &(struct amqp_queue_purge_ok){ .id = AMQP_ID_queue_purge_ok,
                                                             .message_count = count });
    return 0;
}

static int check_delete(struct queue *queue, const struct amqp_queue_delete *delete,
                        struct amqp_error *err)
{
    if (delete->if_empty && (queue_ready_count(queue) || queue->held))
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "queue '%.*s' in vhost '%s' not empty",
                          AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name);
    if (delete->if_unused && queue->consumer_count)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "queue '%.*s' in vhost '%s' in use",
                          AMQP_STR_ARG(queue->destination.name), queue_vhost(queue)->name);
    return 0;
}

/* The queue that is to be deleted; NULL where there is none. */
static int find_to_delete(struct channel *channel, const struct amqp_queue_delete *delete,
                          struct amqp_error *err, struct queue **ret_queue)
{
    struct connection *connection = channel->connection;
    char stripped[BOUND_NAME_BYTES];
    struct amqp_str name;
    struct queue *queue;
    int rc;

    rc = channel_queue_name(channel, delete->queue, err, &name);
    if (rc)
        return rc;
    name = strip_name(name, stripped);
    rc = check_permission(channel, PERMISSION_CONFIGURE, false, name, err);
    if (rc)
        return rc;
    queue = vhost_get_queue(connection->vhost, name);
    if (queue) {
        rc = queue_check_access(queue, connection, err);
        if (rc)
            return rc;
        queue_dispatch(queue);
        rc = check_delete(queue, delete, err);
        if (rc)
            return rc;
    }
    *ret_queue = queue;
    return 0;
}

/* The answer goes out before the basic.cancel of the channel's own consumer. */
int handle_queue_delete(struct channel *channel, const union amqp_method *method,
                        struct amqp_error *err)
{
    const struct amqp_queue_delete *delete = &method->queue_delete;
    struct amqp_queue_delete_ok ok = { .id = AMQP_ID_queue_delete_ok };
    uint64_t since = channel->connection->broker->deletions.begun;
    struct queue *queue = NULL;
    bool unlinked = false;
    int rc = 0;

    broker_dispatch(channel->connection->broker);
    if (!connection_take_performed(channel->connection, &ok.message_count))
        rc = find_to_delete(channel, delete, err, &queue);
    if (rc)
        return rc;
    if (queue) {
        ok.message_count = queue_ready_count(queue);
        unlinked = queue_unlink(queue);
        rc = wait_for_deletions(channel, since, ok.message_count);
    }
    if (!rc && !delete->no_wait)
        channel_send(channel, &ok);
    if (unlinked)
        queue_empty(queue);
    return rc;
}
