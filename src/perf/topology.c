/*
 * topology.c - the names that a run uses on the broker, and what goes where
 *
 * What has no name given is named prefix + kind + number, so that runs beside each other do not
 * meet. What was declared is deleted by an exit handler too: a run that fails leaves the broker
 * as it was.
 *
 * Where the number of deliveries of each message follows from the topology, the run can tell
 * that one was lost or doubled. It does not follow from queues that existed before, from patterns
 * and headers, and from queues and messages that may expire.
 */
#include "perf.h"

#include <stdio.h>
#include <stdlib.h>

static struct {
    struct settings settings;
    bool declared;
} topology;

static bool own_exchange(const struct settings *settings)
{
    return settings->exchange || settings->exchange_type;
}

static bool is_fanout(const struct settings *settings)
{
    return settings->exchange_type && !strcmp(settings->exchange_type, "fanout");
}

void topology_queue(const struct settings *settings, unsigned index, char *ret_name)
{
    if (settings->queue)
        (void)snprintf(ret_name, NAME_BYTES, "%s", settings->queue);
    else if (settings->queue_pattern)
        value_name(settings->queue_pattern, index, ret_name, NAME_BYTES);
    else
        (void)snprintf(ret_name, NAME_BYTES, "%s.q%u", settings->prefix, index);
}

void topology_exchange(const struct settings *settings, char *ret_name)
{
    if (settings->exchange)
        (void)snprintf(ret_name, NAME_BYTES, "%s", settings->exchange);
    else if (settings->exchange_type)
        (void)snprintf(ret_name, NAME_BYTES, "%s.x", settings->prefix);
    else
        ret_name[0] = '\0';
}

void topology_routing_key(const struct settings *settings, unsigned producer, unsigned index,
                          char *ret_key)
{
    if (settings->routing_key)
        value_name(settings->routing_key, index % settings->queues, ret_key, NAME_BYTES);
    else if (is_fanout(settings))
        ret_key[0] = '\0';
    else
        topology_queue(settings, (producer + index * settings->producers) % settings->queues,
                       ret_key);
}

static void binding_key(const struct settings *settings, unsigned queue, char *ret_key)
{
    if (settings->binding_key)
        value_name(settings->binding_key, queue, ret_key, NAME_BYTES);
    else if (settings->routing_key)
        value_name(settings->routing_key, queue, ret_key, NAME_BYTES);
    else if (is_fanout(settings))
        ret_key[0] = '\0';
    else
        topology_queue(settings, queue, ret_key);
}

/* How many queues get each message, if all queues keep all that they get. */
static unsigned route_copies(const struct settings *settings)
{
    if (!own_exchange(settings))
        return settings->routing_key ? 0 : 1;
    if (is_fanout(settings))
        return settings->queues;
    if (settings->binding_key ||
        (settings->exchange_type && strcmp(settings->exchange_type, "direct")))
        return 0;
    return settings->routing_key && !strstr(settings->routing_key, "%d") ? settings->queues : 1;
}

struct route topology_route(const struct settings *settings)
{
    struct route route = { .copies = route_copies(settings), .stride = 1 };

    if (settings->routing_key && strstr(settings->routing_key, "%d"))
        route.stride = settings->queues;
    else if (!settings->routing_key && !is_fanout(settings) && settings->producers &&
             settings->producers < settings->queues)
        route.stride = settings->queues / settings->producers;
    if (settings->predeclared || settings->may_drop || !settings->producers)
        route.copies = 0;
    route.ordered = route.copies && !settings->has_priority;
    return route;
}

unsigned topology_first(const struct settings *settings, unsigned queue)
{
    if (topology_route(settings).stride == 1)
        return 0;
    return settings->routing_key ? queue : queue / settings->producers;
}

/* The exchanges whose names begin so are the broker's own. */
static bool declares_exchange(const char *exchange)
{
    return exchange[0] && strncmp(exchange, "amq.", 4);
}

unsigned topology_put_queue(const struct settings *settings, struct client *client, unsigned index)
{
    char name[NAME_BYTES], exchange[NAME_BYTES], key[NAME_BYTES];

    topology_queue(settings, index, name);
    client_put_queue_declare(client, name, &settings->queue_kind);
    topology_exchange(settings, exchange);
    if (!exchange[0])
        return 1;
    binding_key(settings, index, key);
    client_put_queue_bind(client, name, exchange, key);
    return 2;
}

void topology_delete(void)
{
    struct settings *settings = &topology.settings;
    char name[NAME_BYTES];
    struct client client;
    unsigned i;

    if (!topology.declared)
        return;
    topology.declared = false;
    client_open(&client, &settings->address);
    for (i = 0; i < settings->queues && !settings->queue_kind.exclusive; i++) {
        topology_queue(settings, i, name);
        client_put_queue_delete(&client, name);
        client_call(&client, QUEUE_DELETE_OK);
    }
    topology_exchange(settings, name);
    if (declares_exchange(name)) {
        client_put_exchange_delete(&client, name);
        client_call(&client, EXCHANGE_DELETE_OK);
    }
    client_close(&client);
}

void topology_declare(const struct settings *settings)
{
    char exchange[NAME_BYTES];
    struct client client;
    unsigned i, answers;

    if (settings->predeclared)
        return;
    client_open(&client, &settings->address);
    topology.settings = *settings;
    topology.declared = !settings->keep;
    if (atexit(topology_delete))
        wire_fail("atexit failed");
    topology_exchange(settings, exchange);
    if (declares_exchange(exchange)) {
        client_put_exchange_declare(&client, exchange,
                                    settings->exchange_type ? settings->exchange_type : "direct",
                                    settings->queue_kind.durable);
        client_call(&client, EXCHANGE_DECLARE_OK);
    }
    for (i = 0; i < settings->queues && !settings->queue_kind.exclusive; i++) {
        answers = topology_put_queue(settings, &client, i);
        client_call(&client, QUEUE_DECLARE_OK);
        if (answers == 2)
            client_expect(&client, QUEUE_BIND_OK, NULL);
    }
    client_close(&client);
}
