/*
 * binding.c - making, finding and removing bindings
 *
 * A binding is known by its source, destination, key and arguments, where the order of arguments
 * plays no part but their types do (amqp-0-9-1.md 6.4). One hash of the vhost finds it by all four,
 * so that it makes no difference how many bindings an exchange or a queue has.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "amqp/wire.h"
#include "broker/broker.h"
#include "broker/exchange-internal.h"
#include "broker/meta.h"
#include "broker/task.h"
#include "broker/route.h"
#include "broker/vhost.h"

/* The sum makes the order of entries irrelevant. */
static uint64_t hash_arguments(struct amqp_table arguments)
{
    struct amqp_table_iter iter = amqp_table_begin(arguments);
    const uint8_t *at = iter.at;
    struct amqp_value value;
    struct amqp_str key;
    uint64_t sum = 0;

    for (; amqp_table_next(&iter, &key, &value); at = iter.at)
        sum += hash_octets(0, at, (size_t)(iter.at - at));
    return sum;
}

static uint64_t hash_identity(const struct binding_request *request)
{
    uint64_t hash = hash_mix((uint64_t)(uintptr_t)request->source);

    hash = hash_mix(hash ^ (uint64_t)(uintptr_t)request->destination);
    return hash_mix(hash_str(hash, request->key) + hash_arguments(request->arguments));
}

static struct vhost *vhost_of(const struct exchange *exchange)
{
    return exchange->destination.vhost;
}

static struct binding *find(const struct binding_request *request, uint64_t identity)
{
    struct hash_link *link = hash_table_first(&vhost_of(request->source)->bindings, identity);

    for (; link; link = hash_table_next(link)) {
        struct binding *binding = CONTAINER_OF(link, struct binding, by_identity);

        if (binding->source == request->source && binding->destination == request->destination &&
            amqp_str_equal(binding->key, request->key) &&
            amqp_table_equal(binding_arguments(binding), request->arguments))
            return binding;
    }
    return NULL;
}

struct binding *binding_find(const struct binding_request *request)
{
    return find(request, hash_identity(request));
}

/* In no list and no index yet. */
static struct binding *new_binding(const struct binding_request *request)
{
    struct amqp_str key = request->key;
    struct amqp_table arguments = request->arguments;
    struct binding *binding = calloc(1, sizeof *binding + key.size + 1 + arguments.size);
    uint8_t *at;

    if (!binding)
        return NULL;
    binding->source = request->source;
    binding->destination = request->destination;
    binding->durable = request->source->durable && request->destination_durable;
    at = (uint8_t *)(binding + 1);
    binding->key = (struct amqp_str){ (const char *)at, key.size };
    at = wire_store8(wire_store(at, key.data, key.size), '\0');
    binding->arguments_bytes = (uint32_t)arguments.size;
    wire_store(at, arguments.data, arguments.size);
    return binding;
}

static void link_binding(struct binding *binding)
{
    DL_APPEND2(binding->source->bindings, binding, prev_from, next_from);
    DL_APPEND2(binding->destination->bindings, binding, prev_to, next_to);
    binding->source->binding_count++;
    binding->destination->binding_count++;
    binding->source->had_binding = true;
    route_forget(binding->source);
}

/* *ret_binding is NULL when there was one already. */
static int make(const struct binding_request *request, struct amqp_error *err,
                struct binding **ret_binding)
{
    struct exchange *source = request->source;
    struct hash_table *bindings = &vhost_of(source)->bindings;
    uint64_t identity = hash_identity(request);
    struct binding *binding;
    int rc;

    assert(source->type); /* the default exchange has no bindings */
    *ret_binding = NULL;
    if (find(request, identity))
        return 0;
    if (source->type->check) {
        rc = source->type->check(source, request->arguments, err);
        if (rc)
            return rc;
    }
    binding = new_binding(request);
    if (!binding)
        return -ENOMEM;
    if (hash_table_add(bindings, &binding->by_identity, identity)) {
        free(binding);
        return -ENOMEM;
    }
    rc = source->type->bind(source, binding);
    if (rc) {
        hash_table_remove(bindings, &binding->by_identity);
        free(binding);
        return rc;
    }
    link_binding(binding);
    *ret_binding = binding;
    return 0;
}

int binding_restore(const struct binding_request *request, struct amqp_error *err)
{
    struct binding *binding;

    return make(request, err, &binding);
}

int binding_add(const struct binding_request *request, struct amqp_error *err)
{
    struct binding *binding;
    int rc = make(request, err, &binding);

    if (rc || !binding || !binding->durable)
        return rc;
    rc = meta_put_binding(binding);
    if (rc)
        binding_free(binding);
    return rc;
}

void binding_free(struct binding *binding)
{
    struct exchange *source = binding->source;

    route_forget(source);
    DL_DELETE2(source->bindings, binding, prev_from, next_from);
    DL_DELETE2(binding->destination->bindings, binding, prev_to, next_to);
    source->binding_count--;
    binding->destination->binding_count--;
    source->type->unbind(source, binding);
    hash_table_remove(&vhost_of(source)->bindings, &binding->by_identity);
    free(binding);
}

void binding_drop(struct binding *binding)
{
    struct exchange *source = binding->source;

    if (binding->durable)
        meta_delete_binding(binding);
    binding_free(binding);
    if (source->auto_delete && !source->bindings && !source->destination.deleted)
        exchange_begin_deletion(source);
}

void binding_remove(struct binding *binding)
{
    struct broker *broker = vhost_of(binding->source)->broker;
    uint64_t since = broker->deletions.begun;

    binding_drop(binding);
    deletion_run_begun(broker, since);
}

void destination_unbind_all(struct destination *destination)
{
    while (destination->bindings) {
        task_charge(destination->vhost->broker, TASK_COST_DELETE);
        binding_drop(destination->bindings);
    }
}

bool destination_unbind(struct destination *destination)
{
    struct broker *broker = destination->vhost->broker;

    while (destination->bindings) {
        if (!task_pay(broker, TASK_COST_DELETE))
            return false;
        binding_drop(destination->bindings);
    }
    return true;
}
