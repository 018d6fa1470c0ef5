/*
 * exchange_types.c - the types that exchange.declare may name
 */
#include "broker/exchange_types.h"

static const struct exchange_type *const types[] = {
    &exchange_direct,
    &exchange_fanout,
    &exchange_topic,
    &exchange_headers,
};

const struct exchange_type *exchange_type_find(struct amqp_str name)
{
    for (size_t i = 0; i < N_ELEMENTS(types); i++) {
        if (amqp_str_equal(amqp_str_from(types[i]->name), name))
            return types[i];
    }
    return NULL;
}

const char *exchange_type_name_at(size_t i)
{
    return i < N_ELEMENTS(types) ? types[i]->name : NULL;
}

const char *exchange_type_name(const struct exchange *exchange)
{
    return exchange->type ? exchange->type->name : exchange_direct.name;
}
