/*
 * ops_topology.c - queues and bindings: declaring, binding, purging, deleting, with their errors
 *
 * What answers with a count is resolved late (struct call): the broker first hands out what it can.
 */
#include <stdio.h>
#include <utlist.h>

#include "ops.h"

static void start_call(struct sim *sim, struct m_channel *channel, const void *method,
                       size_t method_bytes, const char *queue,
                       bool (*resolve)(struct sim *sim, struct call *call))
{
    sim->call.resolve = resolve;
    sim->call.channel = channel;
    memcpy(&sim->call.method, method, method_bytes);
    sim_copy(sim, sim->call.queue, amqp_str_from(queue));
    client_send(sim, channel->connection, channel->number, method);
}

/* --- queues --- */

bool queue_is_locked(struct sim *sim, struct m_channel *channel, uint32_t method_id,
                     const struct m_queue *queue)
{
    if (!queue->exclusive || queue->owner == channel->connection)
        return false;
    model_raise(sim, channel, 405, method_id,
                "cannot obtain exclusive access to locked queue '%s' in vhost '/'. It could be "
                "originally declared on another connection or the exclusive property value does "
                "not match that of the original declaration.",
                queue->name);
    return true;
}

struct m_queue *find_queue(struct sim *sim, struct m_channel *channel, uint32_t method_id,
                           char name[MODEL_NAME_BYTES])
{
    struct m_queue *queue;

    if (!name[0] && !channel->last_queue[0]) {
        model_raise(sim, channel, 404, method_id, "no previously declared queue");
        return NULL;
    }
    if (!name[0])
        memcpy(name, channel->last_queue, MODEL_NAME_BYTES);
    queue = model_queue(sim, name);
    if (!queue)
        model_raise(sim, channel, 404, method_id, "no queue '%s' in vhost '/'", name);
    return queue && !queue_is_locked(sim, channel, method_id, queue) ? queue : NULL;
}

static bool check_same_arguments(struct sim *sim, struct m_channel *channel,
                                 const struct m_queue *queue)
{
    char received[SETTINGS_SIDE_BYTES], current[SETTINGS_SIDE_BYTES];
    const char *name = settings_difference(&sim->call.settings, &queue->given, received, current);

    if (name)
        model_raise(sim, channel, 406, AMQP_ID_queue_declare,
                    "inequivalent arg '%s' for queue '%s' in vhost '/': received %s but current "
                    "is %s",
                    name, queue->name, received, current);
    return !name;
}

/* True when an existing queue may be redeclared like this. */
static bool check_redeclaration(struct sim *sim, struct m_channel *channel,
                                const struct amqp_queue_declare *declare,
                                const struct m_queue *queue)
{
    bool durable = declare->durable && !declare->exclusive;

    if (queue->exclusive != declare->exclusive) {
        struct m_queue locked = *queue; /* the text is the same, whoever owns it */

        locked.exclusive = true;
        locked.owner = NULL;
        return !queue_is_locked(sim, channel, AMQP_ID_queue_declare, &locked);
    }
    if (queue_is_locked(sim, channel, AMQP_ID_queue_declare, queue))
        return false;
    if (durable == queue->durable && declare->auto_delete == queue->auto_delete)
        return check_same_arguments(sim, channel, queue);
    model_raise(sim, channel, 406, AMQP_ID_queue_declare,
                "inequivalent arg '%s' for queue '%s' in vhost '/': received '%s' but current is "
                "'%s'",
                durable != queue->durable ? "durable" : "auto_delete", queue->name,
                flag_word(durable != queue->durable ? durable : declare->auto_delete),
                flag_word(durable != queue->durable ? queue->durable : queue->auto_delete));
    return false;
}

