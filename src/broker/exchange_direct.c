/*
 * exchange_direct.c - routing key and binding key are the same octets
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/exchange_types.h"
#include "broker/key_index.h"
#include "broker/route.h"

/* Few messages come with a key that has no binding, so fewer empty buckets do no harm. */
enum { KEYS_PER_BUCKET = 1 };

static struct key_index *new_index(void)
{
    struct key_index *index = calloc(1, sizeof *index);

    if (index)
        index->keys.fill = KEYS_PER_BUCKET;
    return index;
}

static int direct_bind(struct exchange *exchange, struct binding *binding)
{
    if (!exchange->index)
        exchange->index = new_index();
    return exchange->index ? key_index_add(exchange->index, binding) : -ENOMEM;
}

static void direct_unbind(struct exchange *exchange, struct binding *binding)
{
    key_index_remove(exchange->index, binding);
}

static int direct_match(struct exchange *exchange, struct amqp_str routing_key,
                        struct route *route)
{
    struct binding *binding =
        exchange->index ? key_index_find(exchange->index, routing_key) : NULL;
    int rc = 0;

    for (; binding && !rc; binding = binding->next_same)
        rc = route_add(route, binding->destination);
    return rc;
}

static void direct_release(struct exchange *exchange)
{
    free(TAKE(exchange->index));
}

const struct exchange_type exchange_direct = {
    .name = "direct",
    .by_key = true,
    .quick = true,
    .bind = direct_bind,
    .unbind = direct_unbind,
    .match = direct_match,
    .release = direct_release,
};
