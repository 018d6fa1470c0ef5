/*
 * exchange.c - the life of an exchange
 *
 * Deleting one can make others go: an auto-delete exchange ends with the last binding from it, and
 * those bindings may lead to exchanges that go. So an exchange is hidden first, and what deletes it
 * works off a list (deletion.h) instead of recursing: how long the chain is, is up to clients.
 *
 * A hidden exchange keeps its name until its bindings and then its own record are deleted, so that
 * records of the old and of a new exchange of one name never meet. If that needs more than what is
 * left of the turn, its record says so, and the next start deletes the rest.
 */
#include "broker/hash.h"

#include "broker/exchange-internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/argument_notes.h"
#include "broker/broker.h"
#include "broker/equivalence.h"
#include "broker/meta.h"
#include "broker/policy.h"
#include "broker/task.h"
#include "broker/route.h"
#include "broker/vhost.h"
#include "broker/vhost_limits.h"

static const char ALTERNATE[] = "alternate-exchange";

static void exchange_free(struct exchange *exchange)
{
    route_forget(exchange);
    policy_unref(exchange->policy);
    if (exchange->type)
        exchange->type->release(exchange);
    free((char *)(uintptr_t)exchange->destination.name.data);
    free((uint8_t *)(uintptr_t)exchange->arguments.data);
    free(exchange);
}
DEFINE_OWNED(exchange_free, struct exchange *)

static int copy_properties(struct exchange *exchange, const struct exchange_properties *properties)
{
    struct amqp_table arguments = properties->arguments;
    struct amqp_str name = properties->name;
    char *name_copy = calloc(1, name.size + 1);
    uint8_t *copy;

    if (!name_copy)
        return -ENOMEM;
    if (name.size)
        memcpy(name_copy, name.data, name.size);
    exchange->destination.name = (struct amqp_str){ name_copy, name.size };
    if (!arguments.size)
        return 0;
    copy = malloc(arguments.size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, arguments.data, arguments.size);
    exchange->arguments = (struct amqp_table){ copy, arguments.size };
    return 0;
}

int exchange_new(struct vhost *vhost, const struct exchange_properties *properties,
                 struct exchange **ret_exchange)
{
    OWNED(exchange_free) struct exchange *exchange = calloc(1, sizeof *exchange);
    int rc;

    if (!exchange)
        return -ENOMEM;
    exchange->destination.is_exchange = true;
    exchange->destination.vhost = vhost;
    exchange->type = properties->type;
    exchange->durable = properties->durable;
    exchange->auto_delete = properties->auto_delete;
    exchange->internal = properties->internal;
    rc = copy_properties(exchange, properties);
    if (rc)
        return rc;
    HASH_ADD_KEYPTR(by_name, vhost->exchanges, exchange->destination.name.data,
                    exchange->destination.name.size, exchange);
    if (!exchange->by_name.tbl)
        return -ENOMEM;
    policy_apply_to_exchange(exchange);
    *ret_exchange = TAKE(exchange);
    return 0;
}

static void leave_vhost(struct exchange *exchange)
{
    struct vhost *vhost = exchange->destination.vhost;

    policy_forget_exchange(exchange);
    HASH_DELETE(by_name, vhost->exchanges, exchange);
    vhost->broker->topology_generation++;
}

void exchange_destroy(struct exchange *exchange)
{
    while (exchange->bindings)
        binding_free(exchange->bindings);
    while (exchange->destination.bindings)
        binding_free(exchange->destination.bindings);
    leave_vhost(exchange);
    exchange_free(exchange);
}

static bool unbind_from(struct exchange *exchange)
{
    struct broker *broker = exchange->destination.vhost->broker;

    while (exchange->bindings) {
        if (!task_pay(broker, TASK_COST_DELETE))
            return false;
        binding_drop(exchange->bindings);
    }
    return true;
}

static struct exchange *exchange_of(struct deletion *deletion)
{
    return CONTAINER_OF(deletion, struct exchange, deletion);
}

static bool advance_deletion(struct deletion *deletion)
{
    struct exchange *exchange = exchange_of(deletion);

    if (!unbind_from(exchange) || !destination_unbind(&exchange->destination))
        return false;
    if (exchange->durable)
        meta_delete_exchange(exchange);
    leave_vhost(exchange);
    exchange_free(exchange);
    return true;
}

static void release_deletion(struct deletion *deletion)
{
    exchange_destroy(exchange_of(deletion));
}

static bool is_quick(const struct exchange *exchange)
{
    uint64_t n_bindings = (uint64_t)exchange->binding_count + exchange->destination.binding_count;

    return task_affords(exchange->destination.vhost->broker,
                        (n_bindings + 1) * TASK_COST_DELETE);
}

/* @noted: its record tells the next start to delete it, if this is not ended by then. */
static void begin_deletion(struct exchange *exchange, bool noted)
{
    struct broker *broker = exchange->destination.vhost->broker;

    assert(!exchange->destination.deleted);
    exchange->destination.deleted = true;
    broker->topology_generation++;
    exchange->deletion.advance = advance_deletion;
    exchange->deletion.release = release_deletion;
    if (exchange->durable && noted)
        (void)meta_put_exchange(exchange); /* else a crash leaves it, with fewer bindings */
    deletion_begin(broker, &exchange->deletion);
}

