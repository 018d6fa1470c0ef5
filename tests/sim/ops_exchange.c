/*
 * ops_exchange.c - declaring and deleting exchanges, with every error of the rules
 */
#include <stdio.h>
#include <utlist.h>

#include "ops.h"

static void side(const char *name, bool other, char *out, size_t size)
{
    if (!name[0])
        snprintf(out, size, "none");
    else if (other)
        snprintf(out, size, "'%s'", name);
    else
        snprintf(out, size, "the value '%s' of type 'longstr'", name);
}

/* The first difference, in the order of 6.3, is the error. */
static bool check_same_exchange(struct sim *sim, struct m_channel *channel,
                                const struct m_exchange *asked, const struct m_exchange *there)
{
    static const char text[] = "inequivalent arg '%s' for exchange '%s' in vhost '/': received %s "
                               "but current is %s";
    char received[80], current[80];
    const char *what = NULL;

    if (strcmp(asked->type, there->type) != 0) {
        what = "type";
        snprintf(received, sizeof received, "'%s'", asked->type);
        snprintf(current, sizeof current, "'%s'", there->type);
    } else if (asked->durable != there->durable || asked->auto_delete != there->auto_delete ||
               asked->internal != there->internal) {
        what = asked->durable != there->durable           ? "durable"
               : asked->auto_delete != there->auto_delete ? "auto_delete"
                                                          : "internal";
        bool is = *what == 'd' ? there->durable : *what == 'a' ? there->auto_delete
                                                               : there->internal;

        snprintf(received, sizeof received, "'%s'", flag_word(!is));
        snprintf(current, sizeof current, "'%s'", flag_word(is));
    } else if (strcmp(asked->given_alternate, there->given_alternate) != 0) {
        what = "alternate-exchange";
        side(asked->given_alternate, there->given_alternate[0], received, sizeof received);
        side(there->given_alternate, asked->given_alternate[0], current, sizeof current);
    }
    if (what)
        model_raise(sim, channel, 406, AMQP_ID_exchange_declare, text, what, asked->name, received,
                    current);
    return !what;
}

static bool model_declare_exchange(struct sim *sim, struct m_channel *channel,
                                   const struct m_exchange *asked, bool passive)
{
    struct m_exchange *there = model_exchange(sim, asked->name);

    if (!asked->name[0]) {
        model_raise(sim, channel, 403, AMQP_ID_exchange_declare,
                    "operation not permitted on the default exchange");
        return false;
    }
    if (passive) {
        if (!there)
            model_raise(sim, channel, 404, AMQP_ID_exchange_declare,
                        "no exchange '%s' in vhost '/'", asked->name);
        return there != NULL;
    }
    if (there)
        return check_same_exchange(sim, channel, asked, there);
    (void)model_add_exchange(sim, asked);
    return true;
}

static void pick_exchange(struct sim *sim, struct m_exchange *ret_exchange)
{
    static const char *const types[] = { "direct", "fanout", "topic" };
    struct m_exchange *there;

    *ret_exchange = (struct m_exchange){ .type = types[random_below(&sim->random, 3)],
                                         .durable = chance(sim, 60),
                                         .auto_delete = chance(sim, 15),
                                         .internal = chance(sim, 10) };
    pick_exchange_name(sim, true, ret_exchange->name);
    if (chance(sim, 20))
        pick_exchange_name(sim, true, ret_exchange->given_alternate);
    there = model_exchange(sim, ret_exchange->name);
    if (there && !mistaken(sim))
        *ret_exchange = *there;
    ret_exchange->next = ret_exchange->prev = NULL;
}

bool op_exchange_declare(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    struct amqp_table_writer arguments = { 0 };
    bool no_wait = chance(sim, 15), passive = chance(sim, 15);
    struct m_exchange exchange;

    if (!channel)
        return false;
    pick_exchange(sim, &exchange);
    passive = passive && (model_exchange(sim, exchange.name) || mistaken(sim));
    if (exchange.given_alternate[0])
        amqp_table_put_str(&arguments, "alternate-exchange",
                           amqp_str_from(exchange.given_alternate));
    if (model_declare_exchange(sim, channel, &exchange, passive) && !no_wait)
        expect_method(sim, channel,
                      &(struct amqp_exchange_declare_ok){ .id = AMQP_ID_exchange_declare_ok });
    client_send(sim, channel->connection, channel->number,
                &(struct amqp_exchange_declare){ .id = AMQP_ID_exchange_declare,
                                                 .exchange = amqp_str_from(exchange.name),
                                                 .type = amqp_str_from(exchange.type),
                                                 .passive = passive,
                                                 .durable = exchange.durable,
                                                 .auto_delete = exchange.auto_delete,
                                                 .internal = exchange.internal,
                                                 .no_wait = no_wait,
                                                 .arguments = amqp_table_written(&arguments) });
    amqp_table_writer_release(&arguments);
    return true;
}

static bool exchange_is_used(struct sim *sim, const char *name)
{
    struct m_binding *binding;

    DL_FOREACH(sim->bindings, binding)
        if (strcmp(binding->source, name) == 0)
            return true;
    return false;
}

static bool model_try_delete_exchange(struct sim *sim, struct m_channel *channel, const char *name,
                                      bool if_unused)
{
    struct m_exchange *exchange = model_exchange(sim, name);
    const uint32_t id = AMQP_ID_exchange_delete;

    if (!name[0]) {
        model_raise(sim, channel, 403, id, "operation not permitted on the default exchange");
    } else if (strncmp(name, "amq.", 4) == 0) {
        model_raise(sim, channel, 403, id,
                    "deletion of system exchange '%s' in vhost '/' not allowed", name);
    } else if (exchange && if_unused && exchange_is_used(sim, name)) {
        model_raise(sim, channel, 406, id, "exchange '%s' in vhost '/' in use", name);
    } else {
        if (exchange)
            model_delete_exchange(sim, exchange);
        return true;
    }
    return false;
}

bool op_exchange_delete(struct sim *sim)
{
    struct m_channel *channel = pick_channel(sim);
    bool no_wait = chance(sim, 15), if_unused = chance(sim, 20);
    char name[MODEL_NAME_BYTES];

    if (!channel)
        return false;
    pick_exchange_name(sim, true, name);
    if (strncmp(name, "amq.", 4) == 0 && !mistaken(sim))
        return false;
    if (model_try_delete_exchange(sim, channel, name, if_unused) && !no_wait)
        expect_method(sim, channel,
                      &(struct amqp_exchange_delete_ok){ .id = AMQP_ID_exchange_delete_ok });
    client_send(sim, channel->connection, channel->number,
                &(struct amqp_exchange_delete){ .id = AMQP_ID_exchange_delete,
                                                .exchange = amqp_str_from(name),
                                                .if_unused = if_unused,
                                                .no_wait = no_wait });
    return true;
}
