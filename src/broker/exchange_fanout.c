/*
 * exchange_fanout.c - everything goes everywhere: the exchange's own list of bindings is the index
 */
#include "broker/exchange_types.h"
#include "broker/route.h"

static int fanout_bind(struct exchange *exchange, struct binding *binding)
{
    (void)exchange;
    (void)binding;
    return 0;
}

static void fanout_unbind(struct exchange *exchange, struct binding *binding)
{
    (void)exchange;
    (void)binding;
}

static int fanout_match(struct exchange *exchange, struct amqp_str routing_key,
                        struct route *route)
{
    int rc = 0;

    (void)routing_key;
    for (struct binding *at = exchange->bindings; at && !rc; at = at->next_from)
        rc = route_add(route, at->destination);
    return rc;
}

static void fanout_release(struct exchange *exchange)
{
    (void)exchange;
}

const struct exchange_type exchange_fanout = {
    .name = "fanout",
    .by_key = true,
    .quick = true,
    .ignores_key = true,
    .bind = fanout_bind,
    .unbind = fanout_unbind,
    .match = fanout_match,
    .release = fanout_release,
};