static bool resolve_declare(struct sim *sim, struct call *call)
{
    const struct amqp_queue_declare *declare = &call->method.queue_declare;
    struct m_channel *channel = call->channel;
    struct m_queue *queue = model_queue(sim, call->queue);

    if (!declare->passive && declare->queue.size &&
        amqp_str_starts_with(declare->queue, AMQP_STR("amq."))) {
        model_raise(sim, channel, 403, AMQP_ID_queue_declare,
                    "queue name '%s' contains reserved prefix 'amq.*'", call->queue);
        return false;
    }
    if (declare->passive && !queue) {
        model_raise(sim, channel, 404, AMQP_ID_queue_declare, "no queue '%s' in vhost '/'",
                    call->queue);
        return false;
    }
    if (declare->passive && queue_is_locked(sim, channel, AMQP_ID_queue_declare, queue))
        return false;
    if (!declare->passive && queue && !check_redeclaration(sim, channel, declare, queue))
        return false;
    if (!queue) {
        struct m_queue like = { .durable = declare->durable && !declare->exclusive,
                                .exclusive = declare->exclusive,
                                .auto_delete = declare->auto_delete,
                                .given = call->settings,
                                .owner = declare->exclusive ? channel->connection : NULL };

        memcpy(like.name, call->queue, sizeof like.name);
        queue = model_add_queue(sim, &like);
    }
    model_use_queue(sim, queue);
    memcpy(channel->last_queue, call->queue, MODEL_NAME_BYTES);
    if (!declare->no_wait)
        expect_method(sim, channel,
                      &(struct amqp_queue_declare_ok){
                          .id = AMQP_ID_queue_declare_ok,
                          .queue = amqp_str_from(queue->name),
                          .message_count = queue_ready(queue),
                          .consumer_count = model_consumer_count(sim, queue) });
    return true;
}

static unsigned count_queues(struct sim *sim)
{
    struct m_queue *queue;
    unsigned count = 0;

    DL_COUNT(sim->queues, queue, count);
    return count;
}

bool op_queue_declare(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    struct amqp_queue_declare declare = { .id = AMQP_ID_queue_declare };
    struct amqp_table_writer arguments = { 0 };
    struct m_queue *queue;
    char name[MODEL_NAME_BYTES];

    if (!channel)
        return false;
    pick_queue_name(sim, channel, false, name);
    queue = model_queue(sim, name);
    if (!queue || chance(sim, 50))
        sim_copy(sim, name, pick_new_queue_name(sim));
    queue = model_queue(sim, name);
    if (queue && queue->exclusive && queue->owner != channel->connection && !mistaken(sim))
        return false;
    if (chance(sim, 10) && count_queues(sim) < 12)
        name[0] = '\0';
    else if (mistaken(sim) && chance(sim, 30))
        sim_copy(sim, name, AMQP_STR("amq.reserved"));
    queue = model_queue(sim, name);
    declare.queue = amqp_str_from(name);
    declare.passive = name[0] && chance(sim, 25) && (queue || mistaken(sim));
    declare.durable = chance(sim, 60);
    declare.exclusive = chance(sim, 12);
    declare.auto_delete = chance(sim, 15);
    declare.no_wait = name[0] && chance(sim, 15);
    if (queue && !mistaken(sim)) {
        declare.durable = queue->durable;
        declare.exclusive = queue->exclusive;
        declare.auto_delete = queue->auto_delete;
    }
    settings_choose(sim, &sim->call.settings);
    if (queue && (!mistaken(sim) || sim->call.settings.quorum != queue->given.quorum))
        sim->call.settings = queue->given;
    else if (!name[0])
        sim->call.settings.quorum = false;
    if (!queue && sim->call.settings.quorum) { /* what else it may be is not much */
        declare.durable = true;
        declare.exclusive = declare.auto_delete = false;
    }
    settings_write(&sim->call.settings, &arguments);
    declare.arguments = amqp_table_written(&arguments);
    start_call(sim, channel, &declare, sizeof declare, name, resolve_declare);
    amqp_table_writer_release(&arguments);
    return true;
}

static bool resolve_delete(struct sim *sim, struct call *call)
{
    const struct amqp_queue_delete *delete = &call->method.queue_delete;
    struct m_channel *channel = call->channel;
    struct m_queue *queue = model_queue(sim, call->queue);
    struct amqp_queue_delete_ok ok = { .id = AMQP_ID_queue_delete_ok };

    if (queue && queue_is_locked(sim, channel, delete->id, queue))
        return false;
    if (queue && delete->if_empty && queue_ready(queue)) {
        model_raise(sim, channel, 406, delete->id, "queue '%s' in vhost '/' not empty",
                    queue->name);
        return false;
    }
    if (queue && delete->if_unused && model_consumer_count(sim, queue)) {
        model_raise(sim, channel, 406, delete->id, "queue '%s' in vhost '/' in use", queue->name);
        return false;
    }
    if (queue)
        ok.message_count = queue_ready(queue);
    if (!delete->no_wait)
        expect_method(sim, channel, &ok);
    if (queue)
        model_delete_queue(sim, queue);
    return true;
}