void exchange_begin_deletion(struct exchange *exchange)
{
    begin_deletion(exchange, true);
}

void exchange_delete(struct exchange *exchange)
{
    struct broker *broker = exchange->destination.vhost->broker;
    uint64_t since = broker->deletions.begun;

    begin_deletion(exchange, deletion_pending(broker) || !is_quick(exchange));
    deletion_run_begun(broker, since);
}

/* --- declaring --- */

static int check_alternate(const struct exchange *exchange, struct amqp_table arguments,
                           struct amqp_error *err)
{
    struct amqp_str key = amqp_str_from(ALTERNATE);
    struct amqp_value received, current;
    bool has_received = amqp_table_get(arguments, key, &received);
    bool has_current = amqp_table_get(exchange->arguments, key, &current);

    return equivalence_check_values(&exchange->destination, ALTERNATE,
                                    has_received ? &received : NULL,
                                    has_current ? &current : NULL, err);
}

static bool is_alternate(const void *context, struct amqp_str name)
{
    (void)context;
    return amqp_str_equal(name, amqp_str_from(ALTERNATE));
}

/* Other arguments are not compared (6.3). */
static int check_equivalence(struct exchange *exchange,
                             const struct exchange_properties *properties,
                             const struct exchange_type *type, struct amqp_error *err)
{
    struct destination *destination = &exchange->destination;
    int rc = equivalence_check_word(destination, "type", type->name, exchange_type_name(exchange),
                                    err);

    if (!rc)
        rc = equivalence_check_flag(destination, "durable", properties->durable,
                                    exchange->durable, err);
    if (!rc)
        rc = equivalence_check_flag(destination, "auto_delete", properties->auto_delete,
                                    exchange->auto_delete, err);
    if (!rc)
        rc = equivalence_check_flag(destination, "internal", properties->internal,
                                    exchange->internal, err);
    if (!rc)
        rc = check_alternate(exchange, properties->arguments, err);
    if (!rc)
        argument_notes_compare(destination, properties->arguments, exchange->arguments,
                               is_alternate, NULL);
    return rc;
}

static int check_new(const struct vhost *vhost, const struct exchange_properties *properties,
                     struct amqp_error *err)
{
    struct amqp_value alternate;

    if (amqp_str_starts_with(properties->name, AMQP_STR("amq.")))
        return amqp_raise(err, AMQP_ACCESS_REFUSED,
                          "exchange name '%.*s' contains reserved prefix 'amq.*'",
                          AMQP_STR_ARG(properties->name));
    if (amqp_table_get(properties->arguments, amqp_str_from(ALTERNATE), &alternate) &&
        alternate.type != 'S')
        return amqp_raise(err, AMQP_PRECONDITION_FAILED,
                          "invalid type '%s' for arg '%s' in exchange '%.*s' in vhost '%s'",
                          amqp_value_type_name(&alternate), ALTERNATE,
                          AMQP_STR_ARG(properties->name), vhost->name);
    return vhost_check_exchange_limit(vhost, properties->name, err);
}

static int create(struct vhost *vhost, const struct exchange_properties *properties,
                  struct exchange **ret_exchange)
{
    struct exchange *exchange;
    int rc = exchange_new(vhost, properties, &exchange);

    if (rc)
        return rc;
    if (exchange->durable) {
        rc = meta_put_exchange(exchange);
        if (rc) {
            exchange_destroy(exchange);
            return rc;
        }
    }
    *ret_exchange = exchange;
    return 0;
}

int exchange_declare(struct vhost *vhost, const struct exchange_properties *properties,
                     struct amqp_str type_name, struct amqp_error *err,
                     struct exchange **ret_exchange)
{
    const struct exchange_type *type = exchange_type_find(type_name);
    struct exchange_properties typed = *properties;
    struct exchange *exchange;
    int rc;

    if (!type)
        return amqp_raise(err, AMQP_PRECONDITION_FAILED, "unknown exchange type '%.*s'",
                          AMQP_STR_ARG(type_name));
    if (properties->name.size == 0)
        return amqp_raise(err, AMQP_ACCESS_REFUSED,
                          "operation not permitted on the default exchange");
    exchange = vhost_get_exchange(vhost, properties->name);
    if (exchange) {
        rc = check_equivalence(exchange, properties, type, err);
        if (!rc)
            *ret_exchange = exchange;
        return rc;
    }
    if (vhost_is_deleting_exchange(vhost, properties->name))
        return amqp_raise(err, AMQP_RESOURCE_LOCKED,
                          "exchange '%.*s' in vhost '%s' is being deleted",
                          AMQP_STR_ARG(properties->name), vhost->name);
    typed.type = type;
    rc = check_new(vhost, &typed, err);
    if (rc)
        return rc;
    argument_notes_list(vhost, "exchange", typed.name, typed.arguments, is_alternate);
    return create(vhost, &typed, ret_exchange);
}
