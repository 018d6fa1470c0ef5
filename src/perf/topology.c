/*
 * topology.c - the names that a run uses on the broker
 *
 * Everything is named prefix + kind + number, so that runs beside each other do not meet. What
 * was declared is deleted by an exit handler too: a run that fails leaves the broker as it was.
 */
#include "perf.h"

#include <stdio.h>
#include <stdlib.h>

static struct {
    struct settings settings;
    bool declared;
} topology;

void topology_queue(const struct settings *settings, unsigned index, char *ret_name)
{
    (void)snprintf(ret_name, NAME_BYTES, "%s.q%u", settings->prefix, index);
}

void topology_exchange(const struct settings *settings, char *ret_name)
{
    if (settings->fanout)
        (void)snprintf(ret_name, NAME_BYTES, "%s.x", settings->prefix);
    else
        ret_name[0] = '\0';
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
    for (i = 0; i < settings->queues; i++) {
        topology_queue(settings, i, name);
        client_put_queue_delete(&client, name);
        client_call(&client, QUEUE_DELETE_OK);
    }
    topology_exchange(settings, name);
    if (name[0]) {
        client_put_exchange_delete(&client, name);
        client_call(&client, EXCHANGE_DELETE_OK);
    }
    client_close(&client);
}

void topology_declare(const struct settings *settings)
{
    char name[NAME_BYTES], exchange[NAME_BYTES];
    struct client client;
    unsigned i;

    client_open(&client, &settings->address);
    topology.settings = *settings;
    topology.declared = true;
    if (atexit(topology_delete))
        wire_fail("atexit failed");
    topology_exchange(settings, exchange);
    if (exchange[0]) {
        client_put_exchange_declare(&client, exchange, "fanout", settings->durable);
        client_call(&client, EXCHANGE_DECLARE_OK);
    }
    for (i = 0; i < settings->queues; i++) {
        topology_queue(settings, i, name);
        client_put_queue_declare(&client, name, settings->durable);
        client_call(&client, QUEUE_DECLARE_OK);
        if (exchange[0]) {
            client_put_queue_bind(&client, name, exchange, "");
            client_call(&client, QUEUE_BIND_OK);
        }
    }
    client_close(&client);
}