static bool resolve_purge(struct sim *sim, struct call *call)
{
    struct m_queue *queue = model_queue(sim, call->queue);

    if (!call->method.queue_purge.no_wait)
        expect_method(sim, call->channel,
                      &(struct amqp_queue_purge_ok){ .id = AMQP_ID_queue_purge_ok,
                                                     .message_count = queue_ready(queue) });
    model_purge(sim, queue);
    return true;
}

bool op_queue_delete(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    struct amqp_queue_delete delete = { .id = AMQP_ID_queue_delete,
                                        .if_unused = chance(sim, 20),
                                        .if_empty = chance(sim, 20),
                                        .no_wait = chance(sim, 15) };
    char name[MODEL_NAME_BYTES], meant[MODEL_NAME_BYTES];

    if (!channel)
        return false;
    pick_queue_name(sim, channel, true, name);
    delete.queue = amqp_str_from(name);
    memcpy(meant, name[0] ? name : channel->last_queue, sizeof meant);
    if (!meant[0]) {
        (void)find_queue(sim, channel, delete.id, meant); /* raises */
        client_send(sim, channel->connection, channel->number, &delete);
        return true;
    }
    start_call(sim, channel, &delete, sizeof delete, meant, resolve_delete);
    return true;
}

bool op_queue_purge(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    struct amqp_queue_purge purge = { .id = AMQP_ID_queue_purge, .no_wait = chance(sim, 15) };
    char name[MODEL_NAME_BYTES], meant[MODEL_NAME_BYTES];

    if (!channel)
        return false;
    pick_queue_name(sim, channel, true, name);
    purge.queue = amqp_str_from(name);
    memcpy(meant, name, sizeof meant);
    if (find_queue(sim, channel, purge.id, meant))
        start_call(sim, channel, &purge, sizeof purge, meant, resolve_purge);
    else
        client_send(sim, channel->connection, channel->number, &purge);
    return true;
}

/* --- bindings --- */

/* True when the binding can be made; its durability is set. */
static bool check_bind(struct sim *sim, struct m_channel *channel, uint32_t method_id,
                       struct m_binding *binding)
{
    struct m_exchange *source = model_exchange(sim, binding->source);
    struct m_exchange *destination = model_exchange(sim, binding->destination);
    const char *missing = source ? binding->destination : binding->source;
    struct m_queue *queue;

    if (!source || (binding->to_exchange && !destination)) {
        model_raise(sim, channel, 404, method_id, "no exchange '%s' in vhost '/'", missing);
        return false;
    }
    if (binding->to_exchange) {
        binding->durable = source->durable && destination->durable;
        return true;
    }
    queue = find_queue(sim, channel, method_id, binding->destination);
    if (queue)
        binding->durable = source->durable && queue->durable;
    return queue != NULL;
}

static bool is_default(struct sim *sim, struct m_channel *channel, uint32_t method_id,
                       const struct m_binding *binding)
{
    if (binding->source[0] && (!binding->to_exchange || binding->destination[0]))
        return false;
    model_raise(sim, channel, 403, method_id, "operation not permitted on the default exchange");
    return true;
}

static bool model_bind(struct sim *sim, struct m_channel *channel, uint32_t method_id,
                       struct m_binding *binding)
{
    if (is_default(sim, channel, method_id, binding) ||
        !check_bind(sim, channel, method_id, binding))
        return false;
    if (!model_binding(sim, binding))
        model_add_binding(sim, binding);
    return true;
}

static bool model_unbind(struct sim *sim, struct m_channel *channel, uint32_t method_id,
                         const struct m_binding *like)
{
    struct m_binding *binding;
    struct m_queue *queue;

    if (is_default(sim, channel, method_id, like))
        return false;
    binding = model_binding(sim, like);
    if (!binding)
        return true;
    queue = binding->to_exchange ? NULL : model_queue(sim, binding->destination);
    if (queue && queue_is_locked(sim, channel, method_id, queue))
        return false;
    model_remove_binding(sim, binding);
    return true;
}

/* An existing binding now and then, so that something is found to unbind. */
static void pick_binding(struct sim *sim, const struct m_channel *channel, bool to_exchange,
                         struct m_binding *ret_binding)
{
    struct m_binding *binding;

    *ret_binding = (struct m_binding){ .to_exchange = to_exchange };
    pick_exchange_name(sim, false, ret_binding->source);
    if (to_exchange)
        pick_exchange_name(sim, false, ret_binding->destination);
    else
        pick_queue_name(sim, channel, true, ret_binding->destination);
    sim_copy(sim, ret_binding->key, amqp_str_from(pick_key(sim)));
    DL_FOREACH(sim->bindings, binding)
        if (binding->to_exchange == to_exchange && chance(sim, 10)) {
            *ret_binding = *binding;
            ret_binding->next = ret_binding->prev = NULL;
        }
}

bool op_exchange_bind(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    bool no_wait = chance(sim, 15), bind = chance(sim, 65);
    struct m_binding binding;

    if (!channel)
        return false;
    pick_binding(sim, channel, true, &binding);
    if (bind) {
        if (model_bind(sim, channel, AMQP_ID_exchange_bind, &binding) && !no_wait)
            expect_method(sim, channel,
                          &(struct amqp_exchange_bind_ok){ .id = AMQP_ID_exchange_bind_ok });
    } else if (model_unbind(sim, channel, AMQP_ID_exchange_unbind, &binding) && !no_wait) {
        expect_method(sim, channel,
                      &(struct amqp_exchange_unbind_ok){ .id = AMQP_ID_exchange_unbind_ok });
    }
    client_send(sim, channel->connection, channel->number,
                &(struct amqp_exchange_bind){
                    .id = bind ? AMQP_ID_exchange_bind : AMQP_ID_exchange_unbind,
                    .destination = amqp_str_from(binding.destination),
                    .source = amqp_str_from(binding.source),
                    .routing_key = amqp_str_from(binding.key),
                    .no_wait = no_wait });
    return true;
}

/* The names that empty ones stand for (5.5). */
static bool queue_names(struct sim *sim, struct m_channel *channel, uint32_t method_id,
                        struct m_binding *binding)
{
    bool named = binding->destination[0];

    if (!named && !channel->last_queue[0])
        return find_queue(sim, channel, method_id, binding->destination) != NULL; /* raises */
    if (!named)
        memcpy(binding->destination, channel->last_queue, MODEL_NAME_BYTES);
    if (!named && !binding->key[0])
        memcpy(binding->key, channel->last_queue, MODEL_NAME_BYTES);
    return true;
}

static void queue_unbind(struct sim *sim, struct m_channel *channel,
                         const struct m_binding *binding)
{
    struct m_binding meant = *binding;

    if (queue_names(sim, channel, AMQP_ID_queue_unbind, &meant) &&
        model_unbind(sim, channel, AMQP_ID_queue_unbind, &meant))
        expect_method(sim, channel,
                      &(struct amqp_queue_unbind_ok){ .id = AMQP_ID_queue_unbind_ok });
    client_send(sim, channel->connection, channel->number,
                &(struct amqp_queue_unbind){ .id = AMQP_ID_queue_unbind,
                                             .queue = amqp_str_from(binding->destination),
                                             .exchange = amqp_str_from(binding->source),
                                             .routing_key = amqp_str_from(binding->key) });
}

bool op_queue_bind(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    struct m_binding binding, meant;
    bool no_wait = chance(sim, 15);

    if (!channel)
        return false;
    pick_binding(sim, channel, false, &binding);
    if (chance(sim, 25)) {
        queue_unbind(sim, channel, &binding);
        return true;
    }
    meant = binding;
    if (queue_names(sim, channel, AMQP_ID_queue_bind, &meant) &&
        model_bind(sim, channel, AMQP_ID_queue_bind, &meant) && !no_wait)
        expect_method(sim, channel, &(struct amqp_queue_bind_ok){ .id = AMQP_ID_queue_bind_ok });
    client_send(sim, channel->connection, channel->number,
                &(struct amqp_queue_bind){ .id = AMQP_ID_queue_bind,
                                           .queue = amqp_str_from(binding.destination),
                                           .exchange = amqp_str_from(binding.source),
                                           .routing_key = amqp_str_from(binding.key),
                                           .no_wait = no_wait });
    return true;
}
